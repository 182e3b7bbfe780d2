//! One table of settings, handed out by name as the types the code wants.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use figment::value::Dict;
use toml::Value as Shown;

use super::found::{Found, described};
use super::layers::Origin;
use super::problem::Problem;
use super::reader::{Reader, Setting};
use super::secret::{HIDDEN, Secret};

/// One table of settings.
pub(super) struct Section<'r> {
    pub reader: &'r mut Reader,
    /// The table's full name; empty at the root.
    pub path: String,
    /// What is left to be asked for.
    pub values: Dict,
    /// Who gave the table as a whole.
    pub origin: Origin,
}

impl Section<'_> {
    /// The full name of one of the section's settings.
    pub fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Adds a problem with a setting of this section.
    pub fn refuse(&mut self, name: &str, expected: impl Into<String>, got: impl ToString) {
        let key = self.key(name);
        self.reader.refuse(&key, expected, got);
    }

    /// The value somebody gave, which from here on somebody asked for.
    pub fn take(&mut self, name: &str) -> Option<Found> {
        let key = self.key(name);
        self.reader.known.insert(without_positions(&key));
        let value = self.values.remove(name)?;
        let origin = self.reader.layers.origin(value.tag()).unwrap_or_else(|| self.origin.clone());
        Some(Found { value, origin })
    }

    /// Adds a setting to the listing.
    pub fn list(&mut self, name: &str, value: Shown, origin: Origin) {
        let key = self.key(name);
        self.reader.settings.push(Setting { key, value, origin });
    }

    /// Adds a problem with a value just taken.
    pub fn invalid(&mut self, name: &str, expected: &str, got: String, origin: Origin) {
        let (key, expected) = (self.key(name), expected.to_owned());
        self.reader.problems.push(Problem::Invalid { key, expected, got, origin });
    }

    /// Reads one setting: the given value if `parse` takes it, else `default`.
    fn setting<T>(
        &mut self,
        name: &str,
        default: T,
        expected: &str,
        how: (impl FnOnce(&Found) -> Option<T>, impl FnOnce(&T) -> Shown),
    ) -> T {
        let (parse, show) = how;
        let (value, origin) = self.given(name, default, expected, parse);
        self.list(name, show(&value), origin);
        value
    }

    /// What was given of a setting, or its default, and by whom.
    fn given<T>(
        &mut self,
        name: &str,
        default: T,
        expected: &str,
        parse: impl FnOnce(&Found) -> Option<T>,
    ) -> (T, Origin) {
        match self.take(name) {
            None => (default, Origin::Default),
            Some(found) => match parse(&found) {
                Some(value) => (value, found.origin),
                None => {
                    self.invalid(name, expected, described(&found.value), found.origin.clone());
                    (default, found.origin)
                }
            },
        }
    }

    /// A text; empty stands for "none" where the setting allows it.
    pub fn text(&mut self, name: &str, default: &str) -> String {
        let show = |text: &String| Shown::from(text.clone());
        let parse = |found: &Found| found.text().map(str::to_owned);
        self.setting(name, default.to_owned(), "a text", (parse, show))
    }

    /// A text that must not be empty.
    pub fn name(&mut self, name: &str, default: &str) -> String {
        let show = |text: &String| Shown::from(text.clone());
        let parse =
            |found: &Found| found.text().filter(|text| !text.trim().is_empty()).map(str::to_owned);
        self.setting(name, default.to_owned(), "a text that is not empty", (parse, show))
    }

    /// A text that nothing prints; empty by default.
    pub fn secret(&mut self, name: &str) -> Secret {
        let (text, origin) = match self.take(name) {
            None => (String::new(), Origin::Default),
            Some(found) => {
                let text = found.text().map(str::to_owned);
                if text.is_none() {
                    self.invalid(name, "a text", HIDDEN.to_owned(), found.origin.clone());
                }
                (text.unwrap_or_default(), found.origin)
            }
        };
        let shown = if text.is_empty() { "" } else { HIDDEN };
        self.list(name, Shown::from(shown), origin);
        Secret::new(text)
    }

    /// Anything that has a text form.
    pub fn parsed<T: FromStr + ToString>(&mut self, name: &str, default: T, expected: &str) -> T {
        let parse = |found: &Found| found.text().and_then(|text| text.parse().ok());
        self.setting(name, default, expected, (parse, |value: &T| Shown::from(value.to_string())))
    }

    /// Anything that `parse` makes of a text; `None` where it is empty.
    pub fn optional<T>(
        &mut self,
        name: &str,
        default: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let legal = |text: &&str| text.is_empty() || parse(text).is_some();
        let take = |found: &Found| found.text().filter(legal).map(str::to_owned);
        let show = |text: &String| Shown::from(text.clone());
        let text = self.setting(name, default.to_owned(), expected, (take, show));
        if text.is_empty() { None } else { parse(&text) }
    }

    /// Anything that `parse` makes of a text that must be there; `None` where it was refused.
    pub fn required<T>(
        &mut self,
        name: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let take = |found: &Found| found.text().filter(|t| parse(t).is_some()).map(str::to_owned);
        let show = |text: &String| Shown::from(text.clone());
        if !self.values.contains_key(name) {
            self.invalid(name, expected, String::new(), self.origin.clone());
        }
        parse(&self.setting(name, String::new(), expected, (take, show)))
    }

    /// As [`Section::required`], of a value that may be a secret by mistake: it is not shown where it is refused.
    pub fn required_hidden<T>(
        &mut self,
        name: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        if let Some(value) = self.values.get_mut(name)
            && value.as_str().and_then(&parse).is_none()
        {
            *value = figment::value::Value::String(value.tag(), HIDDEN.to_owned());
        }
        self.required(name, expected, parse)
    }

    /// One of a closed list of names.
    pub fn choice<T: Copy + PartialEq>(
        &mut self,
        name: &str,
        default: T,
        choices: &[(&'static str, T)],
    ) -> T {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let expected = format!("one of {}", names.join(", "));
        let pick = |text: &str| choices.iter().find(|(name, _)| *name == text).map(|(_, t)| *t);
        let show = |value: &T| {
            let name = choices.iter().find(|(_, choice)| choice == value);
            Shown::from(name.map_or("", |(name, _)| name))
        };
        self.setting(name, default, &expected, (|found: &Found| found.text().and_then(pick), show))
    }

    /// A whole number within `range`.
    pub fn integer(&mut self, name: &str, default: u64, range: RangeInclusive<u64>) -> u64 {
        let expected = format!("an integer from {} to {}", range.start(), range.end());
        let parse = |found: &Found| found.integer().filter(|value| range.contains(value));
        self.setting(name, default, &expected, (parse, |value: &u64| shown_integer(*value)))
    }

    /// A number of bytes, records or the like, held in memory.
    pub fn count(&mut self, name: &str, default: usize, range: RangeInclusive<u64>) -> usize {
        let count = self.integer(name, u64::try_from(default).unwrap_or(u64::MAX), range);
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    /// A number of milliseconds within `range`.
    pub fn millis(&mut self, name: &str, default: u64, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.integer(name, default, range))
    }

    pub fn boolean(&mut self, name: &str, default: bool) -> bool {
        let show = |value: &bool| Shown::from(*value);
        self.setting(name, default, "true or false", (Found::boolean, show))
    }

    /// As [`Section::boolean`], where true is in force whatever is given.
    pub fn always_true(&mut self, name: &str) -> bool {
        let (given, origin) = self.given(name, false, "true or false", Found::boolean);
        self.list(name, Shown::from(true), if given { origin } else { Origin::Default });
        true
    }

    /// Whole numbers up to `max`, given in any order, held in ascending order, each once.
    pub fn integers(&mut self, name: &str, default: Vec<u32>, max: u32) -> Vec<u32> {
        let expected = format!("a list of different integers from 0 to {max}");
        let parse = |found: &Found| {
            let items = found.items()?;
            let numbers: Option<BTreeSet<u32>> = items
                .iter()
                .map(|item| item.parse().ok().filter(|number| *number <= max))
                .collect();
            numbers
                .filter(|numbers| numbers.len() == items.len())
                .map(|set| set.into_iter().collect())
        };
        let show = |values: &Vec<u32>| {
            Shown::Array(values.iter().map(|value| Shown::from(i64::from(*value))).collect())
        };
        self.setting(name, default, &expected, (parse, show))
    }

    /// Names, each of which `parse` must take, none twice.
    pub fn names<T>(
        &mut self,
        name: &str,
        default: &[&str],
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let take = |found: &Found| {
            let items = found.items()?;
            let different = items.iter().collect::<BTreeSet<_>>().len() == items.len();
            (different && items.iter().all(|item| parse(item).is_some())).then_some(items)
        };
        let default: Vec<String> = default.iter().map(|text| (*text).to_owned()).collect();
        let show = |items: &Vec<String>| Shown::from(items.clone());
        let expected = format!("a list of different {expected}");
        let items = self.setting(name, default, &expected, (take, show));
        items.iter().filter_map(|item| parse(item)).collect()
    }
}

fn shown_integer(value: u64) -> Shown {
    Shown::from(i64::try_from(value).unwrap_or(i64::MAX))
}

/// `apps[0].rates[2].date` as `apps.rates.date`.
fn without_positions(key: &str) -> String {
    let mut inside = false;
    key.chars()
        .filter(|letter| {
            inside = (inside || *letter == '[') && *letter != ']';
            !inside && *letter != ']'
        })
        .collect()
}
