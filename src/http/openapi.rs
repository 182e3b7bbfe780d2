//! The OpenAPI document, generated from the handlers.

use std::sync::LazyLock;

use utoipa::openapi::RefOr;
use utoipa::openapi::header::Header;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::http::compat::IGNORED_HEADER;
use crate::http::native::{apps, customers, dead_letters, events, ltv, revenue, suspended};
use crate::http::{adapty, chartmogul, codat, ops, page, zenovay};

/// The document; routes and their answers come from the handlers' own descriptions.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "ltvstream",
        description = "Exact, incremental customer lifetime value from a stream of billing events.\n\n\
            Every answer says as of which input it is (`as_of`: by partition, the first offset whose \
            effect is not in it) and how old its data are. Amounts are decimal strings of units with \
            two to six decimals, and integers of micro-units beside them (fields `*_micros`; a \
            string of digits beyond 64 bits). Errors are RFC 9457 problem documents. Parameters that \
            a path does not know, and repeated ones, are refused by name.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        apps::get_apps,
        ltv::get_ltv,
        revenue::get_revenue,
        customers::get_customer,
        suspended::get_suspended,
        dead_letters::get_dead_letters,
        events::post_events,
        ops::get_healthz,
        ops::get_readyz,
        ops::get_metrics,
        ops::get_openapi,
        page::get_page,
        adapty::post_adapty_ltv,
        adapty::post_adapty_ltv_bare,
        adapty::post_adapty_cohort,
        adapty::post_adapty_cohort_bare,
        chartmogul::get_chartmogul_ping,
        chartmogul::get_chartmogul_metrics,
        zenovay::get_zenovay_ltv,
        codat::get_codat_metric,
    ),
    modifiers(&Keys, &Ignored),
    security(("bearer" = []), ("api_key" = [])),
    tags(
        (name = "questions", description = "Scope `read`, for the apps of the key"),
        (name = "data quality", description = "What has no effect (`read`), what was refused (`admin`)"),
        (name = "ingest", description = "Scope `ingest`, for the apps of the key"),
        (name = "compatible", description = "The APIs of other vendors, for their own clients: read leniently (parameters \
            without effect are named in `X-Ltvstream-Ignored`), worded as the vendor does, as-of facts in headers"),
        (name = "operations", description = "Health, readiness, metrics, this document"),
    ),
)]
struct Document;

struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let header = ApiKey::Header(ApiKeyValue::new("X-API-Key"));
        let components = document.components.get_or_insert_default();
        let basic = HttpBuilder::new().scheme(HttpAuthScheme::Basic).build();
        components.add_security_scheme("basic", SecurityScheme::Http(basic));
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        components.add_security_scheme("api_key", SecurityScheme::ApiKey(header));
        let about = "`Authorization: Api-Key KEY`, for one app only";
        let adapty = ApiKeyValue::with_description("Authorization", about);
        components.add_security_scheme("adapty", SecurityScheme::ApiKey(ApiKey::Header(adapty)));
    }
}

/// The header that every vendor's path may answer with.
struct Ignored;

impl Modify for Ignored {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let is_compatible = |operation: &&mut Operation| {
            operation.tags.iter().flatten().any(|tag| tag == "compatible")
        };
        let mut header = Header::default();
        header.description =
            Some("Names of what had no effect on the answer; absent if all had one".to_owned());
        let items = document.paths.paths.values_mut();
        let operations = items.flat_map(|item| [item.get.as_mut(), item.post.as_mut()]).flatten();
        for operation in operations.filter(is_compatible) {
            if let Some(RefOr::T(answer)) = operation.responses.responses.get_mut("200") {
                answer.headers.insert(IGNORED_HEADER.to_string(), header.clone());
            }
        }
    }
}

/// The document as JSON.
pub fn text() -> &'static str {
    // It is made of constants, so that it serialises either always or never; a test reads it.
    static TEXT: LazyLock<String> =
        LazyLock::new(|| Document::openapi().to_pretty_json().unwrap_or_default());
    &TEXT
}
