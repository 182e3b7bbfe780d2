//! Parameters that several questions share.

use axum::body::Body;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use futures_util::stream;

use crate::domain::rules::AppRules;
use crate::domain::time::{Day, Zone};
use crate::http::clock::Clock;
use crate::http::csv::csv_headers;
use crate::http::freshness::MIN_AS_OF;
use crate::http::parameters::{Parameter, Parameters, Shape};
use crate::http::problem::{Kind, Problem};
use crate::metrics_api::question::Measure;

/// Form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    Csv,
}

impl Format {
    const NAMES: [(&'static str, Self); 2] = [("json", Self::Json), ("csv", Self::Csv)];

    /// The form asked for.
    pub fn of(parameters: &Parameters) -> Result<Self, Problem> {
        let named = |text: &str| {
            Self::NAMES.iter().find(|(name, _)| *name == text).map(|(_, format)| *format)
        };
        Ok(parameters.parsed("format", named)?.unwrap_or(Self::Json))
    }
}

/// A CSV answer, sent in the pieces in which it is made.
pub fn csv_response(
    headers: HeaderMap,
    chunks: impl Iterator<Item = String> + Send + 'static,
) -> Response {
    let chunks = chunks.map(Ok::<_, std::io::Error>);
    (csv_headers(headers), Body::from_stream(stream::iter(chunks))).into_response()
}

/// `format`
pub const FORMAT: Parameter = Parameter {
    name: "format",
    is_required: false,
    shape: Shape::Choice(|| Format::NAMES.iter().map(|(name, _)| *name).collect()),
    about: "Form of the answer; json if absent. A CSV answer carries as_of and the age of its \
            data in the headers X-Ltvstream-As-Of and X-Ltvstream-Data-Age-Seconds, as every answer does.",
};

/// `zone`
pub const ZONE: Parameter = Parameter {
    name: "zone",
    is_required: false,
    shape: Shape::Text("one of the app's reporting zones"),
    about: "Time zone of all days, one of the app's reporting_zones; the first of them if absent.",
};

/// `measure`
pub const MEASURE: Parameter = Parameter {
    name: "measure",
    is_required: false,
    shape: Shape::Choice(|| Measure::ALL.iter().map(|measure| measure.name()).collect()),
    about: "What of a payment is counted: before deductions, after store commission, or after \
            commission and tax; gross if absent.",
};

/// `min_as_of`
pub const MIN_AS_OF_PARAMETER: Parameter = Parameter {
    name: "min_as_of",
    is_required: false,
    shape: Shape::Text(MIN_AS_OF),
    about: "Waits (by default up to 5 s, then 503) until the state holds this input: next \
            offsets as in as_of of an ingest answer, written PARTITION:OFFSET,PARTITION:OFFSET.",
};

/// The zone of a question with its place among those kept.
pub fn zone(parameters: &Parameters, app: &AppRules) -> Result<(u8, Zone), Problem> {
    let named = parameters.text("zone");
    app.zone(named).ok_or_else(|| {
        let names: Vec<&str> = app.reporting_zones.iter().map(Zone::name).collect();
        let got = named.unwrap_or_default();
        let detail = format!("zone must be one of those kept: {}; got \"{got}\"", names.join(", "));
        Problem::new(Kind::InvalidParameter, detail)
            .with("parameter", "zone")
            .with("got", got)
            .with("zones_kept", names)
    })
}

/// The day of now in a zone.
pub fn today(clock: Clock, zone: Zone) -> Day {
    zone.day(clock.now())
}
