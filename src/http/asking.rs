//! Questions put to all shards at once, whatever API they came in by.

use crate::engine::shard::Shard;
use crate::http::freshness::{Freshness, gather};
use crate::http::problem::Problem;
use crate::http::state::HttpState;
use crate::metrics_api::ltv::{self, LtvAnswer, LtvPartial};
use crate::metrics_api::mrr::{MrrPartial, MrrQuestion};
use crate::metrics_api::mrr_answer::{self, MrrAnswer};
use crate::metrics_api::question::LtvQuestion;
use crate::metrics_api::revenue::{self, RevenueAnswer, RevenuePartial, RevenueQuestion};

/// What all shards together say: the partial of each, merged outside the locks.
pub fn merged<P: Default + Send>(
    state: &HttpState,
    partial: impl Fn(&Shard) -> P + Sync,
    merge: impl Fn(P, P) -> P,
) -> Result<(P, Freshness), Problem> {
    let (partials, freshness) = gather(state, |shard| Ok(partial(&shard.shard)))?;
    Ok((partials.into_iter().fold(P::default(), merge), freshness))
}

/// Lifetime value: from the curves where they know the answer, else from the facts.
pub fn ltv(state: &HttpState, question: &LtvQuestion) -> Result<(LtvAnswer, Freshness), Problem> {
    let partial = |shard: &Shard| {
        let quick = ltv::partial_of_curves(&shard.curves, &shard.dictionary, question);
        quick.unwrap_or_else(|| ltv::partial(&shard.facts, &shard.dictionary, question))
    };
    let (whole, freshness) = merged(state, partial, LtvPartial::merge)?;
    Ok((ltv::answer(question, whole), freshness))
}

/// Revenue by calendar bucket.
pub fn revenue(
    state: &HttpState,
    question: &RevenueQuestion,
) -> Result<(RevenueAnswer, Freshness), Problem> {
    let partial = |shard: &Shard| revenue::partial(&shard.facts, &shard.dictionary, question);
    let (whole, freshness) = merged(state, partial, RevenuePartial::merge)?;
    Ok((revenue::answer(question, &whole), freshness))
}

/// Recurring revenue by interval.
pub fn mrr(state: &HttpState, question: &MrrQuestion) -> Result<(MrrAnswer, Freshness), Problem> {
    let (partials, freshness) = gather(state, |shard| Ok(shard.mrr(question)))?;
    let whole = partials.into_iter().fold(MrrPartial::default(), MrrPartial::merge);
    Ok((mrr_answer::answer(question, &whole), freshness))
}
