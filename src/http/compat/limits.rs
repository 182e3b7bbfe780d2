//! How often a vendor's path may be asked, by key or by app.
//!
//! Counts are kept in memory and begin anew with the process.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;

use crate::domain::time::{DAY_MICROS, Timestamp, Width};
use crate::http::problem::whole_seconds;

/// Who shares a limit: the vendor's name, then a key or an app.
type Subject = (&'static str, String);

type Bucket = RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>;

/// What a vendor lets one account ask.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    /// Name of the vendor; limits of several vendors do not touch.
    pub vendor: &'static str,
    /// So many requests at once, refilled evenly over `per`.
    pub requests: NonZeroU32,
    /// A second or a minute.
    pub per: Duration,
    /// At most so many requests in a calendar day or month (UTC).
    pub calendar: Option<(Width, u64)>,
}

impl Allowance {
    /// Where somebody stands who has asked nothing yet.
    pub fn untouched(&self, now: Timestamp) -> Grant {
        Grant {
            limit: self.requests.get(),
            remaining: self.requests.get(),
            unit: unit(self.per),
            full_after_seconds: 0,
            used: 0,
            calendar: self.calendar.map(|(width, most)| (most, Timestamp(next_start(width, now)))),
        }
    }
}

/// The state of a limit after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// Requests at once, and how many of them are left.
    pub limit: u32,
    pub remaining: u32,
    /// What the limit is over, in a word: `second`, `minute`.
    pub unit: &'static str,
    /// Whole seconds until all of them are there again.
    pub full_after_seconds: u64,
    /// Requests in this calendar day or month since the process started; 0 without such a limit.
    pub used: u64,
    /// Their limit, and when the next day or month begins; `None` without.
    pub calendar: Option<(u64, Timestamp)>,
}

/// A request too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    pub grant: Grant,
    /// Whether the calendar day or month is used up, not the requests at once.
    pub is_calendar: bool,
    pub retry_after_seconds: u64,
}

/// All limits of vendors' paths. Their number is bounded by keys, apps and vendors.
#[derive(Default)]
pub struct Limiters {
    buckets: Mutex<BTreeMap<Subject, Arc<Bucket>>>,
    /// Ordinal of the day or month, and requests in it.
    calendars: Mutex<BTreeMap<Subject, (i32, u64)>>,
}

impl Limiters {
    /// Counts one request of `who`; `own` is the key's own limit a second, which replaces all of
    /// the vendor's.
    pub fn charge(
        &self,
        allowance: &Allowance,
        who: String,
        own: Option<NonZeroU32>,
        now: Timestamp,
    ) -> Result<Grant, Limited> {
        let subject = (allowance.vendor, who);
        let (limit, per) =
            own.map_or((allowance.requests, allowance.per), |own| (own, Duration::from_secs(1)));
        let step = per.checked_div(limit.get()).filter(|step| !step.is_zero());
        let step = step.unwrap_or(Duration::from_nanos(1));
        let bucket = self.bucket(&subject, limit, step);
        let checked = bucket.check();
        let remaining = checked.as_ref().map_or(0, |state| state.remaining_burst_capacity());
        let missing = limit.get().saturating_sub(remaining);
        let mut grant = Grant {
            limit: limit.get(),
            remaining,
            unit: unit(per),
            full_after_seconds: whole_seconds(step.saturating_mul(missing)),
            used: 0,
            calendar: None,
        };
        let calendar = allowance.calendar.filter(|_| own.is_none());
        if let Err(until) = checked {
            if let Some((width, most)) = calendar {
                grant.used = self.counted(&subject, width.ordinal(now.utc_day()));
                grant.calendar = Some((most, Timestamp(next_start(width, now))));
            }
            let wait = until.wait_time_from(DefaultClock::default().now());
            let retry_after_seconds = whole_seconds(wait).max(1);
            return Err(Limited { grant, is_calendar: false, retry_after_seconds });
        }
        if let Some((width, most)) = calendar {
            let next = Timestamp(next_start(width, now));
            grant.used = self.count(subject, width.ordinal(now.utc_day()), most);
            grant.calendar = Some((most, next));
            if grant.used > most {
                grant.used = most;
                let wait = Duration::from_micros(next.0.saturating_sub(now.0).unsigned_abs());
                let retry_after_seconds = whole_seconds(wait).max(1);
                return Err(Limited { grant, is_calendar: true, retry_after_seconds });
            }
        }
        Ok(grant)
    }

