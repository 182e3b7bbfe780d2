//! Query parameters: what a path knows, read strictly.
//!
//! Each path lists its parameters once ([`Parameter`]); the list decides what is refused by name,
//! what a refusal says was expected, and what the OpenAPI document shows.

use std::collections::{BTreeMap, BTreeSet};

use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::Type;
use utoipa::openapi::{ObjectBuilder, Required};

use crate::domain::cohort::Field;
use crate::domain::country;
use crate::domain::dimensions::Dimension;
use crate::domain::period::DURATION_NAMES;
use crate::domain::time::Day;
use crate::http::problem::{Kind, Problem};
use crate::metrics_api::question::Filter;

/// What a parameter holds.
#[derive(Clone, Copy)]
pub enum Shape {
    /// One of these words.
    Choice(fn() -> Vec<&'static str>),
    Date,
    /// Whole numbers from 0, separated by commas.
    Integers,
    /// A whole number in this range.
    Integer(u64, u64),
    /// Anything, described in these words.
    Text(&'static str),
}

impl Shape {
    fn expected(self) -> String {
        match self {
            Self::Choice(words) => format!("one of {}", words().join(", ")),
            Self::Date => "a date of the form YYYY-MM-DD".to_owned(),
            Self::Integers => "whole numbers from 0, separated by commas".to_owned(),
            Self::Integer(least, most) => format!("a whole number from {least} to {most}"),
            Self::Text(expected) => expected.to_owned(),
        }
    }
}

/// A parameter of a path.
#[derive(Clone, Copy)]
pub struct Parameter {
    pub name: &'static str,
    /// Whether a request without it is refused.
    pub is_required: bool,
    pub shape: Shape,
    /// What it means, and what its absence means.
    pub about: &'static str,
}

/// What comes before the name of a field in a filter.
const FILTER_PREFIX: &str = "filter.";

/// How a filter's values are written.
const FILTER_VALUES: &str = "values separated by commas, a comma within a value written \\,";

/// The parameters of a request, each known to its path and given once.
pub struct Parameters {
    known: &'static [Parameter],
    given: BTreeMap<String, String>,
}

impl Parameters {
    /// Refuses what the path does not know, by name, and what is given twice.
    pub fn read(
        pairs: Vec<(String, String)>,
        known: &'static [Parameter],
        has_filters: bool,
    ) -> Result<Self, Problem> {
        let mut given = BTreeMap::new();
        for (name, value) in pairs {
            let is_known = known.iter().any(|parameter| parameter.name == name)
                || (has_filters && filtered_field(&name).is_some());
            if !is_known {
                return Err(unknown(&name, known, has_filters));
            }
            if given.insert(name.clone(), value).is_some() {
                let detail = format!("{name} is given more than once");
                return Err(Problem::new(Kind::RepeatedParameter, detail).with("parameter", name));
            }
        }
        Ok(Self { known, given })
    }

    /// The text of a parameter.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.given.get(name).map(String::as_str)
    }

    /// The value of a parameter, if it is given.
    pub fn parsed<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        parse(text).map(Some).ok_or_else(|| self.invalid(name, text))
    }

    /// The value of a parameter that is read from its text.
    pub fn value<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Problem> {
        self.parsed(name, |text| text.parse().ok())
    }

    /// A date.
    pub fn day(&self, name: &str) -> Result<Option<Day>, Problem> {
        self.value(name)
    }

    /// Whole numbers.
    pub fn integers(&self, name: &str) -> Result<Option<Vec<u32>>, Problem> {
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        self.parsed(name, |text| {
            let each = text.split(',').map(str::trim);
            each.map(|number| number.parse().ok().filter(|_| digits(number))).collect()
        })
    }

