//! Where settings come from: a TOML file, the environment over it, the command line over both.
//!
//! The layers are merged by figment, which remembers for each value who gave it. Values of the
//! environment and of the command line stay text until a setting says what it is, so a password
//! such as `0123` keeps its zero.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider, Source};

use crate::domain::event::DEFAULT_APP;

use super::{ConfigError, Mode};

/// What names of environment variables start with: `LTVSTREAM__KAFKA__GROUP_ID` is
/// `kafka.group_id`.
pub const ENVIRONMENT_PREFIX: &str = "LTVSTREAM__";

/// The giver of values that nobody gave.
const PROGRAM: &str = "default";

/// Who gave a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody: the program's own value.
    Default,
    File(PathBuf),
    /// The name of the variable.
    Environment(String),
    /// The name of the flag.
    CommandLine(String),
}

impl Origin {
    /// All but files know text only; numbers and lists are read out of it.
    pub(super) fn is_text(&self) -> bool {
        !matches!(self, Self::File(_))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::CommandLine(flag) => f.write_str(flag),
        }
    }
}

/// Everything settings are read from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    pub file: Option<PathBuf>,
    /// Variables by name; only those with [`ENVIRONMENT_PREFIX`] are looked at.
    pub environment: Vec<(String, String)>,
    /// Values of flags, by flag and key: `("--listen", "service.listen", "127.0.0.1:80")`.
    pub flags: Vec<(&'static str, &'static str, String)>,
}

impl Sources {
    /// The file and the environment of this process.
    pub fn of_process(file: Option<PathBuf>) -> Self {
        // `std::env::vars` panics on text that is not UTF-8, even of foreign variables.
        let text = |raw: OsString| raw.to_string_lossy().into_owned();
        let environment = std::env::vars_os()
            .map(|(name, value)| (text(name), text(value)))
            .filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX))
            .collect();
        Self { file, environment, flags: Vec::new() }
    }

    /// Adds the value of a flag, if it was given.
    pub fn flag(mut self, flag: &'static str, key: &'static str, value: Option<String>) -> Self {
        self.flags.extend(value.map(|value| (flag, key, value)));
        self
    }

    /// The folder that relative paths inside the file start from.
    pub(super) fn folder(&self) -> &Path {
        self.file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""))
    }
}

/// One value given as text: a variable or a flag.
struct TextValue<'a> {
    giver: &'a str,
    key: String,
    text: &'a str,
}

impl Provider for TextValue<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.giver.to_owned())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let value = Value::from(self.text);
        let dict = if self.key.split('.').any(str::is_empty) {
            // No setting has such a name; as a whole it is reported as unknown.
            Dict::from([(self.key.clone(), value)])
        } else {
            figment::util::nest(&self.key, value).into_dict().unwrap_or_default()
        };
        Ok(Map::from([(Profile::Default, dict)]))
    }
}

/// What a file gives, read once: it may be a pipe.
struct FileValues<'a> {
    path: &'a Path,
    values: Dict,
}

impl Provider for FileValues<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::from("file", self.path)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

/// The merged layers.
pub(super) struct Layers {
    figment: Figment,
    pub root: Dict,
}

impl Layers {
    /// Reads and merges all layers; later ones win value by value, arrays as a whole.
    pub fn read(sources: &Sources, mode: Mode) -> Result<Self, ConfigError> {
        let mut figment = Figment::new();
        if mode == Mode::Embedded {
            let text = &format!("[{{ id = \"{DEFAULT_APP}\" }}]");
            figment = figment.merge(TextValue { giver: PROGRAM, key: "apps".to_owned(), text });
        }
        if let Some(path) = &sources.file {
            let text = std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
            let values = Toml::from_str::<Dict>(&text).map_err(|error| {
                // Not the error's own text: it quotes the line, which may hold a secret.
                let before = error.span().and_then(|span| text.get(..span.start));
                let line = before.map_or(1, |before| before.matches('\n').count() + 1);
                let message = error.message().replace('\n', ", ");
                ConfigError::Syntax { path: path.clone(), line, message }
            })?;
            figment = figment.merge(FileValues { path, values });
        }
        // Sorted, so that of a section and a key within it the key comes last and both are seen.
        let mut environment: Vec<_> = sources.environment.iter().collect();
        environment.sort();
        for (name, text) in environment {
            if let Some(path) = name.strip_prefix(ENVIRONMENT_PREFIX) {
                let key = path.to_lowercase().replace("__", ".");
                figment = figment.merge(TextValue { giver: name, key, text });
            }
        }
        for (flag, key, text) in &sources.flags {
            figment = figment.merge(TextValue { giver: flag, key: (*key).to_owned(), text });
        }
        let mut data = figment.data().map_err(|source| ConfigError::Layers(Box::new(source)))?;
        let root = data.remove(&Profile::Default).unwrap_or_default();
        Ok(Self { figment, root })
    }

    /// Who gave the value with this tag; `None` for values that no layer gave as such, for
    /// example parts of a table written as text.
    pub fn origin(&self, tag: Tag) -> Option<Origin> {
        let metadata = self.figment.get_metadata(tag)?;
        if let Some(path) = metadata.source.as_ref().and_then(Source::file_path) {
            return Some(Origin::File(path.to_owned()));
        }
        let giver = metadata.name.to_string();
        Some(match giver.as_str() {
            PROGRAM => Origin::Default,
            flag if flag.starts_with("--") => Origin::CommandLine(giver),
            _ => Origin::Environment(giver),
        })
    }
}

/// A table, or an array of tables, written as a TOML value in a text.
pub(super) fn parse_tables(text: &str) -> Option<Vec<Value>> {
    let parsed = Toml::from_str::<Dict>(&format!("tables = {text}")).ok()?;
    match parsed.into_iter().next()? {
        (_, Value::Array(_, tables)) => Some(tables),
        _ => None,
    }
}
