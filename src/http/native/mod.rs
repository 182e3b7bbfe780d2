//! The native API: questions about apps, what is suspended or refused, and ingest.

pub mod apps;
pub mod customer_body;
pub mod customers;
pub mod dead_letters;
mod event_schema;
pub mod events;
pub mod ltv;
pub mod ltv_body;
pub mod ltv_csv;
pub mod question;
pub mod revenue;
pub mod revenue_body;
pub mod suspended;
