//! `GET /v1/suspended`: accepted events that have no effect for now.

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::engine::shard::split_customer_key;
use crate::engine::standing::Suspension;
use crate::http::auth::{Access, Caller, Reading};
use crate::http::freshness::{Freshness, blocking, gather, wait_for};
use crate::http::native::question::MIN_AS_OF_PARAMETER;
use crate::http::parameters::{Parameter, Parameters, Shape, documented_parameters};
use crate::http::problem::Problem;
use crate::http::state::HttpState;
use crate::state::LiveShard;
use crate::stream::Partition;

/// Events of a page if the request does not say.
const LIMIT_USUAL: u64 = 100;
const LIMIT_MAX: u64 = 1000;

/// What the path takes.
pub const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "app",
        is_required: false,
        shape: Shape::Text("the id of a configured app"),
        about: "Events of this app only; of all that the key sees if absent.",
    },
    Parameter {
        name: "reason",
        is_required: false,
        shape: Shape::Choice(|| Suspension::ALL.iter().map(|reason| reason.name()).collect()),
        about: "Events suspended for this reason only.",
    },
    Parameter {
        name: "limit",
        is_required: false,
        shape: Shape::Integer(1, LIMIT_MAX),
        about: "The most events of an answer; 100 if absent.",
    },
    Parameter {
        name: "cursor",
        is_required: false,
        shape: Shape::Text("the next_cursor of an answer"),
        about: "Goes on where an answer ended.",
    },
    MIN_AS_OF_PARAMETER,
];

documented_parameters!(SuspendedParameters, PARAMETERS, has_filters: false);

/// Suspended events.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SuspendedBody {
    /// By partition, app in order of its first event, customer, and id of the event.
    pub suspended: Vec<SuspendedEvent>,
    /// Give it as `cursor` to go on; null at the end.
    pub next_cursor: Option<String>,
    #[serde(flatten)]
    pub freshness: Freshness,
}

/// An accepted event without effect.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SuspendedEvent {
    pub app_id: String,
    pub customer_id: String,
    pub event_id: String,
    pub reason: &'static str,
    pub partition: i32,
}

/// Place of an event: partition, customer and id. It stays where it is when others come and go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    partition: Partition,
    customer: Vec<u8>,
    event_id: String,
}

impl Place {
    fn print(&self) -> String {
        format!(
            "{}.{}.{}",
            self.partition,
            hex::encode(&self.customer),
            hex::encode(&self.event_id)
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let place = Self {
            partition: parts.next()?.parse().ok()?,
            customer: hex::decode(parts.next()?).ok()?,
            event_id: String::from_utf8(hex::decode(parts.next()?).ok()?).ok()?,
        };
        parts.next().is_none().then_some(place)
    }
}

struct Wanted {
    access: Access,
    app: Option<String>,
    reason: Option<Suspension>,
    after: Option<Place>,
    limit: usize,
}

/// Accepted events that have no effect for now.
///
/// They take effect as soon as the events allow it, for example when a refund's payment arrives.
#[utoipa::path(
    get,
    path = "/v1/suspended",
    tag = "data quality",
    params(SuspendedParameters),
    responses(
        (status = 200, description = "Suspended events", body = SuspendedBody),
        (status = 400, description = "A parameter is unknown, repeated or wrong",
            body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid key", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "Not with this key", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "Unknown app", body = Problem,
            content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "min_as_of was not reached in time", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub async fn get_suspended(
    State(state): State<HttpState>,
    Caller { access, .. }: Caller<Reading>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let parameters = Parameters::read(pairs, PARAMETERS, false)?;
    let app = match parameters.text("app") {
        Some(app) => Some(state.app(&access, app)?.id.clone()),
        None => None,
    };
    let named = |name: &str| Suspension::ALL.into_iter().find(|reason| reason.name() == name);
    let limit = parameters.integer("limit")?.unwrap_or(LIMIT_USUAL);
    let wanted = Wanted {
        access,
        app,
        reason: parameters.parsed("reason", named)?,
        after: parameters.parsed("cursor", Place::parse)?,
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
    };
    wait_for(&state, parameters.text("min_as_of")).await?;
    blocking(move || respond(&state, &wanted)).await
}

fn respond(state: &HttpState, wanted: &Wanted) -> Result<Response, Problem> {
    let (found, freshness) = gather(state, |shard| Ok(take(shard, wanted)))?;
    let mut found: Vec<(Place, SuspendedEvent)> = found.into_iter().flatten().collect();
    let is_more = found.len() > wanted.limit;
    found.truncate(wanted.limit);
    let last = found.last().map(|(place, _)| place.print());
    let body = SuspendedBody {
        next_cursor: last.filter(|_| is_more),
        suspended: found.into_iter().map(|(_, event)| event).collect(),
        freshness,
    };
    Ok((body.freshness.headers(), Json(body)).into_response())
}

/// What is wanted of a shard, and one more than the limit to know that there is more.
fn take(shard: &LiveShard, wanted: &Wanted) -> Vec<(Place, SuspendedEvent)> {
    let mut found = Vec::new();
    let after = wanted.after.as_ref();
    if after.is_some_and(|after| after.partition > shard.partition) {
        return found;
    }
    let after = after.filter(|after| after.partition == shard.partition);
    let from = after.map_or(&[][..], |after| &after.customer);
    let range = (std::ops::Bound::Included(from), std::ops::Bound::Unbounded);
    for (customer, events) in shard.shard.suspended().lists().range::<[u8], _>(range) {
        let Some((app, customer_id)) = split_customer_key(customer) else { continue };
        let app_id = shard.shard.dictionary.app_id(app);
        let is_wanted = wanted.app.as_deref().is_none_or(|app| app == app_id);
        if !is_wanted || !wanted.access.sees(app_id) {
            continue;
        }
        let mut events: Vec<_> = events.iter().collect();
        events.sort_unstable();
        for (event_id, reason) in events {
            let place = Place {
                partition: shard.partition,
                customer: customer.to_vec(),
                event_id: event_id.to_string(),
            };
            let is_wanted = wanted.reason.is_none_or(|wanted| wanted == *reason);
            if !is_wanted || after.is_some_and(|after| place <= *after) {
                continue;
            }
            if found.len() > wanted.limit {
                return found;
            }
            let event = SuspendedEvent {
                app_id: app_id.to_owned(),
                customer_id: customer_id.to_owned(),
                event_id: event_id.to_string(),
                reason: reason.name(),
                partition: shard.partition,
            };
            found.push((place, event));
        }
    }
    found
}
