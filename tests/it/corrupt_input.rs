//! Corrupt records among valid ones, through the real broker and the real process.
//!
//! Which of them still are events is decided by other readers: Apache's Avro library and serde's
//! derived parser. Those that are must count as the events they became; all others must be in the
//! dead-letter topic with their bytes, each once.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as AvroValue;
use ltvstream::codec::avro_event::BILLING_EVENT_V1;
use ltvstream::codec::envelope::{EventFormat, Framing};
use ltvstream::codec::error::DecodeError;
use ltvstream::codec::event_codec::{EventCodec, EventEncoding, encode_event};
use ltvstream::codec::json_event;
use ltvstream::codec::snapshot;
use ltvstream::domain::event::BillingEvent;
use ltvstream::generator::{Generator, GeneratorSettings};
use ltvstream::pipeline::decode::Decoder;
use ltvstream::stream::registry::SchemaRegistry;
use rand::Rng as _;
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use crate::reference::{AppSettings, Reference, Verdict};
use crate::support::facts::stored;
use crate::support::kafka::{
    TestRecord, Writer, brokers, create_topic, ends, read_all, write_settings,
};
use crate::support::process::Served;
use crate::support::raw_produce::{RawRecord, append};
use crate::support::registry::Registry;
use crate::support::unique;

/// 2026-06-01: after everything the generator makes.
const RECORD_TIMESTAMP_MS: i64 = 1_780_272_000_000;
const FLIPS: usize = 4_000;
const REGISTRY_FRAME_BYTES: usize = 5;
/// The ages that are published; not the default ones.
const AGES_DAYS: [i32; 3] = [0, 3, 60];
const AGES_PERIODS: [i32; 2] = [0, 2];

fn events() -> Vec<BillingEvent<'static>> {
    let settings = GeneratorSettings { customers: 300, days: 120, ..GeneratorSettings::default() };
    Generator::new(&settings).unwrap().collect()
}

/// Key and value of a record.
type Sent = (Option<Vec<u8>>, Option<Vec<u8>>);

/// Valid messages with everything that can go wrong in between, in the order of the log.
fn mixed(messages: &[Vec<u8>], foreign: &[Vec<u8>], rng: &mut ChaCha8Rng) -> Vec<Sent> {
    let key = || Some(b"default/c".to_vec());
    let mut corrupt: Vec<Sent> = Vec::new();
    let cut = messages.iter().max_by_key(|message| message.len()).unwrap();
    corrupt.extend((1..cut.len()).map(|length| (key(), Some(cut[..length].to_vec()))));
    for _ in 0..FLIPS {
        let mut message = messages[rng.random_range(0..messages.len())].clone();
        let at = rng.random_range(0..message.len());
        message[at] ^= 1 << rng.random_range(0..8);
        corrupt.push((key(), Some(message)));
    }
    corrupt.extend(foreign.iter().map(|message| (key(), Some(message.clone()))));
    corrupt.extend([(None, None), (key(), None), (None, Some(vec![])), (Some(vec![]), None)]);
    corrupt.push((Some(vec![0xff, 0xfe]), Some(b"\xff\xfe".to_vec())));
    corrupt.shuffle(rng);
    // In between, and the messages in their own order; every second one without a key.
    let mut sent = Vec::with_capacity(messages.len() + corrupt.len());
    let each = corrupt.len().div_ceil(messages.len());
    for (at, message) in messages.iter().enumerate() {
        sent.push(((at % 2 == 0).then(|| b"k".to_vec()), Some(message.clone())));
        sent.extend(corrupt.drain(..each.min(corrupt.len())));
    }
    sent
}

/// Valid and empty records whose headers are no text.
fn with_odd_headers(message: &[u8]) -> Vec<RawRecord> {
    let headers = vec![
        (vec![0xff, 0xfe], Some(vec![0xc3, 0x28])),
        (b"null".to_vec(), None),
        (vec![], Some(vec![])),
        (b"twice".to_vec(), Some(b"a".to_vec())),
        (b"twice".to_vec(), Some(vec![0, 0xff])),
        (b"ltvstream-reason".to_vec(), Some(b"forged".to_vec())),
    ];
    let value = |value: Option<&[u8]>| RawRecord {
        key: Some(b"k".to_vec()),
        value: value.map(<[u8]>::to_vec),
        headers: headers.clone(),
    };
    let keyless = RawRecord { key: None, ..value(Some(b"no event")) };
    vec![value(Some(message)), value(None), value(Some(&message[..message.len() / 2])), keyless]
}

