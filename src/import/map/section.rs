//! Reading TOML key by key, so that every complaint names its key.

use toml::{Table, Value};

use super::MapError;

/// A table of the map file whose keys are taken one after the other; what is left is unknown.
#[derive(Debug, Clone)]
pub(in crate::import) struct Section {
    path: String,
    table: Table,
    /// Keys asked for, to name in the complaint about an unknown one.
    asked: Vec<&'static str>,
}

impl Section {
    /// The whole file.
    pub(in crate::import) fn parse(text: &str) -> Result<Self, MapError> {
        let table = text.parse().map_err(|error: toml::de::Error| {
            MapError::new("map", format!("not a TOML file: {}", error.to_string().trim_end()))
        })?;
        Ok(Self { path: String::new(), table, asked: Vec::new() })
    }

    pub(super) fn of(path: String, table: Table) -> Self {
        Self { path, table, asked: Vec::new() }
    }

    /// The dotted path of a key.
    pub(super) fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// The path of this section.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.table.contains_key(name)
    }

    pub(super) fn error(&self, name: &str, message: impl Into<String>) -> MapError {
        MapError::new(&self.key(name), message)
    }

    pub(super) fn take(&mut self, name: &'static str) -> Option<Value> {
        self.asked.push(name);
        self.table.remove(name)
    }

    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, MapError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(name, "a text", &other)),
        }
    }

    pub(super) fn flag(&mut self, name: &'static str) -> Result<Option<bool>, MapError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Boolean(flag)) => Ok(Some(flag)),
            Some(other) => Err(self.wrong(name, "true or false", &other)),
        }
    }

    /// A text, or a list of texts.
    pub(super) fn texts(&mut self, name: &'static str) -> Result<Option<Vec<String>>, MapError> {
        let list = match self.take(name) {
            None => return Ok(None),
            Some(Value::Array(list)) => list,
            Some(single) => vec![single],
        };
        let text = |value| match value {
            Value::String(text) => Ok(text),
            other => Err(self.wrong(name, "a text or a list of texts", &other)),
        };
        list.into_iter().map(text).collect::<Result<_, _>>().map(Some)
    }

    pub(super) fn section(&mut self, name: &'static str) -> Result<Option<Self>, MapError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Table(table)) => Ok(Some(Self::of(self.key(name), table))),
            Some(other) => Err(self.wrong(name, "a table", &other)),
        }
    }

    /// A list of tables; their paths count from 1.
    pub(super) fn sections(&mut self, name: &'static str) -> Result<Vec<Self>, MapError> {
        let list = match self.take(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(list)) => list,
            Some(other) => return Err(self.wrong(name, "a list of tables", &other)),
        };
        let numbered = list.into_iter().enumerate();
        numbered
            .map(|(index, value)| match value {
                Value::Table(table) => {
                    Ok(Self::of(format!("{}[{}]", self.key(name), index + 1), table))
                }
                other => Err(self.wrong(name, "a list of tables", &other)),
            })
            .collect()
    }

    /// Columns named or numbered in a list.
    pub(super) fn columns(
        &mut self,
        name: &'static str,
        columns: &Columns,
    ) -> Result<Option<Vec<usize>>, MapError> {
        let list = match self.take(name) {
            None => return Ok(None),
            Some(Value::Array(list)) if !list.is_empty() => list,
            Some(other) => return Err(self.wrong(name, "a list of columns", &other)),
        };
        let key = self.key(name);
        list.iter().map(|value| columns.find(value, &key)).collect::<Result<_, _>>().map(Some)
    }

    pub(super) fn column(
        &mut self,
        name: &'static str,
        columns: &Columns,
    ) -> Result<Option<usize>, MapError> {
        let key = self.key(name);
        self.take(name).map(|value| columns.find(&value, &key)).transpose()
    }

    /// All entries, whatever their names.
    pub(super) fn entries(self) -> (String, Table) {
        (self.path, self.table)
    }

    /// Nothing may be left.
    pub(super) fn finish(self) -> Result<(), MapError> {
        self.known(&self.asked)
    }

    /// Nothing but these may be left.
    pub(super) fn known(&self, names: &[&str]) -> Result<(), MapError> {
        match self.table.keys().find(|key| !names.contains(&key.as_str())) {
            None => Ok(()),
            Some(unknown) => {
                let message = format!("unknown key; known here: {}", names.join(", "));
                Err(self.error(unknown, message))
            }
        }
    }

    fn wrong(&self, name: &str, expected: &str, got: &Value) -> MapError {
        self.error(name, format!("must be {expected}, got {got}"))
    }
}

/// The columns of a table by name and place.
#[derive(Debug, Clone)]
pub(in crate::import) struct Columns {
    /// Empty for a table without header.
    pub(in crate::import) names: Vec<String>,
    /// How many there are; `None` where that is not known.
    pub(in crate::import) count: Option<usize>,
}

impl Columns {
    /// The column a key names.
    pub(super) fn find(&self, value: &Value, key: &str) -> Result<usize, MapError> {
        match value {
            Value::String(name) => self.named(name, key),
            Value::Integer(place) => self.at(*place, key),
            other => {
                let message = format!("must be a column's name or place from 1, got {other}");
                Err(MapError::new(key, message))
            }
        }
    }

    pub(super) fn named(&self, name: &str, key: &str) -> Result<usize, MapError> {
        if self.names.is_empty() {
            let message =
                format!("a table without header has no column \"{name}\"; give its place");
            return Err(MapError::new(key, message));
        }
        let mut places = self.names.iter().enumerate().filter(|(_, known)| *known == name);
        match (places.next(), places.next()) {
            (Some((place, _)), None) => Ok(place),
            (Some(_), Some(_)) => {
                let message = format!("the file has several columns \"{name}\"; give the place");
                Err(MapError::new(key, message))
            }
            (None, _) => {
                let known = self.names.join(", ");
                let message = format!("the file has no column \"{name}\"; it has {known}");
                Err(MapError::new(key, message))
            }
        }
    }

    pub(super) fn at(&self, place: i64, key: &str) -> Result<usize, MapError> {
        let index = usize::try_from(place).ok().and_then(|place| place.checked_sub(1));
        let count = self.count.unwrap_or(usize::MAX);
        index.filter(|index| *index < count).ok_or_else(|| {
            MapError::new(key, format!("the file has no column {place}; places begin with 1"))
        })
    }
}
