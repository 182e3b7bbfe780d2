//! As of which input an answer is, and how old its data are.
//!
//! Always true
//! * What a shard says and its next offset are read under one lock: the answer of a shard is that
//!   of exactly the records below its offset.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::domain::time::Timestamp;
use crate::http::layers;
use crate::http::parameters::invalid;
use crate::http::problem::{Kind, Problem};
use crate::http::state::HttpState;
use crate::state::{HeldShard, LiveShard, OpeningShard, at_a_time};
use crate::stream::{NextOffset, Partition};

/// Header with the next offsets, written as `min_as_of` takes them.
pub const AS_OF_HEADER: HeaderName = HeaderName::from_static("x-ltvstream-as-of");
/// Header with the event time of the newest event.
const NEWEST_EVENT_HEADER: HeaderName = HeaderName::from_static("x-ltvstream-newest-event");
/// Header with the age of the data in seconds.
const DATA_AGE_SECONDS_HEADER: HeaderName = HeaderName::from_static("x-ltvstream-data-age-seconds");
/// Header with the number of records that the log had lost before they were read; only where there are any.
const MISSING_OFFSETS_HEADER: HeaderName = HeaderName::from_static("x-ltvstream-missing-offsets");

/// What an answer says of its input in headers.
pub const FRESHNESS_HEADERS: [HeaderName; 4] =
    [AS_OF_HEADER, NEWEST_EVENT_HEADER, DATA_AGE_SECONDS_HEADER, MISSING_OFFSETS_HEADER];

/// How often a waiting question looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Next offsets by partition.
pub type AsOf = BTreeMap<Partition, NextOffset>;

/// The input that an answer holds.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Freshness {
    /// By partition: the first offset whose effect is not in the answer.
    #[schema(example = json!({"0": 1234}))]
    pub as_of: BTreeMap<String, i64>,
    /// Event time of the newest accepted event of all apps, the sandbox aside; null before the first.
    pub newest_event_at: Option<String>,
    /// Whole seconds from the newest event to now; below 0 while it lies ahead of the clock.
    pub data_age_seconds: Option<i64>,
    /// Records that the log had lost before they were read, which nothing here contains; the
    /// operator let the service go on without them. 0 in good order.
    pub missing_offsets: u64,
}

impl Freshness {
    fn new(as_of: &AsOf, newest: Option<Timestamp>, now: Timestamp) -> Self {
        let age = newest.map(|at| now.0.saturating_sub(at.0).div_euclid(1_000_000));
        Self {
            as_of: by_name(as_of),
            newest_event_at: newest.map(Timestamp::to_rfc3339),
            data_age_seconds: age,
            missing_offsets: 0,
        }
    }

    /// The same as headers: `as_of` as `min_as_of` takes it, the newest event, the age of the data, and how many
    /// records are missing, if any are.
    pub fn headers(&self) -> HeaderMap {
        let missing = self.missing_offsets;
        let offsets = self.as_of.iter().map(|(partition, next)| format!("{partition}:{next}"));
        let texts = [
            (AS_OF_HEADER, Some(offsets.collect::<Vec<_>>().join(","))),
            (NEWEST_EVENT_HEADER, self.newest_event_at.clone()),
            (DATA_AGE_SECONDS_HEADER, self.data_age_seconds.map(|age| age.to_string())),
            (MISSING_OFFSETS_HEADER, (missing > 0).then(|| missing.to_string())),
        ];
        let shown = |(name, text): (HeaderName, Option<String>)| {
            Some((name, HeaderValue::try_from(text?).ok()?))
        };
        texts.into_iter().filter_map(shown).collect()
    }
}

/// Offsets as JSON names them.
pub fn by_name(as_of: &AsOf) -> BTreeMap<String, i64> {
    as_of.iter().map(|(partition, next)| (partition.to_string(), next.0)).collect()
}

/// What every shard says, each under its own lock for as long as `look` takes, several shards at
/// a time; with the input that they hold.
pub fn gather<T: Send>(
    state: &HttpState,
    look: impl Fn(&LiveShard) -> Result<T, Problem> + Sync,
) -> Result<(Vec<T>, Freshness), Problem> {
    gather_early(state, |shard| look(shard).map(Some), |_| None)
}

/// What one shard says, and the input that it holds.
struct Looked<T> {
    answer: T,
    partition: Partition,
    next_offset: NextOffset,
    newest_event_at: Option<Timestamp>,
    missing_offsets: u64,
}