/// How many there are.
const ODD_RECORDS: i64 = 4;
/// What is found of their headers in the dead letters.
const ODD_HEADERS: [(&str, &str); 5] = [
    ("\u{fffd}\u{fffd}", "\u{fffd}("),
    ("null", ""),
    ("", ""),
    ("twice", "a"),
    ("twice", "\0\u{fffd}"),
];

/// What must come of the log.
struct Expected {
    reference: Reference,
    /// Offset, reason, key and value of each refused record.
    letters: Vec<(i64, String, Sent)>,
    accepted: usize,
}

/// Reads a value without the service's code: the event as JSON, if it is one.
type Independent<'a> = &'a dyn Fn(&[u8]) -> Option<String>;

fn expected(log: &[Sent], codec: &EventCodec, independent: Independent<'_>) -> Expected {
    let mut reference = Reference::new(&[AppSettings {
        id: "default".to_owned(),
        reporting_currency: "USD".to_owned(),
        zones: vec!["UTC".to_owned()],
        ..AppSettings::default()
    }]);
    let (mut letters, mut accepted) = (Vec::new(), 0);
    for (offset, sent) in (0..).zip(log) {
        let value = sent.1.as_deref();
        let read = value.and_then(independent);
        let refused = match (codec.decode(value), read) {
            (Ok(_), Some(json)) => match reference.offer(&json, RECORD_TIMESTAMP_MS * 1000) {
                Verdict::Refused(code) => Some(code.to_owned()),
                Verdict::Accepted => {
                    accepted += 1;
                    None
                }
                Verdict::Repeated => None,
            },
            // Well-formed, but a field breaks the interface.
            (Err(error @ (DecodeError::Field(_) | DecodeError::UnknownSymbol { .. })), _)
            | (Err(error), None) => Some(error.reason().into_owned()),
            (decoded, read) => {
                let bytes = hex::encode(value.unwrap_or_default());
                panic!("the service says {decoded:?}, another reader {read:?}: {bytes}")
            }
        };
        letters.extend(refused.map(|reason| (offset, reason, sent.clone())));
    }
    Expected { reference, letters, accepted }
}

fn configuration(dir: &Path, topics: &[String; 3], more: &str) -> String {
    let more = format!(
        r#"
{more}
[snapshots]
interval_ms = 100
ages_days = {AGES_DAYS:?}
ages_periods = {AGES_PERIODS:?}
[[apps]]
id = "default"
reporting_currency = "USD"
"#
    );
    write_settings(dir, &brokers(), topics, &more)
}

/// Writes the log, lets the service read it, and compares all that comes out.
fn run(log: &[Sent], odd: &[RawRecord], expected: &Expected, more: &str) -> [String; 3] {
    let topics = ["events", "snapshots", "dlq"].map(|name| unique(&format!("corrupt-{name}")));
    create_topic(&topics[0], 1, "delete");
    let dir = tempfile::tempdir().unwrap();
    let config = configuration(dir.path(), &topics, more);
    assert_eq!(append(&brokers(), &topics[0], RECORD_TIMESTAMP_MS, odd), 0);
    let writer = Writer::new(&topics[0]);
    for (key, value) in &log[odd.len()..] {
        writer.send(0, RECORD_TIMESTAMP_MS, key.as_deref(), value.as_deref());
    }
    writer.flush();
    let end = ends(&topics[0], 1)[0];
    assert_eq!(end, i64::try_from(log.len()).unwrap());
    let log_file = dir.path().join("log");
    let served = Served::start(&["--config", &config], &log_file);
    served.wait_for("/v1/apps/default/revenue", |answer| answer["as_of"]["0"] == end);
    assert_eq!(served.terminate(), Some(0));
    let said = std::fs::read_to_string(&log_file).unwrap();
    assert!(!said.contains("panicked"), "{said}");
    let facts = expected.reference.facts();
    assert!(facts.len() > 500, "{} facts", facts.len());
    assert!(stored(&config, 1) == facts, "facts differ from the reference");
    check_letters(&topics, &expected.letters);
    topics
}

