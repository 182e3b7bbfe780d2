//! The words of the business, as types that cannot hold nonsense.
//!
//! Money, time, zones, events and their dimensions. Everything here is pure: no I/O, no clock,
//! no randomness. All other modules build on this one; it builds on none of them.

pub mod cohort;
pub mod country;
pub mod dimensions;
pub mod event;
pub mod field_error;
pub mod money;
pub mod period;
pub mod rules;
pub mod time;
