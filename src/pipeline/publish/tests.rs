use super::*;
use crate::codec::json_event;
use crate::codec::snapshot::{LTV_SNAPSHOT_V1_FINGERPRINT, decode_message};
use crate::domain::cohort::Anchor;
use crate::domain::rules::Rules;
use crate::domain::time::Width;
use crate::engine::curves::{CurvesConfig, ZonesKept};
use crate::metrics_api::snapshot::SnapshotAges;
use crate::pipeline::decode::refused;
use crate::state::{Arrival, Shards};
use crate::store::memory::MemoryStore;
use crate::stream::Record;

fn plan() -> SnapshotPlan {
    let plan = AppPlan {
        widths: vec![Width::Day],
        currency: "USD".parse().unwrap(),
        zone: "UTC".parse().unwrap(),
    };
    SnapshotPlan {
        apps: BTreeMap::from([("acme".to_owned(), plan)]),
        ages: SnapshotAges { days: vec![0], periods: vec![0] },
        curves: CurvesConfig { zones: ZonesKept::First, segments: BTreeMap::new() },
    }
}

/// Takes in an install of a customer of its own at the next offset.
fn install(shard: &SharedShard) {
    let offset = shard.read().next_offset().0;
    take(shard, &format!(r#""customer_id":"c{offset}","kind":"install""#), 1);
}

/// Takes in an event of a day of January 2024 at the next offset.
fn take(shard: &SharedShard, event: &str, day: u8) {
    let mut shard = shard.write();
    let offset = shard.next_offset().0;
    let json = format!(
        r#"{{"event_id":"e{offset}","app_id":"acme","occurred_at":"2024-01-{day:02}T00:00:00Z",{event}}}"#
    );
    let (partition, timestamp) = (shard.partition, Timestamp(1_800_000_000_000_000));
    let value = Some(json.as_bytes());
    let record = Record { partition, offset, timestamp, key: None, value, headers: None };
    let decoded = json_event::decode(json.as_bytes());
    let decoded = decoded.map_err(refused);
    shard.apply(&[Arrival { record, decoded }]).unwrap();
}

/// A publisher and the shards of its topic.
fn publisher(partitions: Partition) -> (Publisher, Vec<SharedShard>) {
    publisher_of(plan(), partitions)
}

fn publisher_of(plan: SnapshotPlan, partitions: Partition) -> (Publisher, Vec<SharedShard>) {
    let metrics = Arc::new(Metrics::new().unwrap());
    let framing = Framing::SingleObject(LTV_SNAPSHOT_V1_FINGERPRINT);
    let count = usize::try_from(partitions).unwrap();
    let curves = plan.curves();
    let publisher = Publisher::new(plan, framing, count, metrics);
    let rules = Arc::new(Rules::of_one_app("acme"));
    let shards = (0..partitions).map(|partition| {
        let settings = (Arc::clone(&rules), curves.clone());
        let store = Arc::new(MemoryStore::default());
        Shards::default().insert(LiveShard::open(store, partition, settings).unwrap())
    });
    (publisher, shards.collect())
}

#[test]
fn nothing_is_published_while_versions_would_be_older_than_those_that_are_out() {
    let (mut publisher, shards) = publisher(1);
    publisher.set_published(vec![(0, Some(NextOffset(1)))]);
    // Snapshots hold more than the offsets that were published with them.
    let next_offsets = BTreeMap::from([(0, 3)]);
    publisher.set_newest(SnapshotVersion { log_epoch: 0, next_offsets });
    for _ in 0..2 {
        install(&shards[0]);
        assert!(publisher.gather(&shards).is_none());
    }
    install(&shards[0]);
    let publication = publisher.gather(&shards).unwrap();
    assert_eq!(publication.next_offsets, [(0, NextOffset(3))]);
    let snapshot = decode_message(&publication.snapshots[0].1).unwrap();
    assert_eq!((snapshot.customers, &snapshot.version.next_offsets[&0]), (3, &3));
    // Of another epoch they are neither older nor newer.
    publisher.published.clear();
    let next_offsets = BTreeMap::from([(0, 9)]);
    publisher.set_newest(SnapshotVersion { log_epoch: 1, next_offsets });
    install(&shards[0]);
    assert!(publisher.gather(&shards).is_some());
}

#[test]
fn a_shard_of_a_smaller_epoch_is_behind_what_is_out_of_the_greatest() {
    let (mut publisher, shards) = publisher(2);
    // One was assigned when a greater epoch was out; versions have that of both together.
    shards[1].write().raise_epoch(1);
    let next_offsets = BTreeMap::from([(0, 2), (1, 0)]);
    publisher.set_newest(SnapshotVersion { log_epoch: 1, next_offsets });
    install(&shards[0]);
    assert!(publisher.gather(&shards).is_none());
    install(&shards[0]);
    let publication = publisher.gather(&shards).unwrap();
    let version = decode_message(&publication.snapshots[0].1).unwrap().version;
    assert_eq!((version.log_epoch, version.next_offsets[&0]), (1, 2));
}

#[test]
fn the_last_of_several_parts_names_the_offsets_that_all_were_begun_with() {
    let (mut publisher, shards) = publisher(1);
    publisher.keys_of_a_part = 2;
    for day in 1..=5 {
        take(&shards[0], &format!(r#""customer_id":"c{day}","kind":"install""#), day);
    }
    let cohorts = |publication: &Publication| {
        let snapshots = publication.snapshots.iter();
        let cohorts = snapshots.map(|(_, value)| decode_message(value).unwrap().cohort_start);
        cohorts.map(|day| day.to_string()[8..].to_owned()).collect::<Vec<_>>().join(" ")
    };
    let first = publisher.gather(&shards).unwrap();
    assert_eq!((cohorts(&first), first.next_offsets.len()), ("01 02".to_owned(), 0));
    publisher.done(&first, Duration::ZERO);
    // Of an early cohort, which is owed to the next publication.
    install(&shards[0]);
    let second = publisher.gather(&shards).unwrap();
    assert_eq!((cohorts(&second), publisher.is_begun()), ("03 04".to_owned(), true));
    // Nobody knows whether it is out: it begins anew, with what is owed since.
    publisher.failed(second);
    assert!(!publisher.is_begun());
    let parts: Vec<_> = std::iter::from_fn(|| {
        let part = publisher.gather(&shards)?;
        publisher.done(&part, Duration::ZERO);
        Some((cohorts(&part), part.next_offsets))
    })
    .collect();
    let next = vec![(0, NextOffset(6))];
    assert_eq!(parts, [("01 03".to_owned(), Vec::new()), ("04 05".to_owned(), next)]);
    // A partition that goes elsewhere ends what was begun.
    publisher.owe_all(&shards);
    assert!(publisher.gather(&shards).is_some() && publisher.is_begun());
    publisher.forget(0);
    assert!(!publisher.is_begun());
}

#[test]
fn of_a_customer_that_was_forgotten_no_dead_letter_goes_out_that_waited() {
    let (mut publisher, shards) = publisher(1);
    for customer in ["gone", "here"] {
        let event = format!(r#""customer_id":"{customer}","kind":"purchase","gross_micros":1"#);
        take(&shards[0], &event, 1);
    }
    assert_eq!(publisher.note_changes(&shards).len(), 1);
    take(&shards[0], r#""customer_id":"gone","kind":"forget""#, 2);
    let letters = publisher.gather(&shards).unwrap().dead_letters;
    let values: Vec<bool> = letters.iter().map(|letter| letter.value.is_some()).collect();
    assert_eq!(values, [false, true]);
}

#[test]
fn what_changes_while_a_publication_is_gathered_is_in_the_next_one() {
    let (mut publisher, shards) = publisher(1);
    install(&shards[0]);
    assert_eq!(publisher.note_changes(&shards).len(), 1);
    install(&shards[0]);
    let publication = publisher.gather(&shards).unwrap();
    let count = |publication: &Publication| {
        let snapshots = publication.snapshots.iter();
        snapshots.map(|(_, value)| decode_message(value).unwrap().customers).collect::<Vec<_>>()
    };
    assert_eq!(count(&publication), [2]);
    publisher.done(&publication, Duration::ZERO);
    assert!(publisher.gather(&shards).is_none());
    install(&shards[0]);
    assert_eq!(count(&publisher.gather(&shards).unwrap()), [3]);
}

#[test]
fn a_cohort_to_which_nothing_happens_is_published_again_when_an_age_begins_or_is_complete() {
    let (mut publisher, shards) = publisher(2);
    publisher.plan.ages = SnapshotAges { days: vec![0, 3], periods: vec![0] };
    let mut published = |day: u8| {
        let customer = shards[0].read().next_offset().0;
        take(&shards[0], &format!(r#""customer_id":"c{customer}","kind":"install""#), day);
        let publication = publisher.gather(&shards).unwrap();
        publisher.done(&publication, Duration::ZERO);
        let snapshots = publication.snapshots.iter().map(|(_, value)| {
            let snapshot = decode_message(value).unwrap();
            let ages = snapshot.ages_days.iter().map(|age| (age.age, age.complete));
            (snapshot.cohort_start.to_string()[8..].to_owned(), ages.collect::<Vec<_>>())
        });
        snapshots.collect::<Vec<_>>()
    };
    let of = |day: &str, ages: &[(i32, bool)]| (day.to_owned(), ages.to_vec());
    let (begun, complete) = (of("01", &[(0, false)]), of("01", &[(0, true)]));
    assert_eq!(published(1), [begun]);
    assert_eq!(published(2), [complete, of("02", &[(0, false)])]);
    // Two days of which the first cohort has no age; the second was complete on the first of them.
    assert_eq!(published(3), [of("02", &[(0, true)]), of("03", &[(0, false)])]);
    let older = [of("01", &[(0, true), (3, false)]), of("03", &[(0, true)])];
    assert_eq!(published(4), [&older[..], &[of("04", &[(0, false)])]].concat());
    // Not one of an event that is older than the newest.
    assert_eq!(published(3), [of("03", &[(0, true)])]);
    let all = ["01", "02", "03", "04", "20"].map(|day| match day {
        "20" => of(day, &[(0, false)]),
        _ => of(day, &[(0, true), (3, true)]),
    });
    assert_eq!(published(20), all);
}

#[test]
fn a_segment_that_speaks_of_all_customers_is_published_when_another_partition_has_a_new_one() {
    let mut plan = plan();
    plan.curves.segments.insert("acme".to_owned(), vec!["product_id".parse().unwrap()]);
    let (mut publisher, shards) = publisher_of(plan, 2);
    let customers = |publication: Publication| {
        let snapshots =
            publication.snapshots.iter().map(|(_, value)| decode_message(value).unwrap());
        let of_installs = snapshots.filter(|snapshot| snapshot.anchor == Anchor::Install);
        let said = of_installs.map(|snapshot| (snapshot.segment.is_some(), snapshot.customers));
        said.collect::<Vec<_>>()
    };
    let payment = r#""customer_id":"a","kind":"purchase","gross_micros":1,"currency":"USD","product_id":"gold""#;
    take(&shards[0], payment, 1);
    let first = publisher.gather(&shards).unwrap();
    publisher.done(&first, Duration::ZERO);
    assert_eq!(customers(first), [(false, 1), (true, 1)]);
    // Nobody there has heard of gold.
    take(&shards[1], r#""customer_id":"b","kind":"install""#, 1);
    assert_eq!(customers(publisher.gather(&shards).unwrap()), [(false, 2), (true, 2)]);
}

/// Takes in an event that is refused: it has no currency.
fn refused_event(shard: &SharedShard) {
    take(shard, r#""customer_id":"c","kind":"purchase","gross_micros":1"#, 1);
}

/// The offsets of the dead letters of a publication, and up to where it says that all is out.
fn letters(publication: &Publication) -> (Vec<i64>, Vec<i64>) {
    let offsets = publication.dead_letters.iter().map(|letter| letter.offset);
    let next = publication.next_offsets.iter().map(|(_, next)| next.0);
    (offsets.collect(), next.collect())
}

#[test]
fn many_dead_letters_go_out_in_parts_of_which_each_is_out_once() {
    let (mut publisher, shards) = publisher(1);
    publisher.set_published(vec![(0, None)]);
    (0..5).for_each(|_| refused_event(&shards[0]));
    install(&shards[0]);
    let mut first = Vec::new();
    shards[0].write().take_refused().clone_into(&mut first);
    publisher.letter_bytes_of_a_part = first[0].memory_bytes() + 1;
    publisher.letters.add(first);
    let part = publisher.gather(&shards).unwrap();
    assert_eq!((letters(&part), publisher.is_begun()), ((vec![0, 1], vec![2]), true));
    publisher.done(&part, Duration::ZERO);
    assert_eq!(publisher.published(0), NextOffset(2));
    // What failed comes again, and nothing before it.
    let part = publisher.gather(&shards).unwrap();
    assert_eq!(letters(&part), (vec![2, 3], vec![4]));
    publisher.failed(part);
    let part = publisher.gather(&shards).unwrap();
    assert_eq!(letters(&part), (vec![2, 3], vec![4]));
    publisher.done(&part, Duration::ZERO);
    let last = publisher.gather(&shards).unwrap();
    assert_eq!((letters(&last), last.snapshots.len()), ((vec![4], vec![6]), 1));
    assert!(!publisher.is_begun());
}

#[test]
fn dead_letters_go_out_while_snapshots_may_not() {
    let (mut publisher, shards) = publisher(2);
    publisher.set_published(vec![(0, Some(NextOffset(1)))]);
    let next_offsets = BTreeMap::from([(0, 9), (1, 0)]);
    publisher.set_newest(SnapshotVersion { log_epoch: 0, next_offsets });
    (0..3).for_each(|_| refused_event(&shards[0]));
    install(&shards[0]);
    // Who has a part only may be another's predecessor, and publishes nothing.
    assert!(publisher.gather(&shards[..1]).is_none());
    assert_eq!(publisher.letter_bytes(&shards[..1]), 0);
    // Versions would be older than those that are out; what is out already is not owed.
    assert!(publisher.letter_bytes(&shards) > 0);
    let part = publisher.gather(&shards).unwrap();
    assert_eq!((letters(&part), part.snapshots.len()), ((vec![1, 2], vec![3]), 0));
    publisher.done(&part, Duration::ZERO);
    assert!(publisher.gather(&shards).is_none());
    assert_eq!(publisher.letter_bytes(&shards), 0);
}

#[test]
fn dead_letters_of_a_partition_that_was_lost_are_left_to_its_store() {
    let (mut publisher, shards) = publisher(1);
    publisher.set_published(vec![(0, None)]);
    refused_event(&shards[0]);
    let publication = publisher.gather(&shards).unwrap();
    // Lost while the publication was under way, and ours again after it failed.
    publisher.forget(0);
    publisher.failed(publication);
    assert_eq!(publisher.letter_bytes(&shards), 0);
    publisher.set_published(vec![(0, None)]);
    shards[0].write().prepare_commit().write(crate::store::Durability::Process).unwrap();
    publisher.adopt(&mut shards[0].write());
    publisher.read_letters().unwrap();
    assert_eq!(letters(&publisher.gather(&shards).unwrap()).0, [0]);
}

#[test]
fn stored_dead_letters_are_read_as_they_go_out_and_before_those_that_came_since() {
    send_stored_letters(publisher(2));
    // While snapshots may not go out, since newer ones are.
    let (mut behind, shards) = publisher(2);
    let next_offsets = BTreeMap::from([(0, 900), (1, 900)]);
    behind.set_newest(SnapshotVersion { log_epoch: 0, next_offsets });
    send_stored_letters((behind, shards));
}

fn send_stored_letters((mut publisher, shards): (Publisher, Vec<SharedShard>)) {
    publisher.set_published(vec![(0, Some(NextOffset(3))), (1, None)]);
    for shard in &shards {
        (0..200).for_each(|_| refused_event(shard));
        let mut shard = shard.write();
        shard.take_refused();
        shard.prepare_commit().write(crate::store::Durability::Process).unwrap();
        publisher.adopt(&mut shard);
    }
    // Refused since, of which some are stored as well.
    for shard in &shards {
        (0..5).for_each(|_| refused_event(shard));
        shard.write().prepare_commit().write(crate::store::Durability::Process).unwrap();
    }
    let bytes = shards[0].read().reader().dead_letters(0, 1).unwrap()[0].memory_bytes();
    publisher.letter_bytes_of_a_part = 50 * bytes;
    let (mut gone_out, mut parts) = (Vec::new(), 0);
    loop {
        publisher.read_letters().unwrap();
        let Some(part) = publisher.gather(&shards) else { break };
        assert!(publisher.letter_bytes(&shards) < 200 * bytes, "not all at once");
        for letter in &part.dead_letters {
            let mut next = part.next_offsets.iter().filter(|(of, _)| *of == letter.partition);
            assert!(next.any(|(_, next)| letter.offset < next.0), "what is out is named");
        }
        for (partition, next) in &part.next_offsets {
            assert!(*next >= publisher.published(*partition), "offsets never fall");
        }
        let places = part.dead_letters.iter().map(|letter| (letter.partition, letter.offset));
        gone_out.extend(places);
        publisher.done(&part, Duration::ZERO);
        parts += 1;
    }
    let expected = (3..205).map(|offset| (0, offset)).chain((0..205).map(|offset| (1, offset)));
    let mut each_once = gone_out.clone();
    each_once.sort_unstable();
    assert_eq!(each_once, expected.collect::<Vec<_>>());
    for partition in 0..2 {
        let of = gone_out.iter().filter(|(of, _)| *of == partition);
        assert!(of.is_sorted(), "partition {partition}");
    }
    assert!(parts > 6, "{parts} parts");
    assert_eq!(publisher.published(1), NextOffset(205));
}