    fn bucket(&self, subject: &Subject, limit: NonZeroU32, step: Duration) -> Arc<Bucket> {
        let mut buckets = self.buckets.lock();
        let bucket = buckets.entry(subject.clone()).or_insert_with(|| {
            // The step is never zero; should it be, a second is as good.
            let quota = Quota::with_period(step).unwrap_or_else(|| Quota::per_second(limit));
            Arc::new(RateLimiter::direct(quota.allow_burst(limit)).with_middleware())
        });
        Arc::clone(bucket)
    }

    /// Requests in this day or month so far.
    fn counted(&self, subject: &Subject, ordinal: i32) -> u64 {
        let calendars = self.calendars.lock();
        calendars.get(subject).filter(|entry| entry.0 == ordinal).map_or(0, |entry| entry.1)
    }

    /// Requests in this day or month with this one; refused ones are not added up.
    fn count(&self, subject: Subject, ordinal: i32, most: u64) -> u64 {
        let mut calendars = self.calendars.lock();
        let entry = calendars.entry(subject).or_insert((ordinal, 0));
        if entry.0 != ordinal {
            *entry = (ordinal, 0);
        }
        let used = entry.1.saturating_add(1);
        entry.1 = used.min(most);
        used
    }
}

fn unit(per: Duration) -> &'static str {
    if per == Duration::from_secs(60) { "minute" } else { "second" }
}

/// The instant at which the next day or month begins in UTC, microseconds.
fn next_start(width: Width, now: Timestamp) -> i64 {
    i64::from(width.end(now.utc_day()).0).saturating_add(1).saturating_mul(DAY_MICROS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWANCE: Allowance = Allowance {
        vendor: "someone",
        requests: NonZeroU32::MIN.saturating_add(2),
        per: Duration::from_secs(60),
        calendar: Some((Width::Month, 5)),
    };

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn requests_at_once_run_out_for_one_subject_and_not_for_another() {
        let limiters = Limiters::default();
        let now = at("2026-03-16T15:00:00Z");
        let ask = |who: &str| limiters.charge(&ALLOWANCE, who.to_owned(), None, now);
        assert_eq!([ask("a"), ask("a"), ask("a")].map(|grant| grant.unwrap().remaining), [2, 1, 0]);
        let refused = ask("a").unwrap_err();
        assert!(!refused.is_calendar && refused.retry_after_seconds > 1, "{refused:?}");
        assert_eq!((refused.grant.limit, refused.grant.remaining), (3, 0));
        // Where the month stands is told all the same.
        let month = Some((5, at("2026-04-01T00:00:00Z")));
        assert_eq!((refused.grant.used, refused.grant.calendar), (3, month));
        assert_eq!(ask("b").unwrap().remaining, 2);
    }

    #[test]
    fn a_month_runs_out_and_the_next_begins_anew() {
        let limiters = Limiters::default();
        let month = Allowance { requests: NonZeroU32::MIN.saturating_add(99), ..ALLOWANCE };
        let ask = |now| limiters.charge(&month, "a".to_owned(), None, at(now));
        for used in 1..=5 {
            let grant = ask("2026-03-31T23:59:59Z").unwrap();
            assert_eq!(grant.used, used);
            assert_eq!(grant.calendar, Some((5, at("2026-04-01T00:00:00Z"))));
        }
        let refused = ask("2026-03-31T23:59:59Z").unwrap_err();
        assert!(refused.is_calendar);
        assert_eq!((refused.retry_after_seconds, refused.grant.used), (1, 5));
        assert_eq!(ask("2026-04-01T00:00:00Z").unwrap().used, 1);
    }

    #[test]
    fn a_limit_of_the_key_replaces_all_of_the_vendors() {
        let limiters = Limiters::default();
        let ask = || {
            let own = NonZeroU32::new(1_000_000);
            limiters.charge(&ALLOWANCE, "a".to_owned(), own, at("2026-03-16T15:00:00Z"))
        };
        for _ in 0..10 {
            let grant = ask().unwrap();
            assert_eq!((grant.limit, grant.calendar), (1_000_000, None));
        }
    }
}
