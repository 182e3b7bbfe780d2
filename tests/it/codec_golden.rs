//! Bytes of every released version decode for ever, and are written again the same.
//!
//! The files in `tests/golden` were made by an encoder that shares no code with this one. They
//! are never changed; a new version adds new ones.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use ltvstream::codec::avro_event::BILLING_EVENT_V1;
use ltvstream::codec::avro_event::WriterSchema;
use ltvstream::codec::avro_event::encode as encode_event;
use ltvstream::codec::envelope::Framing;
use ltvstream::codec::json_event;
use ltvstream::codec::snapshot::{
    LTV_SNAPSHOT_V1, MoneySums, SnapshotAge, SnapshotRecord, SnapshotVersion, decode, encode,
};
use ltvstream::codec::snapshot_key::Segment;
use ltvstream::domain::cohort::Anchor;
use ltvstream::domain::event::EventKind;
use ltvstream::domain::time::{Timestamp, Width};

const EVENTS: &str = include_str!("../golden/billing_event.v1.txt");
const SNAPSHOTS: &str = include_str!("../golden/ltv_snapshot.v1.txt");

/// The two columns of a golden file.
fn rows(file: &'static str) -> Vec<(Vec<u8>, &'static str)> {
    file.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once(' ').unwrap())
        .map(|(first, second)| (hex::decode(first).unwrap(), second))
        .collect()
}

/// Valid messages for other tests: Avro datum and canonical JSON of one event each.
pub fn events() -> Vec<(Vec<u8>, &'static str)> {
    rows(EVENTS)
}

#[test]
fn events_of_version_1_decode_and_are_written_again_the_same() {
    let schema = WriterSchema::parse(BILLING_EVENT_V1).unwrap();
    let mut kinds = BTreeSet::new();
    for (avro, json) in events() {
        let event = json_event::decode(json.as_bytes()).unwrap();
        assert_eq!(schema.decode(&avro).as_ref(), Ok(&event), "{json}");
        let mut written = Vec::new();
        encode_event(&event, &mut written);
        assert_eq!(hex::encode(written), hex::encode(&avro), "{json}");
        assert_eq!(json_event::to_json(&event), json);
        kinds.insert(event.kind);
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), EventKind::ALL);
}

fn whole_and_empty_snapshots() -> Vec<SnapshotRecord> {
    let sums = |gross, proceeds, net| MoneySums { gross, proceeds, net };
    let age = |age, paid, refunded, payments, complete| SnapshotAge {
        age,
        paid,
        refunded,
        payments,
        complete,
    };
    let whole = SnapshotRecord {
        app_id: "acme".to_owned(),
        anchor: Anchor::FirstPurchase,
        width: Width::Month,
        zone: "Europe/Berlin".to_owned(),
        cohort_start: "2024-01-01".parse().unwrap(),
        segment: Some(Segment { dimension: "country".to_owned(), value: Some("DE".to_owned()) }),
        currency: "USD".parse().unwrap(),
        customers: 3,
        payers: 2,
        refunds: 1,
        ages_days: vec![
            age(0, sums(10, 9, 8), sums(0, 0, 0), 1, true),
            age(30, sums(i64::MAX.into(), 1 << 62, 1), sums(5, 4, 3), 2, false),
        ],
        ages_periods: vec![age(0, sums(30, 20, 10), sums(5, 4, 3), 2, false)],
        version: SnapshotVersion {
            log_epoch: 2,
            next_offsets: BTreeMap::from([(0, 17), (1, 1 << 40)]),
        },
        newest_event_at: Timestamp::parse_rfc3339("2024-01-01T10:00:00Z"),
    };
    let empty = SnapshotRecord {
        app_id: "b".to_owned(),
        anchor: Anchor::Install,
        width: Width::Quarter,
        zone: "UTC".to_owned(),
        cohort_start: "1969-12-31".parse().unwrap(),
        segment: None,
        currency: "EUR".parse().unwrap(),
        customers: 0,
        payers: 0,
        refunds: 0,
        ages_days: Vec::new(),
        ages_periods: Vec::new(),
        version: SnapshotVersion::default(),
        newest_event_at: None,
    };
    let unknown = SnapshotRecord {
        width: Width::Day,
        segment: Some(Segment { dimension: "attributes.ab".to_owned(), value: None }),
        ..empty.clone()
    };
    vec![whole, empty, unknown]
}

#[test]
fn snapshots_of_version_1_decode_and_are_written_again_the_same() {
    let golden = rows(SNAPSHOTS);
    let expected = whole_and_empty_snapshots();
    assert_eq!(golden.len(), expected.len());
    for ((key, value), snapshot) in golden.into_iter().zip(expected) {
        assert_eq!(snapshot.key().to_string().into_bytes(), key);
        let datum = hex::decode(value).unwrap();
        assert_eq!(decode(&datum).as_ref(), Ok(&snapshot));
        assert_eq!(hex::encode(encode(&snapshot, Framing::Bare).unwrap()), value);
        for length in 0..datum.len() {
            assert!(decode(&datum[..length]).is_err(), "cut to {length} bytes");
        }
    }
}

#[test]
fn the_published_snapshot_schema_reads_the_golden_snapshots_in_full() {
    use apache_avro::reader::datum::GenericDatumReader;
    let schema = apache_avro::Schema::parse_str(LTV_SNAPSHOT_V1).unwrap();
    let reader = GenericDatumReader::builder(&schema).build().unwrap();
    for (_, value) in rows(SNAPSHOTS) {
        let datum = hex::decode(value).unwrap();
        let mut rest = datum.as_slice();
        reader.read_value(&mut rest).unwrap();
        assert!(rest.is_empty());
    }
}