    /// A whole number in the range of its parameter.
    pub fn integer(&self, name: &str) -> Result<Option<u64>, Problem> {
        let range = self.known.iter().find(|known| known.name == name).map(|known| known.shape);
        self.parsed(name, |text| {
            let number = text.parse().ok()?;
            match range {
                Some(Shape::Integer(least, most)) => {
                    (least..=most).contains(&number).then_some(number)
                }
                _ => Some(number),
            }
        })
    }

    /// The filters, by name.
    pub fn filters(&self) -> Result<Vec<Filter>, Problem> {
        let mut filters = Vec::new();
        for (name, text) in &self.given {
            let Some(field) = filtered_field(name) else { continue };
            let values = split_values(text).ok_or_else(|| invalid(name, FILTER_VALUES, text))?;
            if let Some(all) = values_of(&field)
                && !values.iter().all(|value| value.is_empty() || all.contains(&&**value))
            {
                return Err(invalid(name, &format!("some of {}", all.join(", ")), text));
            }
            let values = values.into_iter().map(|value| normal(&field, value)).collect();
            filters.push(Filter { field, values });
        }
        Ok(filters)
    }

    /// The refusal of a value.
    pub fn invalid(&self, name: &str, got: &str) -> Problem {
        let known = self.known.iter().find(|known| known.name == name);
        let expected = known.map(|known| known.shape.expected()).unwrap_or_default();
        invalid(name, &expected, got)
    }
}

/// Says which parameter is wrong, what was expected and what was given.
pub fn invalid(name: &str, expected: &str, got: &str) -> Problem {
    let shown: String = got.chars().take(200).collect();
    Problem::new(Kind::InvalidParameter, format!("{name} must be {expected}, got \"{shown}\""))
        .with("parameter", name)
        .with("expected", expected)
        .with("got", shown)
}

fn filtered_field(name: &str) -> Option<Field> {
    name.strip_prefix(FILTER_PREFIX)?.parse().ok()
}

fn filter_names() -> impl Iterator<Item = String> {
    Dimension::ALL.into_iter().map(|dimension| format!("{FILTER_PREFIX}{}", dimension.name()))
}

fn unknown(name: &str, known: &[Parameter], has_filters: bool) -> Problem {
    let mut names: Vec<String> = known.iter().map(|known| known.name.to_owned()).collect();
    if has_filters {
        names.extend(filter_names());
        names.push(format!("{FILTER_PREFIX}attributes.NAME"));
    }
    let shown: String = name.chars().take(200).collect();
    let near = |other: &String| strsim::damerau_levenshtein(&shown, other);
    let nearest = names.iter().min_by_key(|other| near(other)).cloned();
    let detail = match &nearest {
        Some(nearest) => {
            format!("\"{shown}\" is not a parameter of this path; the nearest one is {nearest}")
        }
        None => format!("\"{shown}\" is not a parameter of this path, which takes none"),
    };
    let problem = Problem::new(Kind::UnknownParameter, detail).with("parameter", shown.as_str());
    match nearest {
        Some(nearest) => problem.with("nearest", nearest).with("known", names),
        None => problem.with("known", names),
    }
}

/// The values between commas; `\,` and `\\` stand for themselves.
fn split_values(text: &str) -> Option<BTreeSet<String>> {
    let mut values = BTreeSet::new();
    let mut value = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            ',' => {
                values.insert(std::mem::take(&mut value));
            }
            '\\' => value.push(characters.next().filter(|next| matches!(next, ',' | '\\'))?),
            other => value.push(other),
        }
    }
    values.insert(value);
    Some(values)
}

/// All values that a field can have but the unknown one; `None` where events bring any.
fn values_of(field: &Field) -> Option<&'static [&'static str]> {
    (*field == Field::Dimension(Dimension::Duration)).then_some(&DURATION_NAMES)
}

/// The value as events are stored with it.
fn normal(field: &Field, value: String) -> String {
    if *field == Field::Dimension(Dimension::Country) { country::spelled(&value) } else { value }
}

