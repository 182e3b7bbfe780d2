//! What is asked and how it is answered from facts: pure questions, pure answers.
//!
//! Every question goes the same way: a *partial* is made from the facts (or the curves) of each
//! shard with all texts spelled out, partials are merged, and the answer is made from the whole.
//! Nothing here knows what time it is; `today` and `until` come in the question.

mod ages;
mod buckets;
pub mod cohorts;
mod cohorts_answer;
pub mod commerce;
pub mod commerce_periods;
mod filters;
pub mod flows;
mod grid;
pub mod kept;
pub mod ltv;
mod ltv_answer;
pub mod ltv_table;
pub mod mrr;
pub mod mrr_answer;
mod mrr_days;
#[cfg(test)]
mod naive;
pub mod question;
pub mod ratio;
pub mod revenue;
pub mod snapshot;
mod snapshot_sums;
mod standings;
#[cfg(test)]
mod worked_examples;
