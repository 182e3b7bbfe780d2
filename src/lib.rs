//! Exact, incremental customer lifetime value from a stream of billing events.
//!
//! The map of the modules and the invariants that hold are in `ARCHITECTURE.md`.

pub mod cli;
pub mod codec;
pub mod config;
pub mod domain;
pub mod engine;
pub mod generator;
pub mod http;
pub mod import;
pub mod kafka;
pub mod metrics_api;
pub mod pipeline;
pub mod service;
pub mod state;
pub mod store;
pub mod stream;
pub mod telemetry;
