//! The Avro snapshot, version 1: the published lifetime value of one cohort.
//!
//! [`encode`] and [`decode`] are inverse to each other, byte for byte: entries of maps are in the
//! order of their partition. Sums that do not fit the schema's long are an error, never cut.

use std::collections::BTreeMap;

use crate::codec::avro_wire::{Cursor, put_count, put_long, put_text};
use crate::codec::envelope::{Framing, open_registry, open_single_object};
use crate::codec::error::DecodeError;
use crate::codec::snapshot_key::{Segment, SnapshotKey};
use crate::domain::cohort::Anchor;
use crate::domain::money::Currency;
use crate::domain::time::{Day, Timestamp, Width};

/// The schema, as published.
pub const LTV_SNAPSHOT_V1: &str = include_str!("../../schemas/ltv_snapshot.v1.avsc");

/// CRC-64-AVRO of [`LTV_SNAPSHOT_V1`], in the order of the wire.
pub const LTV_SNAPSHOT_V1_FINGERPRINT: [u8; 8] = [0x50, 0xbd, 0xb3, 0xe4, 0x05, 0x5b, 0xca, 0x70];

/// Money in micro-units of the snapshot's currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MoneySums {
    pub gross: i128,
    pub proceeds: i128,
    pub net: i128,
}

/// Everything up to and through one age, cumulative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SnapshotAge {
    /// Whole days or periods since the cohort's start, from 0.
    pub age: i32,
    /// Payments, before any refund.
    pub paid: MoneySums,
    /// Refunds at their own time, positive.
    pub refunded: MoneySums,
    /// Number of payments.
    pub payments: i64,
    /// Every customer of the cohort has reached the end of this age.
    pub complete: bool,
}

/// Which input the figures hold. Of two snapshots of a cohort the one with the greater epoch
/// wins, then the one with the greater offsets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotVersion {
    /// Raised when figures are computed anew.
    pub log_epoch: i64,
    /// By partition: the first offset that is not in the figures yet.
    pub next_offsets: BTreeMap<i32, i64>,
}

/// The lifetime value of one cohort as of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRecord {
    pub app_id: String,
    pub anchor: Anchor,
    pub width: Width,
    /// IANA name of the zone whose days are counted.
    pub zone: String,
    /// First day of the cohort.
    pub cohort_start: Day,
    pub segment: Option<Segment>,
    pub currency: Currency,
    pub customers: i64,
    /// Customers with at least one payment.
    pub payers: i64,
    /// Number of refunds.
    pub refunds: i64,
    /// By calendar days of the zone.
    pub ages_days: Vec<SnapshotAge>,
    /// By calendar periods of the cohort's width.
    pub ages_periods: Vec<SnapshotAge>,
    pub version: SnapshotVersion,
    /// Newest event time in the figures.
    pub newest_event_at: Option<Timestamp>,
}

/// A sum is too large for the schema's long.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} of age {age} is {value}, which a 64-bit integer does not hold")]
pub struct OutOfRange {
    pub field: &'static str,
    pub age: i32,
    pub value: i128,
}

impl SnapshotRecord {
    /// The key under which the snapshot is published.
    pub fn key(&self) -> SnapshotKey {
        SnapshotKey {
            app_id: self.app_id.clone(),
            anchor: self.anchor,
            width: self.width,
            cohort_start: self.cohort_start,
            segment: self.segment.clone(),
        }
    }
}

/// The snapshot as the value of a record.
pub fn encode(snapshot: &SnapshotRecord, framing: Framing) -> Result<Vec<u8>, OutOfRange> {
    let out = &mut Vec::with_capacity(128 + 64 * snapshot.ages_days.len());
    framing.put(out);
    put_text(out, &snapshot.app_id);
    put_position(out, &Anchor::ALL, snapshot.anchor);
    put_position(out, &Width::ALL, snapshot.width);
    put_text(out, &snapshot.zone);
    put_long(out, snapshot.cohort_start.0.into());
    put_long(out, i64::from(snapshot.segment.is_some()));
    if let Some(segment) = &snapshot.segment {
        put_text(out, &segment.dimension);
        put_long(out, i64::from(segment.value.is_some()));
        if let Some(value) = &segment.value {
            put_text(out, value);
        }
    }
    put_text(out, snapshot.currency.as_str());
    put_long(out, snapshot.customers);
    put_long(out, snapshot.payers);
    put_long(out, snapshot.refunds);
    put_ages(out, &snapshot.ages_days)?;
    put_ages(out, &snapshot.ages_periods)?;
    put_version(out, &snapshot.version);
    put_long(out, i64::from(snapshot.newest_event_at.is_some()));
    if let Some(Timestamp(at)) = snapshot.newest_event_at {
        put_long(out, at);
    }
    Ok(std::mem::take(out))
}

/// Appends the position of an enum's symbol.
fn put_position<T: PartialEq>(out: &mut Vec<u8>, all: &[T], one: T) {
    put_count(out, all.iter().position(|symbol| *symbol == one).unwrap_or_default());
}

fn put_ages(out: &mut Vec<u8>, ages: &[SnapshotAge]) -> Result<(), OutOfRange> {
    if !ages.is_empty() {
        put_count(out, ages.len());
    }
    for age in ages {
        put_long(out, age.age.into());
        for (field, value) in [
            ("gross_micros", age.paid.gross),
            ("proceeds_micros", age.paid.proceeds),
            ("net_micros", age.paid.net),
            ("refunded_gross_micros", age.refunded.gross),
            ("refunded_proceeds_micros", age.refunded.proceeds),
            ("refunded_net_micros", age.refunded.net),
        ] {
            let long = i64::try_from(value);
            put_long(out, long.map_err(|_| OutOfRange { field, age: age.age, value })?);
        }
        put_long(out, age.payments);
        out.push(u8::from(age.complete));
    }
    put_long(out, 0);
    Ok(())
}

