//! Adapty's analytics export API: its methods `ltv` and `cohort`, answered from the same facts.
//!
//! A key is for one app, which no request names. Dates are of a reporting zone of the app, the
//! first or the one that `Adapty-Tz` names. Money is of the app's reporting currency; the vendor's
//! is always USD.
//!
//! Handlers read a request ([`request`]), put a question of the pure layer and print the answer.
//! How it is printed is written down here and in `docs/adapty.md`: figures are JSON doubles, each
//! the quotient of exact sums, not rounded.

mod cohort;
mod cohort_body;
mod cohort_csv;
mod country;
mod document;
mod ltv;
mod ltv_body;
mod print;
pub mod request;
mod visit;
mod words;

use axum::routing::{any, post};

use crate::http::compat::Vendor;

pub use cohort::{
    __path_post_adapty_cohort, __path_post_adapty_cohort_bare, post_adapty_cohort,
    post_adapty_cohort_bare,
};
pub use cohort_body::{AdaptyCohort, AdaptyCohortValue, AdaptyCohorts};
pub use document::{AdaptyCohortRequest, AdaptyFilters, AdaptyLtvRequest};
pub use ltv::{
    __path_post_adapty_ltv, __path_post_adapty_ltv_bare, post_adapty_ltv, post_adapty_ltv_bare,
};
pub use ltv_body::{AdaptyLtv, AdaptyLtvMetric, AdaptyLtvRow, AdaptyLtvValue};
pub use words::{AdaptyError, AdaptyFault};

/// The vendor.
pub const VENDOR: Vendor = Vendor {
    routes: || {
        vec![
            ("/api/v1/client-api/metrics/ltv/", post(post_adapty_ltv)),
            ("/api/v1/client-api/metrics/ltv", post(post_adapty_ltv_bare)),
            ("/api/v1/client-api/metrics/cohort/", post(post_adapty_cohort)),
            ("/api/v1/client-api/metrics/cohort", post(post_adapty_cohort_bare)),
        ]
    },
    nothing_at: &["/api/v1/client-api", "/api/v1/client-api/", "/api/v1/client-api/{*rest}"],
    nothing: || any(words::unknown_path),
    word: words::word,
    cross_origin: None,
};
