//! Adapty's analytics export API: its methods `ltv` and `cohort`, answered from the same facts.

pub mod request;