fn put_version(out: &mut Vec<u8>, version: &SnapshotVersion) {
    put_long(out, version.log_epoch);
    if !version.next_offsets.is_empty() {
        put_count(out, version.next_offsets.len());
    }
    for (partition, next_offset) in &version.next_offsets {
        put_text(out, &partition.to_string());
        put_long(out, *next_offset);
    }
    put_long(out, 0);
}

/// The snapshot in the value of a record, in either framing in which snapshots are published. The
/// framings begin differently.
pub fn decode_message(message: &[u8]) -> Result<SnapshotRecord, DecodeError> {
    let datum = match message.first() {
        Some(0) => open_registry(message)?.1,
        _ => open_single_object(message)?.1,
    };
    decode(datum)
}

/// The snapshot in a datum of [`LTV_SNAPSHOT_V1`], without framing.
pub fn decode(datum: &[u8]) -> Result<SnapshotRecord, DecodeError> {
    let mut cursor = Cursor::new(datum);
    let from = &mut cursor;
    let snapshot = SnapshotRecord {
        app_id: from.text()?.to_owned(),
        anchor: Anchor::ALL[from.choice(Anchor::ALL.len())?],
        width: Width::ALL[from.choice(Width::ALL.len())?],
        zone: from.text()?.to_owned(),
        cohort_start: Day(from.int()?),
        segment: optional(from, read_segment)?,
        currency: read_currency(from)?,
        customers: from.long()?,
        payers: from.long()?,
        refunds: from.long()?,
        ages_days: read_ages(from)?,
        ages_periods: read_ages(from)?,
        version: SnapshotVersion { log_epoch: from.long()?, next_offsets: read_offsets(from)? },
        newest_event_at: optional(from, |from| from.long().map(Timestamp))?,
    };
    cursor.end()?;
    Ok(snapshot)
}

fn optional<'a, T, E>(
    from: &mut Cursor<'a>,
    read: impl FnOnce(&mut Cursor<'a>) -> Result<T, E>,
) -> Result<Option<T>, DecodeError>
where
    DecodeError: From<E>,
{
    if from.choice(2)? == 0 { Ok(None) } else { Ok(Some(read(from)?)) }
}

fn read_segment(from: &mut Cursor<'_>) -> Result<Segment, DecodeError> {
    Ok(Segment {
        dimension: from.text()?.to_owned(),
        value: optional(from, |from| from.text().map(str::to_owned))?,
    })
}

fn read_currency(from: &mut Cursor<'_>) -> Result<Currency, DecodeError> {
    from.text()?.parse().map_err(|_| DecodeError::MalformedAvro("an unknown currency"))
}

fn read_ages(from: &mut Cursor<'_>) -> Result<Vec<SnapshotAge>, DecodeError> {
    let mut ages = Vec::new();
    while let Some(block) = from.block()? {
        for _ in 0..block.count {
            ages.push(SnapshotAge {
                age: from.int()?,
                paid: read_money(from)?,
                refunded: read_money(from)?,
                payments: from.long()?,
                complete: from.boolean()?,
            });
        }
        from.end_block(block)?;
    }
    Ok(ages)
}

fn read_money(from: &mut Cursor<'_>) -> Result<MoneySums, DecodeError> {
    Ok(MoneySums {
        gross: from.long()?.into(),
        proceeds: from.long()?.into(),
        net: from.long()?.into(),
    })
}

fn read_offsets(from: &mut Cursor<'_>) -> Result<BTreeMap<i32, i64>, DecodeError> {
    let mut offsets = BTreeMap::new();
    while let Some(block) = from.block()? {
        for _ in 0..block.count {
            let partition = from
                .text()?
                .parse()
                .map_err(|_| DecodeError::MalformedAvro("a partition is not a number"))?;
            offsets.insert(partition, from.long()?);
        }
        from.end_block(block)?;
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::avro_fingerprint::fingerprint;

    #[test]
    fn a_sum_that_no_long_holds_is_an_error() {
        let mut snapshot = SnapshotRecord {
            app_id: "acme".to_owned(),
            anchor: Anchor::Install,
            width: Width::Day,
            zone: "UTC".to_owned(),
            cohort_start: Day(0),
            segment: None,
            currency: "USD".parse().unwrap(),
            customers: 1,
            payers: 1,
            refunds: 0,
            ages_days: vec![SnapshotAge::default()],
            ages_periods: Vec::new(),
            version: SnapshotVersion::default(),
            newest_event_at: None,
        };
        snapshot.ages_days[0].paid.net = i64::MAX.into();
        let value = encode(&snapshot, Framing::Bare).unwrap();
        assert_eq!(decode(&value), Ok(snapshot.clone()));
        snapshot.ages_days[0].paid.net += 1;
        assert_eq!(encode(&snapshot, Framing::Bare).unwrap_err().field, "net_micros");
    }

    #[test]
    fn the_fingerprint_is_that_of_the_published_schema() {
        let schema = apache_avro::Schema::parse_str(LTV_SNAPSHOT_V1).unwrap();
        assert_eq!(fingerprint(&schema), LTV_SNAPSHOT_V1_FINGERPRINT);
    }
}
