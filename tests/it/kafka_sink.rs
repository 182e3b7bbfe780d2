//! Promise: a publication is visible whole or not at all, together with its offsets, and only the
//! newest instance publishes.

use std::collections::{BTreeMap, BTreeSet};

use ltvstream::domain::time::Timestamp;
use ltvstream::kafka::{KafkaSettings, KafkaSink, Topics, ensure_topics};
use ltvstream::stream::{DeadLetter, Header, NextOffset, Polled, Publication, Sink, SinkError};
use rdkafka::message::{Headers, Message, OwnedMessage};

use crate::kafka_support::{Ledger, Member, committed_records, ready, run_until, settings};
use crate::support::kafka::{delete_topics, read_all};

/// A member that owns all partitions, and its sink.
fn publisher(settings: &KafkaSettings, topics: &Topics) -> (Member, KafkaSink) {
    let mut member = Member::join(settings, topics);
    let partitions = usize::try_from(topics.events_partitions).unwrap();
    run_until(&mut [&mut member], &mut Ledger::default(), |members, _| {
        members[0].owned.len() == partitions
    });
    let sink = KafkaSink::new(settings, topics, member.source.group()).unwrap();
    (member, sink)
}

fn snapshot(key: &str, value: &str, next: i64) -> Publication {
    Publication {
        snapshots: vec![(key.into(), value.into())],
        dead_letters: Vec::new(),
        next_offsets: vec![(0, NextOffset(next))],
    }
}