/// Makes a type by which the OpenAPI document shows a list of parameters, with `filter.*` beside
/// them or without.
macro_rules! documented_parameters {
    ($type:ident, $parameters:expr, has_filters: $has_filters:expr) => {
        /// The parameters in the OpenAPI document.
        pub struct $type;

        impl utoipa::IntoParams for $type {
            fn into_params(
                _: impl Fn() -> Option<utoipa::openapi::path::ParameterIn>,
            ) -> Vec<utoipa::openapi::path::Parameter> {
                $crate::http::parameters::document($parameters, $has_filters)
            }
        }
    };
}

pub(in crate::http) use documented_parameters;

/// Parameters as the OpenAPI document shows them.
pub fn document(known: &[Parameter], has_filters: bool) -> Vec<utoipa::openapi::path::Parameter> {
    let mut shown: Vec<_> = known
        .iter()
        .map(|known| {
            let schema = match known.shape {
                Shape::Choice(words) => {
                    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words()))
                }
                Shape::Date => ObjectBuilder::new()
                    .schema_type(Type::String)
                    .pattern(Some("^[0-9]{4}-[0-9]{2}-[0-9]{2}$")),
                Shape::Integers => ObjectBuilder::new()
                    .schema_type(Type::String)
                    .pattern(Some("^[0-9]+(,[0-9]+)*$")),
                Shape::Integer(least, most) => ObjectBuilder::new()
                    .schema_type(Type::Integer)
                    .minimum(Some(least))
                    .maximum(Some(most)),
                Shape::Text(_) => ObjectBuilder::new().schema_type(Type::String),
            };
            let shown = described(known.name, known.about).schema(Some(schema));
            let required = if known.is_required { Required::True } else { Required::False };
            shown.required(required).build()
        })
        .collect();
    if has_filters {
        let names = filter_names().chain([format!("{FILTER_PREFIX}attributes.NAME")]);
        shown.extend(names.map(|name| {
            let mut about = format!(
                "Keeps what has one of these {FILTER_VALUES}; an empty value stands for unknown. \
                 Filters of several names must all match."
            );
            if let Some(all) = filtered_field(&name).as_ref().and_then(values_of) {
                about.push_str(&format!(" Values are {}.", all.join(", ")));
            }
            let schema = ObjectBuilder::new().schema_type(Type::String);
            described(&name, &about).schema(Some(schema)).build()
        }));
    }
    shown
}

fn described(name: &str, about: &str) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(about))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Parameter] =
        &[Parameter { name: "ages", is_required: false, shape: Shape::Integers, about: "Ages." }];

    fn read(pairs: &[(&str, &str)]) -> Result<Parameters, Problem> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Parameters::read(pairs.iter().map(owned).collect(), KNOWN, true)
    }

    fn filter(name: &str, text: &str) -> Option<Vec<String>> {
        let filters = read(&[(name, text)]).ok()?.filters().ok()?;
        Some(filters.into_iter().flat_map(|filter| filter.values).collect())
    }

    #[test]
    fn values_are_split_at_commas_that_are_not_escaped() {
        assert_eq!(
            filter("filter.plan_name", "a,b\\,c\\\\,"),
            Some(vec![String::new(), "a".into(), "b,c\\".into()])
        );
        assert_eq!(filter("filter.plan_name", "a\\b"), None);
    }

    #[test]
    fn countries_are_read_as_events_are() {
        assert_eq!(filter("filter.country", "uk,de"), Some(vec!["DE".into(), "GB".into()]));
        assert_eq!(filter("filter.attributes.x", "uk"), Some(vec!["uk".into()]));
    }

    #[test]
    fn numbers_are_whole_and_from_zero() {
        let ages = |text| read(&[("ages", text)]).ok()?.integers("ages").ok()?;
        assert_eq!(ages("0,7, 30"), Some(vec![0, 7, 30]));
        for text in ["", "1,", "-1", "+1", "1.5", "4294967296"] {
            assert_eq!(ages(text), None, "{text}");
        }
    }
}