fn check_letters(topics: &[String; 3], expected: &[(i64, String, Sent)]) {
    let header = |record: &TestRecord, name: &str| {
        let mut named = record.headers.iter().filter(|(header, _)| header == name);
        let value = named.next().unwrap().1.clone();
        assert!(named.next().is_none(), "{name} is there twice");
        value
    };
    let mut found: Vec<_> = read_all(&topics[2], 1)
        .into_iter()
        .map(|record| {
            assert_eq!(header(&record, "ltvstream-partition"), "0");
            assert_eq!(header(&record, "ltvstream-timestamp"), "2026-06-01T00:00:00Z");
            assert!(!header(&record, "ltvstream-message").is_empty());
            let offset: i64 = header(&record, "ltvstream-offset").parse().unwrap();
            let own = record.headers.iter().filter(|(name, _)| !name.starts_with("ltvstream-"));
            let own: Vec<(&str, &str)> = own.map(|(name, value)| (&**name, &**value)).collect();
            // The first records have headers; whose names are no text, as well.
            let expected = if offset < ODD_RECORDS { &ODD_HEADERS[..] } else { &[] };
            assert_eq!(own, expected, "offset {offset}");
            (offset, header(&record, "ltvstream-reason"), (record.key, record.value))
        })
        .collect();
    found.sort();
    assert_eq!(found.len(), expected.len(), "dead letters");
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected);
    }
}

fn check_published_ages(topic: &str, frame_bytes: usize) {
    let mut oldest = 0;
    for record in read_all(topic, 1) {
        let snapshot = snapshot::decode(&record.value.unwrap()[frame_bytes..]).unwrap();
        let ages = |ages: &[snapshot::SnapshotAge]| ages.iter().map(|a| a.age).collect::<Vec<_>>();
        assert!(AGES_DAYS.starts_with(&ages(&snapshot.ages_days)), "{snapshot:?}");
        assert!(AGES_PERIODS.starts_with(&ages(&snapshot.ages_periods)), "{snapshot:?}");
        oldest = oldest.max(snapshot.ages_days.len());
    }
    assert_eq!(oldest, AGES_DAYS.len());
}

fn full_log(odd: &[RawRecord], mixed: Vec<Sent>) -> Vec<Sent> {
    let odd = odd.iter().map(|record| (record.key.clone(), record.value.clone()));
    odd.chain(mixed).collect()
}

#[test]
fn corrupt_json_is_put_aside_with_its_reason_and_the_rest_is_exact() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let messages: Vec<Vec<u8>> =
        events().iter().map(|event| json_event::to_json(event).into_bytes()).collect();
    let odd = with_odd_headers(&messages[0]);
    let foreign = [b"\0\0\0\0\x01{}".to_vec(), b"[]".to_vec(), b"null".to_vec(), b"\"x\"".to_vec()];
    let log = full_log(&odd, mixed(&messages, &foreign, &mut rng));
    let codec = EventCodec::new(EventFormat::Json).unwrap();
    let expected = expected(&log, &codec, &serde_event);
    assert!(expected.letters.len() > 1_000 && expected.accepted > messages.len());
    let topics = run(&log, &odd, &expected, "event_format = \"json\"");
    check_published_ages(&topics[1], 10);
}

#[test]
fn corrupt_avro_is_put_aside_with_its_reason_and_the_rest_is_exact() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let registry = Registry::start();
    let id = registry.register(BILLING_EVENT_V1);
    let snapshot_id = registry.register(snapshot::LTV_SNAPSHOT_V1);
    let mut codec = EventCodec::new(EventFormat::AvroRegistry).unwrap();
    codec.add_registered(id, Ok(BILLING_EVENT_V1));
    codec.add_registered(snapshot_id, Ok(snapshot::LTV_SNAPSHOT_V1));
    let encoding = EventEncoding::Avro(Framing::Registry(id));
    let message = |event: &BillingEvent<'_>| {
        let mut message = Vec::new();
        encode_event(event, encoding, &mut message);
        message
    };
    let messages: Vec<Vec<u8>> = events().iter().map(message).collect();
    let odd = with_odd_headers(&messages[0]);
    let framed = |frame: &[u8]| [frame, &messages[1][REGISTRY_FRAME_BYTES..]].concat();
    let foreign = [
        framed(&[0, 0, 0, 0, 77]),
        framed(&[0, 0xff, 0xff, 0xff, 0xff]),
        framed(&[1, 0, 0, 0, 1]),
        framed(&[0, 0, 0, 0, u8::try_from(snapshot_id).unwrap()]),
        b"{\"event_id\":\"json\"}".to_vec(),
    ];
    let log = full_log(&odd, mixed(&messages, &foreign, &mut rng));
    let schema = Schema::parse_str(BILLING_EVENT_V1).unwrap();
    let independent = |value: &[u8]| {
        let datum = value.strip_prefix(&[0, 0, 0, 0, u8::try_from(id).unwrap()])?;
        library_event(&schema, datum)
    };
    let expected = expected(&log, &codec, &independent);
    assert!(expected.letters.len() > 1_000 && expected.accepted > messages.len());
    // Records one by one here, and in batches above.
    let more = format!(
        "consumption = \"single\"\nevent_format = \"avro-registry\"\nschema_registry_url = \"{}\"",
        registry.url
    );
    let topics = run(&log, &odd, &expected, &more);
    check_published_ages(&topics[1], REGISTRY_FRAME_BYTES);
}

