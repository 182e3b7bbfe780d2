//! Bytes to domain values and back, one file per wire version. Pure.
//!
//! An event arrives as Avro or JSON and leaves as a checked
//! [`BillingEvent`](crate::domain::event::BillingEvent), or as a [`DecodeError`](error::DecodeError)
//! that says why not; it borrows its text from the bytes. [`event_codec`] is the door: the format
//! comes from a setting and is never guessed.
//!
//! Always true
//! * No input panics, recurses without bound, or makes the decoder allocate more than a small
//!   multiple of its own length (`codec_hostile`).
//! * A message is consumed to its last byte, or refused.
//! * Avro written by any evolved schema means here what the Avro specification says
//!   (`codec_avro_reference`), and bytes of every released version decode for ever
//!   (`codec_golden`).
//!
//! Not here: asking a registry for a schema (`stream/registry.rs`).

pub mod avro_event;
mod avro_fingerprint;
mod avro_plain;
mod avro_resolve;
mod avro_skip;
mod avro_wire;
pub mod envelope;
pub mod error;
pub mod event_codec;
pub(crate) mod event_fields;
pub mod fact_pages;
pub mod json_event;
pub mod sealed;
pub mod snapshot;
pub mod snapshot_key;
pub mod stored;
pub mod stored_curves;
pub mod stored_entry;
