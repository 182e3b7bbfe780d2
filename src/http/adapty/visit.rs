//! What happens to every request before its body is read, and the parts of questions that do not
//! come from the body.

use std::num::NonZeroU32;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;

use crate::domain::rules::AppRules;
use crate::domain::time::{Day, Zone};
use crate::http::adapty::request::{Asked, Fault};
use crate::http::adapty::words::Refusal;
use crate::http::compat::{Allowance, CompatError, Given, Visitor, answer_headers};
use crate::http::credentials;
use crate::http::freshness::Freshness;
use crate::http::state::HttpState;

/// The header that names the zone of dates.
pub const ZONE_HEADER: &str = "Adapty-Tz";

/// Two requests a second, of all keys of an app together.
const ALLOWANCE: Allowance = Allowance {
    vendor: "adapty",
    requests: NonZeroU32::MIN.saturating_add(1),
    per: Duration::from_secs(1),
    calendar: None,
};

/// The app that is asked about, and what time it is there.
pub struct Place {
    pub app: String,
    /// The app's reporting currency.
    pub unit: String,
    /// Index into the app's reporting zones.
    pub zone: u8,
    pub today: Day,
}

/// A request that was let in, and its body, which is read only then.
pub struct Visited {
    pub place: Place,
    pub body: Bytes,
}

impl FromRequest<HttpState> for Visited {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &HttpState) -> Result<Self, Refusal> {
        let place = enter(state, request.headers())?;
        match Bytes::from_request(request, state).await {
            Ok(body) => Ok(Self { place, body }),
            Err(error) => Err(CompatError::of_status(error.status()).into()),
        }
    }
}

/// Lets a request in, counts it, and finds its app and zone.
fn enter(state: &HttpState, headers: &HeaderMap) -> Result<Place, Refusal> {
    let secret = credentials::of_scheme(headers, "Api-Key");
    if secret.is_none() && !state.keyring.is_open() {
        return Err(Refusal::NoCredentials);
    }
    let visitor = Visitor::admit(state, secret)?;
    let app = visitor.only_app()?;
    visitor.charge(&ALLOWANCE, Some(&app.rules.id))?;
    let (zone, kept) = zone(headers, app.rules)?;
    Ok(Place {
        app: app.rules.id.clone(),
        unit: app.rules.reporting_currency.to_string(),
        zone,
        today: kept.day(state.parts.clock.now()),
    })
}

fn zone(headers: &HeaderMap, app: &AppRules) -> Result<(u8, Zone), Refusal> {
    let wanted = headers.get(ZONE_HEADER).map(|name| String::from_utf8_lossy(name.as_bytes()));
    let wanted = wanted.as_deref().map(str::trim);
    app.zone(wanted).ok_or_else(|| {
        let names: Vec<&str> = app.reporting_zones.iter().map(Zone::name).collect();
        let refused: String = wanted.unwrap_or_default().chars().take(100).collect();
        let message =
            format!("the zone \"{refused}\" is not kept; those kept are {}", names.join(", "));
        Refusal::Faults(vec![Fault::value(ZONE_HEADER, message)])
    })
}

/// Headers of an answer: as of which input it is, and the names of fields without effect.
pub fn headers<R>(freshness: &Freshness, asked: &Asked<R>) -> HeaderMap {
    let mut given = Given::default();
    asked.ignored.iter().for_each(|name| given.ignore(name));
    answer_headers(freshness, &given)
}
