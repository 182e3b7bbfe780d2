//! The questions that the running service is asked: those of the native API, and one or more of
//! each vendor's, as that vendor's clients ask them.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ureq::Agent;

use crate::domain::time::Day;
use crate::generator::GeneratorSettings;
use crate::stream::proxy::proxy_for;

/// How a request shows its key.
#[derive(Debug, Clone, Copy)]
enum KeyIn {
    /// As the native API and Zenovay's take it.
    Header,
    /// `Basic`, of the key with an empty password: ChartMogul.
    BasicUser,
    /// `Basic`, of the bare key: Codat.
    BasicBare,
    /// `Api-Key`: Adapty.
    Word,
}

/// A question; `{app}`, `{id}` (a customer), `{from}` and `{to}` (days) are filled in.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    pub name: &'static str,
    path: &'static str,
    /// Of a `POST`.
    body: Option<&'static str>,
    key: KeyIn,
    /// Whether the answer may be compressed; as a line of curl asks, it may not.
    is_compressed: bool,
    /// Clients that ask it at a time.
    pub clients: &'static [usize],
}

const fn native(name: &'static str, path: &'static str) -> Question {
    let (key, is_compressed) = (KeyIn::Header, false);
    Question { name, path, body: None, key, is_compressed, clients: &[1, 4] }
}

const fn vendor(name: &'static str, path: &'static str, key: KeyIn) -> Question {
    Question { key, clients: &[1], ..native(name, path) }
}

const fn adapty(name: &'static str, path: &'static str, body: &'static str) -> Question {
    Question { body: Some(body), ..vendor(name, path, KeyIn::Word) }
}

/// Whose answer tells the sum of all revenue.
pub const DEFAULT: Question = native("LTV, default", "/v1/apps/{app}/ltv");

/// The longest answer.
const COHORT: Question = adapty(
    "Adapty cohort, renewals",
    "/api/v1/client-api/metrics/cohort/",
    r#"{"filters": {"date": ["{from}", "{to}"]}, "period_unit": "month",
        "period_type": "renewals"}"#,
);

/// Everything that is asked.
pub const QUESTIONS: [Question; 16] = [
    DEFAULT,
    native("LTV of a country", "/v1/apps/{app}/ltv?filter.country=US"),
    native("LTV by store", "/v1/apps/{app}/ltv?segment_by=store"),
    native("revenue", "/v1/apps/{app}/revenue"),
    native("customer", "/v1/apps/{app}/customers/{id}"),
    vendor(
        "Zenovay ltv",
        "/api/external/v1/revenue/{app}/ltv?range=90d&granularity=monthly",
        KeyIn::Header,
    ),
    vendor(
        "ChartMogul ltv",
        "/v1/metrics/ltv?start-date={from}&end-date={to}&interval=month",
        KeyIn::BasicUser,
    ),
    vendor(
        "ChartMogul mrr, by day",
        "/v1/metrics/mrr?start-date={from}&end-date={to}&interval=day",
        KeyIn::BasicUser,
    ),
    vendor(
        "ChartMogul all, of a country",
        "/v1/metrics/all?start-date={from}&end-date={to}&interval=month&geo=US",
        KeyIn::BasicUser,
    ),
    vendor(
        "Codat lifetimeValue, 24 months",
        "/data/companies/{app}/connections/{app}/assess/commerceMetrics/lifetimeValue\
         ?reportDate={to}&periodUnit=Month&periodLength=1&numberOfPeriods=24",
        KeyIn::BasicBare,
    ),
    vendor(
        "Codat customerRetention, 24 months",
        "/data/companies/{app}/connections/{app}/assess/commerceMetrics/customerRetention\
         ?reportDate={to}&periodUnit=Month&periodLength=1&numberOfPeriods=24",
        KeyIn::BasicBare,
    ),
    adapty(
        "Adapty ltv, renewals",
        "/api/v1/client-api/metrics/ltv/",
        r#"{"filters": {"date": ["{from}", "{to}"]}, "period_unit": "month",
            "period_type": "renewals"}"#,
    ),
    adapty(
        "Adapty ltv by country, days",
        "/api/v1/client-api/metrics/ltv/",
        r#"{"filters": {"date": ["{from}", "{to}"]}, "period_unit": "month",
            "period_type": "days", "segmentation": "country"}"#,
    ),
    COHORT,
    Question { name: "Adapty cohort, renewals, gzip", is_compressed: true, ..COHORT },
    adapty(
        "Adapty cohort of a store, days",
        "/api/v1/client-api/metrics/cohort/",
        r#"{"filters": {"date": ["{from}", "{to}"], "store": ["app_store"]},
            "period_unit": "month", "period_type": "days", "renewal_days": [0, 7, 31, 61, 183]}"#,
    ),
];

/// How many times a question is asked for as long as each is asked.
pub const fn times_asked() -> u64 {
    let (mut times, mut at) = (0, 0);
    while at < QUESTIONS.len() {
        times += QUESTIONS[at].clients.len() as u64;
        at += 1;
    }
    times
}

/// What the questions are about.
pub struct About {
    url: String,
    secret: String,
    app: String,
    from: Day,
    to: Day,
}

impl About {
    /// The generated business, two years from its first day.
    pub fn new(url: String, secret: String, generated: &GeneratorSettings) -> Self {
        let days = i32::try_from(generated.days).unwrap_or(i32::MAX);
        let (app, from) = (generated.app_id.clone(), generated.first_day);
        Self { url, secret, app, from, to: Day(from.0.saturating_add(days) - 1) }
    }
}

/// A client; keeps its connection.
pub struct Asker<'a> {
    agent: Agent,
    about: &'a About,
}

impl<'a> Asker<'a> {
    pub fn new(about: &'a About) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(proxy_for(&about.url))
            .build();
        Self { agent: Agent::new_with_config(config), about }
    }

    /// The body of the answer, which must be one.
    pub fn ask(&self, question: &Question, customer: &str) -> anyhow::Result<String> {
        let About { url, secret, app, from, to } = self.about;
        let fill = |text: &str| {
            let days = text.replace("{from}", &from.to_string()).replace("{to}", &to.to_string());
            days.replace("{app}", app).replace("{id}", customer)
        };
        let url = format!("{url}{}", fill(question.path));
        let (header, value) = match question.key {
            KeyIn::Header => ("X-API-Key", secret.clone()),
            KeyIn::BasicUser => ("Authorization", basic(&format!("{secret}:"))),
            KeyIn::BasicBare => ("Authorization", basic(secret)),
            KeyIn::Word => ("Authorization", format!("Api-Key {secret}")),
        };
        let encoding = if question.is_compressed { "gzip" } else { "identity" };
        let response = match question.body {
            None => {
                let request = self.agent.get(&url).header(header, value);
                request.header("Accept-Encoding", encoding).call()
            }
            Some(body) => {
                let request = self.agent.post(&url).header(header, value);
                let request = request.header("Accept-Encoding", encoding);
                request.header("Content-Type", "application/json").send(fill(body))
            }
        };
        let mut response = response.with_context(|| url.clone())?;
        let body = response.body_mut().with_config().limit(1 << 30).read_to_string()?;
        anyhow::ensure!(response.status().is_success(), "{url} answered: {body}");
        Ok(body)
    }
}

fn basic(text: &str) -> String {
    format!("Basic {}", STANDARD.encode(text))
}