/// As [`gather`], of shards that are looked at again, as they are then, until there is something to say:
/// in between events are applied. With what shards say whose facts are still being read: unless
/// `look_early` can say something of each of these they are left out, as partitions are that this process
/// does not hold. A question meets all that were assigned together, or none of them.
pub fn gather_early<T: Send>(
    state: &HttpState,
    look: impl Fn(&LiveShard) -> Result<Option<T>, Problem> + Sync,
    look_early: impl Fn(&OpeningShard) -> Option<T> + Sync,
) -> Result<(Vec<T>, Freshness), Problem> {
    let held = state.parts.shards.held();
    let look_at = |shard: &HeldShard| -> Result<Option<Looked<T>>, Problem> {
        Ok(match shard {
            HeldShard::Live(shard) => loop {
                let shard = shard.read();
                let Some(answer) = look(&shard)? else { continue };
                break Some(Looked {
                    answer,
                    partition: shard.partition,
                    next_offset: shard.next_offset(),
                    newest_event_at: shard.shard.newest_event_at(),
                    missing_offsets: shard.position.missing_offsets,
                });
            },
            HeldShard::Opening(shard) => look_early(shard).map(|answer| Looked {
                answer,
                partition: shard.partition,
                next_offset: shard.next_offset(),
                newest_event_at: shard.newest_event_at(),
                missing_offsets: shard.position.missing_offsets,
            }),
        })
    };
    let all = at_a_time(&held, look_at).into_iter().collect::<Result<Vec<_>, _>>()?;
    let is_early_whole = all.iter().all(Option::is_some);
    let is_live = |shard: &HeldShard| matches!(shard, HeldShard::Live(_));
    let counts = |shard: &HeldShard| is_early_whole || is_live(shard);
    let counting = held.iter().zip(all).filter(|(shard, _)| counts(shard));
    let (mut answers, mut as_of, mut newest) = (Vec::new(), AsOf::new(), None);
    let mut missing_offsets = 0;
    for looked in counting.filter_map(|(_, looked)| looked) {
        answers.push(looked.answer);
        as_of.insert(looked.partition, looked.next_offset);
        newest = newest.max(looked.newest_event_at);
        missing_offsets += looked.missing_offsets;
    }
    if answers.is_empty() {
        let detail = match held.is_empty() {
            true => "this process holds no partition of the input at the moment",
            false => "the state is being opened; only questions of whole cohorts are answered yet",
        };
        return Err(Problem::new(Kind::Unavailable, detail).retry_after_seconds(1));
    }
    let freshness = Freshness::new(&as_of, newest, state.parts.clock.now());
    Ok((answers, Freshness { missing_offsets, ..freshness }))
}

/// Reads `PARTITION:OFFSET`, several separated by commas.
pub fn parse_as_of(text: &str) -> Option<AsOf> {
    let mut as_of = AsOf::new();
    for part in text.split(',') {
        let (partition, next) = part.trim().split_once(':')?;
        let next: i64 = next.parse().ok().filter(|next| *next >= 0)?;
        let partition: Partition = partition.parse().ok().filter(|partition| *partition >= 0)?;
        if as_of.insert(partition, NextOffset(next)).is_some() {
            return None;
        }
    }
    Some(as_of)
}

/// What `min_as_of` must look like.
pub const MIN_AS_OF: &str = "PARTITION:OFFSET, several separated by commas, as in 0:123,1:5";

/// Waits until the shards hold the input that `min_as_of` asks for.
pub async fn wait_for(state: &HttpState, min_as_of: Option<&str>) -> Result<(), Problem> {
    let Some(text) = min_as_of else { return Ok(()) };
    let wanted = parse_as_of(text).ok_or_else(|| invalid("min_as_of", MIN_AS_OF, text))?;
    let deadline = Instant::now() + state.parts.limits.min_as_of_wait;
    loop {
        let held = held(state, wanted.keys().copied().collect()).await?;
        let partitions = state.parts.partitions;
        let is_known = |partition: &Partition| *partition < partitions;
        if !wanted.keys().all(|partition| is_known(partition) || held.contains_key(partition)) {
            let expected = format!("of partitions 0 to {}", partitions - 1);
            return Err(invalid("min_as_of", &expected, text));
        }
        let reached = |(partition, next): (&Partition, &NextOffset)| {
            held.get(partition).is_some_and(|held| held >= next)
        };
        if wanted.iter().all(reached) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let detail = "the state did not reach min_as_of in time; ask again";
            return Err(Problem::new(Kind::AsOfNotReached, detail)
                .with("min_as_of", serde_json::json!(by_name(&wanted)))
                .with("as_of", serde_json::json!(by_name(&held)))
                .retry_after_seconds(1));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn held(state: &HttpState, partitions: Vec<Partition>) -> Result<AsOf, Problem> {
    let shards = state.parts.shards.clone();
    // A shard may be locked for as long as a batch is applied.
    blocking(move || {
        let next = |partition| Some((partition, shards.get(partition)?.read().next_offset()));
        Ok(partitions.into_iter().filter_map(next).collect())
    })
    .await
}

/// Runs work that computes or waits on a thread that may. It counts as the request that it is for until it
/// is done, also where nobody waits for that any more.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let slot = layers::slot();
    let work = move || {
        let worked = work();
        drop(slot);
        worked
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Problem::internal(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_read_as_they_print() {
        let as_of = parse_as_of("0:123, 1:5").unwrap();
        let freshness = Freshness::new(&as_of, Some(Timestamp(1)), Timestamp(2_000_000));
        assert_eq!(freshness.headers()[AS_OF_HEADER], "0:123,1:5");
        assert_eq!(freshness.headers()[DATA_AGE_SECONDS_HEADER], "1");
        assert!(!freshness.headers().contains_key(MISSING_OFFSETS_HEADER));
        let freshness = Freshness { missing_offsets: 7, ..freshness };
        assert_eq!(freshness.headers()[MISSING_OFFSETS_HEADER], "7");
        for text in ["", "1", "0:x", "0:-1", "-1:0", "0:1,0:2", "0:1,"] {
            assert!(parse_as_of(text).is_none(), "{text}");
        }
    }
}
