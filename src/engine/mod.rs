//! Ledger in, facts out: the incremental engine.
//!
//! `facts(ledger)` maps one customer's ledger to additive rows ([`fold`]); a shard keeps the sum
//! of them over all its customers up to date, event by event ([`shard`]).
//!
//! Always true
//! * The state is a pure function of the set of accepted events: order of arrival, repetition,
//!   the cut of batches and restarts do not change it (`tests/it/law.rs`).
//! * Nothing here fails on an event: what cannot count is refused or suspended, with its reason.

pub mod admission;
pub mod blocks;
pub mod coverage;
pub mod curves;
pub mod customer;
pub mod customers;
pub mod dictionary;
pub mod facts;
pub mod fields;
pub mod fold;
pub mod ledger;
pub mod memo;
pub mod moment;
pub mod numbers;
pub mod packed;
pub mod pieces;
pub mod recent;
pub mod refusal;
pub mod row_index;
pub mod shard;
pub mod slices;
pub mod standing;
pub mod suspended;
pub mod timelines;
