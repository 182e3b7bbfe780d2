//! Questions put to all shards at once, whatever API they came in by.

use crate::http::freshness::{Freshness, gather_early};
use crate::http::problem::{Kind, Problem};
use crate::http::state::HttpState;
use crate::metrics_api::kept::Summed;
use crate::metrics_api::ltv::{self, LtvAnswer, LtvPartial};
use crate::metrics_api::mrr::{MrrPartial, MrrQuestion};
use crate::metrics_api::mrr_answer::{self, MrrAnswer};
use crate::metrics_api::question::{InvalidQuestion, LtvQuestion};
use crate::metrics_api::revenue::{self, RevenueAnswer, RevenuePartial, RevenueQuestion};
use crate::state::{LiveShard, OpeningShard};

/// What all shards together say: the partial of each, merged outside the locks. `partial` is asked again
/// while it has none yet.
pub fn merged<P: Default + Send>(
    state: &HttpState,
    partial: impl Fn(&LiveShard) -> Option<P> + Sync,
    merge: impl Fn(P, P) -> P,
) -> Result<(P, Freshness), Problem> {
    merged_early(state, partial, |_| None, merge)
}

/// As [`merged`], with what shards say whose facts are still being read.
fn merged_early<P: Default + Send>(
    state: &HttpState,
    partial: impl Fn(&LiveShard) -> Option<P> + Sync,
    early: impl Fn(&OpeningShard) -> Option<P> + Sync,
    merge: impl Fn(P, P) -> P,
) -> Result<(P, Freshness), Problem> {
    let (partials, freshness) = gather_early(state, |shard| Ok(partial(shard)), early)?;
    Ok((partials.into_iter().reduce(merge).unwrap_or_default(), freshness))
}

/// Lifetime value, before it is spelled out.
pub fn ltv_partial(
    state: &HttpState,
    question: &LtvQuestion,
) -> Result<(LtvPartial, Freshness), Problem> {
    merged_early(state, |shard| shard.ltv(question), |shard| shard.ltv(question), LtvPartial::merge)
}

/// Lifetime value.
pub fn ltv(state: &HttpState, question: &LtvQuestion) -> Result<(LtvAnswer, Freshness), Problem> {
    let (whole, freshness) = ltv_partial(state, question)?;
    ltv::check_length(question, &whole).map_err(invalid)?;
    Ok((ltv::answer(question, whole), freshness))
}

/// Revenue by calendar bucket.
pub fn revenue(
    state: &HttpState,
    question: &RevenueQuestion,
) -> Result<(RevenueAnswer, Freshness), Problem> {
    let (whole, freshness) = merged(state, |shard| shard.revenue(question), RevenuePartial::merge)?;
    revenue::check_length(question, &whole).map_err(invalid)?;
    Ok((revenue::answer(question, &whole), freshness))
}

fn invalid(error: InvalidQuestion) -> Problem {
    Problem::new(Kind::InvalidQuestion, error)
}

/// Recurring revenue by interval.
pub fn mrr(state: &HttpState, question: &MrrQuestion) -> Result<(MrrAnswer, Freshness), Problem> {
    let (whole, freshness) = merged(state, |shard| shard.mrr(question), MrrPartial::merge)?;
    Ok((mrr_answer::answer(question, &whole), freshness))
}