fn pairs(topic: &str) -> Vec<(String, String)> {
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
    committed_records(topic).iter().map(|r| (text(r.key()), text(r.payload()))).collect()
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_publication_and_its_offsets_become_visible_together() {
    let (settings, topics) = ready("publish", 2);
    let (_member, mut sink) = publisher(&settings, &topics);
    assert_eq!(sink.published(&[0, 1]).unwrap(), [(0, None), (1, None)]);
    sink.publish(&Publication {
        snapshots: vec![(b"k1".to_vec(), b"v1".to_vec()), (b"k2".to_vec(), b"v2".to_vec())],
        dead_letters: Vec::new(),
        next_offsets: vec![(0, NextOffset(7)), (1, NextOffset(9))],
    })
    .unwrap();
    sink.publish(&Publication::default()).unwrap();
    assert_eq!(pairs(&settings.snapshots_topic), owned(&[("k1", "v1"), ("k2", "v2")]));
    assert_eq!(
        sink.published(&[1, 0]).unwrap(),
        [(1, Some(NextOffset(9))), (0, Some(NextOffset(7)))]
    );
}

#[test]
fn of_a_failed_publication_nothing_is_visible_and_the_next_one_succeeds() {
    let (settings, topics) = ready("abort", 1);
    let (_member, mut sink) = publisher(&settings, &topics);
    sink.publish(&snapshot("k", "before", 1)).unwrap();

    let mut refused = snapshot("k", "aborted", 2);
    refused.snapshots.push((b"large".to_vec(), noise(2_000_000)));
    let error = sink.publish(&refused).unwrap_err();
    assert!(matches!(error, SinkError::Retry(_)), "{error}");
    assert_eq!(sink.published(&[0]).unwrap(), [(0, Some(NextOffset(1)))]);

    sink.publish(&snapshot("k", "after", 3)).unwrap();
    assert_eq!(pairs(&settings.snapshots_topic), owned(&[("k", "before"), ("k", "after")]));
    assert_eq!(sink.published(&[0]).unwrap(), [(0, Some(NextOffset(3)))]);
}

/// Bytes that no codec makes smaller.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn the_newest_snapshots_of_all_partitions_are_read_back_from_behind_those_of_a_failed_publication()
{
    const PARTITIONS: i32 = 3;
    let settings = KafkaSettings { snapshots_partitions: PARTITIONS, ..settings("newest", 1) };
    let topics = ensure_topics(&settings).unwrap();
    let (_member, mut sink) = publisher(&settings, &topics);
    // In each partition more than the reader takes at a time, and more aborted than it looks at first.
    let all = |word: &str| Publication {
        snapshots: (0..600)
            .map(|n| (format!("k{n}").into(), format!("{word} {n:2000}").into()))
            .collect(),
        ..Publication::default()
    };
    sink.publish(&all("out")).unwrap();
    let mut refused = all("aborted");
    refused.snapshots.push((b"large".to_vec(), noise(2_000_000)));
    sink.publish(&refused).unwrap_err();

    let mut seen = BTreeSet::new();
    sink.newest_snapshots(&mut |value| {
        seen.insert(value.to_vec());
    })
    .unwrap();
    let out = read_all(&settings.snapshots_topic, PARTITIONS);
    let last = out.iter().map(|record| (record.partition, record.value.clone().unwrap()));
    let last: BTreeMap<i32, Vec<u8>> = last.collect();
    assert_eq!(last.len(), 3);
    assert!(last.values().all(|value| seen.contains(value)), "of {} seen", seen.len());
    assert!(seen.iter().all(|value| value.starts_with(b"out")));
}

#[test]
fn the_older_of_two_publishers_is_fenced_for_good() {
    let (settings, topics) = ready("fence", 1);
    let (member, mut older) = publisher(&settings, &topics);
    older.publish(&snapshot("k", "older", 1)).unwrap();
    let mut newer = KafkaSink::new(&settings, &topics, member.source.group()).unwrap();

    for _ in 0..2 {
        let error = older.publish(&snapshot("k", "zombie", 5)).unwrap_err();
        assert!(matches!(error, SinkError::Fenced(_)), "{error}");
    }
    let error = older.published(&[0]).unwrap_err();
    assert!(matches!(error, SinkError::Fenced(_)), "{error}");
    newer.publish(&snapshot("k", "newer", 2)).unwrap();
    assert_eq!(newer.published(&[0]).unwrap(), [(0, Some(NextOffset(2)))]);
    assert_eq!(pairs(&settings.snapshots_topic), owned(&[("k", "older"), ("k", "newer")]));
}

#[test]
fn instances_that_share_the_prefix_publish_one_at_a_time_whatever_their_groups() {
    let (settings, topics) = ready("prefix", 1);
    let (member, mut older) = publisher(&settings, &topics);
    let other = |prefix: &str| KafkaSettings {
        transactional_id_prefix: format!("{}-{prefix}", settings.transactional_id_prefix),
        ..settings.clone()
    };
    // Of the same group, but under another name: nobody is in anybody's way.
    let _stranger = KafkaSink::new(&other("b"), &topics, member.source.group()).unwrap();
    older.publish(&snapshot("k", "older", 1)).unwrap();
    let group_id = format!("{}-b", settings.group_id);
    let namesake = KafkaSettings { group_id, ..settings.clone() };
    let _newer = KafkaSink::new(&namesake, &topics, member.source.group()).unwrap();
    let error = older.publish(&snapshot("k", "zombie", 2)).unwrap_err();
    assert!(matches!(error, SinkError::Fenced(_)), "{error}");
}

#[test]
fn topics_that_were_deleted_are_made_again_as_they_must_be() {
    let (mut settings, topics) = ready("deleted", 1);
    // How long it takes until a transaction is given up.
    settings.properties.insert("transaction.timeout.ms".to_owned(), "6000".to_owned());
    let (_member, mut sink) = publisher(&settings, &topics);
    sink.publish(&snapshot("k", "before", 1)).unwrap();
    delete_topics(&[&settings.snapshots_topic, &settings.dead_letters_topic]);
    let error = sink.publish(&snapshot("k", "in vain", 2)).unwrap_err();
    assert!(matches!(error, SinkError::Retry(_)), "{error}");
    // All that was published is gone, and asked for once.
    let error = sink.published(&[0]).unwrap_err();
    assert!(matches!(error, SinkError::Emptied), "{error}");
    assert_eq!(sink.published(&[0]).unwrap(), [(0, Some(NextOffset(1)))]);
    sink.publish(&snapshot("k", "after", 3)).unwrap();
    assert_eq!(pairs(&settings.snapshots_topic), owned(&[("k", "after")]));
    let found = ensure_topics(&KafkaSettings { create_topics: false, ..settings }).unwrap();
    assert_eq!(found.dead_letter_bytes_max, topics.dead_letter_bytes_max);
}

#[test]
fn who_left_the_group_moves_no_offsets() {
    let (settings, topics) = ready("left", 1);
    let (member, mut sink) = publisher(&settings, &topics);
    sink.publish(&snapshot("k", "member", 1)).unwrap();
    drop(member);
    let error = sink.publish(&snapshot("k", "stranger", 2)).unwrap_err();
    assert!(matches!(error, SinkError::Retry(_)), "{error}");
    assert_eq!(sink.published(&[0]).unwrap(), [(0, Some(NextOffset(1)))]);
    assert_eq!(pairs(&settings.snapshots_topic), owned(&[("k", "member")]));
}

#[test]
fn a_stalled_member_moves_no_offsets_and_learns_that_its_partitions_are_lost() {
    let (mut settings, topics) = ready("stalled", 2);
    for property in ["session.timeout.ms", "max.poll.interval.ms"] {
        settings.properties.insert(property.to_owned(), "4000".to_owned());
    }
    settings.properties.insert("heartbeat.interval.ms".to_owned(), "200".to_owned());
    let (mut stalled, mut sink) = publisher(&settings, &topics);
    sink.publish(&snapshot("k", "in time", 1)).unwrap();

    // The first member does not poll while the second takes over.
    let mut ledger = Ledger::default();
    let mut heir = Member::join(&settings, &topics);
    run_until(&mut [&mut heir], &mut ledger, |members, _| members[0].owned.len() == 2);
    let error = sink.publish(&snapshot("k", "too late", 2)).unwrap_err();
    assert!(matches!(error, SinkError::Retry(_)), "{error}");
    assert_eq!(sink.published(&[0]).unwrap(), [(0, Some(NextOffset(1)))]);
    assert_eq!(pairs(&settings.snapshots_topic), owned(&[("k", "in time")]));

    // Back again, it gives up what it had before it gets its share.
    run_until(&mut [&mut stalled, &mut heir], &mut ledger, |members, _| {
        members.iter().all(|member| member.owned.len() == 1)
    });
    // One partition was asked back before the stall became too long, the other is gone.
    let [_, Polled::Revoked(asked), Polled::Lost(lost), .., Polled::Assigned(_)] =
        &stalled.events[..]
    else {
        panic!("{:?}", stalled.events);
    };
    assert_eq!((asked.len(), lost.len()), (1, 1));
    assert_ne!(asked, lost);
}

fn letter(key: Option<&[u8]>, value: Option<&[u8]>) -> DeadLetter {
    DeadLetter {
        partition: 3,
        offset: 41,
        timestamp: Timestamp::parse_rfc3339("2024-02-29T12:00:00.5Z").unwrap(),
        reason: "missing_currency".to_owned(),
        message: "gross_micros is given, currency is not".to_owned(),
        key: key.map(<[u8]>::to_vec),
        value: value.map(<[u8]>::to_vec),
        headers: Vec::new(),
        customer: None,
    }
}

fn header(name: &str, value: Option<&[u8]>) -> Header {
    Header { name: name.to_owned(), value: value.map(<[u8]>::to_vec) }
}

fn headers(message: &OwnedMessage) -> Vec<(String, String)> {
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
    let headers = message.headers().unwrap().iter();
    headers.map(|header| (header.key.to_owned(), text(header.value))).collect()
}

#[test]
fn a_dead_letter_is_the_record_as_it_was_with_the_reason_in_headers() {
    let (settings, topics) = ready("letters", 1);
    let (_member, mut sink) = publisher(&settings, &topics);
    let dead_letters = vec![
        letter(Some(b"\xff\x00key"), Some(b"\x00\xfevalue")),
        letter(None, None),
        letter(Some(b""), Some(b"")),
    ];
    sink.publish(&Publication { dead_letters, ..Publication::default() }).unwrap();

    let records = committed_records(&settings.dead_letters_topic);
    let contents: Vec<_> = records.iter().map(|r| (r.key(), r.payload())).collect();
    assert_eq!(contents[0], (Some(&b"\xff\x00key"[..]), Some(&b"\x00\xfevalue"[..])));
    assert_eq!(contents[1], (None, None));
    assert_eq!(contents[2], (Some(&b""[..]), Some(&b""[..])));
    let expected = owned(&[
        ("ltvstream-reason", "missing_currency"),
        ("ltvstream-message", "gross_micros is given, currency is not"),
        ("ltvstream-partition", "3"),
        ("ltvstream-offset", "41"),
        ("ltvstream-timestamp", "2024-02-29T12:00:00.500Z"),
    ]);
    assert_eq!(headers(&records[0]), expected);
    assert_eq!(headers(&records[1]), expected);
}

#[test]
fn the_largest_event_fits_into_a_dead_letter_and_a_larger_one_is_named_but_left_out() {
    let (settings, topics) = ready("large", 1);
    let (_member, mut sink) = publisher(&settings, &topics);
    // Kafka's default limit of a record, less what the record's frame takes.
    let fits = noise(1_048_588 - 100);
    let exceeds = noise(2_000_000);
    let mut long_headers = letter(Some(b"k"), Some(b"v"));
    long_headers.headers = vec![header("long", Some(&exceeds))];
    let dead_letters =
        vec![letter(None, Some(&fits)), letter(Some(b"k"), Some(&exceeds)), long_headers];
    sink.publish(&Publication { dead_letters, ..Publication::default() }).unwrap();

    let records = committed_records(&settings.dead_letters_topic);
    assert!(records[0].payload() == Some(&fits), "the value changed");
    assert_eq!((records[1].key(), records[1].payload()), (Some(&b"k"[..]), None));
    let last = headers(&records[1]).pop().unwrap();
    assert_eq!(last, ("ltvstream-value-omitted-bytes".to_owned(), "2000000".to_owned()));
    assert_eq!((records[2].key(), records[2].payload()), (Some(&b"k"[..]), Some(&b"v"[..])));
    let last = headers(&records[2]).pop().unwrap();
    // Name, value, and what the lengths of both take at most.
    assert_eq!(last, ("ltvstream-headers-omitted-bytes".to_owned(), "2000014".to_owned()));
}

#[test]
fn what_the_client_may_not_send_is_left_out_as_well() {
    let (mut settings, _) = ready("client", 1);
    settings.properties.insert("message.max.bytes".to_owned(), "200000".to_owned());
    let topics = ensure_topics(&settings).unwrap();
    let (_member, mut sink) = publisher(&settings, &topics);
    let dead_letters =
        vec![letter(Some(b"k"), Some(&noise(500_000))), letter(None, Some(&noise(100_000)))];
    sink.publish(&Publication { dead_letters, ..Publication::default() }).unwrap();

    let records = committed_records(&settings.dead_letters_topic);
    assert_eq!((records[0].key(), records[0].payload()), (Some(&b"k"[..]), None));
    let last = headers(&records[0]).pop().unwrap();
    assert_eq!(last, ("ltvstream-value-omitted-bytes".to_owned(), "500000".to_owned()));
    assert_eq!(records[1].payload().map(<[u8]>::len), Some(100_000));
}

/// Columns: key, value, and the headers as `name=value`, all but names in hexadecimal; `-` is null.
const GOLDEN: &str = include_str!("../golden/dead_letter.v1.txt");

fn golden_line(record: &OwnedMessage) -> String {
    let column = |bytes: Option<&[u8]>| bytes.map_or("-".to_owned(), hex::encode);
    let headers = record.headers().unwrap().iter();
    let headers = headers.map(|header| format!("{}={}", header.key, column(header.value)));
    let headers = headers.collect::<Vec<_>>().join(",");
    format!("{} {} {headers}", column(record.key()), column(record.payload()))
}

#[test]
fn dead_letters_are_those_of_the_golden_file_and_of_their_schema() {
    let (settings, topics) = ready("golden", 1);
    let (_member, mut sink) = publisher(&settings, &topics);
    let mut with_headers = letter(Some(b"default/c"), Some(b"{}"));
    with_headers.headers = vec![
        header("traceparent", Some(b"00-01")),
        header("twice", Some(b"\x00\xff")),
        header("twice", None),
        header("", Some(b"")),
        header("\u{fffd}", Some(b"n")),
        header("ltvstream-reason", Some(b"forged")),
    ];
    let dead_letters = vec![with_headers, letter(None, None), letter(Some(b""), Some(b"\xff"))];
    sink.publish(&Publication { dead_letters, ..Publication::default() }).unwrap();

    let records = committed_records(&settings.dead_letters_topic);
    let found: Vec<String> = records.iter().map(golden_line).collect();
    let expected: Vec<&str> = GOLDEN.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(found, expected);
    let schema = serde_json::from_str(include_str!("../../schemas/dead_letter.v1.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for record in &records {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = record.headers().unwrap().iter();
        let object: serde_json::Map<String, serde_json::Value> =
            headers.map(|header| (header.key.to_owned(), header.value.map(text).into())).collect();
        let mut object = serde_json::Value::Object(object);
        validator.validate(&object).unwrap();
        object["ltvstream-offset"] = "-1".into();
        assert!(!validator.is_valid(&object));
    }
}