#[test]
fn an_event_whose_schema_reaches_the_registry_a_moment_later_is_read() {
    let registry = Registry::start();
    let client = Arc::new(SchemaRegistry::new(&registry.url, None).unwrap());
    let mut decoder =
        Decoder::new(EventCodec::new(EventFormat::AvroRegistry).unwrap(), Some(client));
    let json = &events()[0];
    let mut value = Vec::new();
    encode_event(json, EventEncoding::Avro(Framing::Registry(1)), &mut value);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(300));
            assert_eq!(registry.register(BILLING_EVENT_V1), 1);
        });
        assert!(decoder.decode(Some(&value)).unwrap().is_ok());
    });
    // Made-up ids are many: after one that was waited for in vain the next ones are not.
    for id in 2..100u8 {
        value[REGISTRY_FRAME_BYTES - 1] = id;
        let refused = decoder.decode(Some(&value)).unwrap().unwrap_err();
        assert_eq!(refused.code, "unknown_schema", "{id}");
    }
}

/// The event of Apache's library, as JSON.
fn library_event(schema: &Schema, datum: &[u8]) -> Option<String> {
    let mut rest = datum;
    let reader = GenericDatumReader::builder(schema).build().unwrap();
    let AvroValue::Record(fields) = reader.read_value(&mut rest).ok()? else { return None };
    let object: Map<String, Json> =
        fields.into_iter().map(|(name, value)| (name, plain(value))).collect();
    rest.is_empty().then(|| Json::Object(object).to_string())
}

fn plain(value: AvroValue) -> Json {
    match value {
        AvroValue::Null => Json::Null,
        AvroValue::Union(_, inner) => plain(*inner),
        AvroValue::String(text) | AvroValue::Enum(_, text) => json!(text),
        AvroValue::Long(long) | AvroValue::TimestampMicros(long) => json!(long),
        AvroValue::Map(map) => map.into_iter().map(|(name, value)| (name, plain(value))).collect(),
        other => panic!("no field holds {other:?}"),
    }
}

/// The text of an event that serde's derived parser takes.
fn serde_event(value: &[u8]) -> Option<String> {
    serde_json::from_slice::<Strict>(value).ok()?;
    Some(String::from_utf8(value.to_vec()).unwrap())
}

/// The interface's fields; whatever else is in an object is refused, as is a field given twice.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only whether it parses is asked")]
struct Strict {
    event_id: String,
    app_id: String,
    customer_id: String,
    kind: String,
    occurred_at: Json,
    #[serde(default)]
    gross_micros: Json,
    #[serde(default)]
    proceeds_micros: Json,
    #[serde(default)]
    net_micros: Json,
    currency: Option<String>,
    #[serde(default)]
    reporting_rate: Json,
    transaction_id: Option<String>,
    original_transaction_id: Option<String>,
    product_id: Option<String>,
    period: Option<String>,
    #[serde(default)]
    expires_at: Json,
    cancellation_reason: Option<String>,
    environment: Option<String>,
    device_id: Option<String>,
    refers_to: Option<String>,
    attributes: Option<std::collections::BTreeMap<String, String>>,
    plan_name: Option<String>,
    store: Option<String>,
    country: Option<String>,
    offer_category: Option<String>,
    offer_type: Option<String>,
    offer_id: Option<String>,
    paywall_id: Option<String>,
    placement_id: Option<String>,
    audience_id: Option<String>,
    attribution_source: Option<String>,
    attribution_status: Option<String>,
    attribution_channel: Option<String>,
    attribution_campaign: Option<String>,
    attribution_adgroup: Option<String>,
    attribution_adset: Option<String>,
    attribution_creative: Option<String>,
}
