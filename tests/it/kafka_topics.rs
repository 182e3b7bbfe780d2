//! Promise: a start with wrong topics or wrong properties says which and why, and a start with
//! none makes the right ones.

use ltvstream::kafka::{KafkaSettings, KafkaSource, SetupError, ensure_topics};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::kafka_support::{LIMIT, broker, ready, settings};

fn create(topic: &str, partitions: i32, cleanup: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", broker()).create().unwrap();
    let topic =
        NewTopic::new(topic, partitions, TopicReplication::Fixed(1)).set("cleanup.policy", cleanup);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let results = runtime.block_on(admin.create_topics([&topic], &AdminOptions::new())).unwrap();
    results.into_iter().for_each(|result| drop(result.unwrap()));
}

#[test]
fn missing_topics_are_created_once_and_found_again() {
    let settings = settings("create", 3);
    let first = ensure_topics(&settings).unwrap();
    assert_eq!(first.events_partitions, 3);
    assert!(first.dead_letter_bytes_max > 1_048_588);
    assert_eq!(ensure_topics(&settings).unwrap(), first);
}

#[test]
fn each_topic_is_made_with_its_own_number_of_partitions() {
    let settings =
        KafkaSettings { snapshots_partitions: 2, dead_letters_partitions: 4, ..settings("own", 3) };
    ensure_topics(&settings).unwrap();
    let reader: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", broker()).create().unwrap();
    let KafkaSettings { events_topic, snapshots_topic, dead_letters_topic, .. } = &settings;
    for (topic, expected) in [(events_topic, 3), (snapshots_topic, 2), (dead_letters_topic, 4)] {
        let metadata = reader.fetch_metadata(Some(topic), LIMIT).unwrap();
        assert_eq!(metadata.topics()[0].partitions().len(), expected, "{topic}");
    }
}

#[test]
fn topics_may_be_checked_from_async_code() {
    let settings = settings("async", 1);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { ensure_topics(&settings) }).unwrap();
}

#[test]
fn an_existing_events_topic_keeps_its_partitions() {
    let settings = settings("existing", 3);
    create(&settings.events_topic, 5, "delete");
    assert_eq!(ensure_topics(&settings).unwrap().events_partitions, 5);
}

#[test]
fn a_missing_topic_that_may_not_be_created_is_named() {
    let mut settings = settings("missing", 1);
    settings.create_topics = false;
    let error = ensure_topics(&settings).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "topic \"{}\" does not exist, and kafka.create_topics is off",
            settings.events_topic
        )
    );
}

#[test]
fn a_snapshots_topic_that_is_not_compacted_is_refused_by_name() {
    for cleanup in ["delete", "compact,delete"] {
        let settings = settings("compaction", 1);
        create(&settings.snapshots_topic, 1, cleanup);
        let error = ensure_topics(&settings).unwrap_err();
        let expected = format!(
            "topic \"{}\" must have cleanup.policy=compact, it has cleanup.policy={cleanup}",
            settings.snapshots_topic
        );
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn a_compacted_events_topic_is_refused_by_name() {
    let settings = settings("vanishing", 1);
    create(&settings.events_topic, 1, "compact");
    let error = ensure_topics(&settings).unwrap_err();
    assert!(
        matches!(&error, SetupError::WrongTopic { topic, .. } if *topic == settings.events_topic)
    );
}

#[test]
fn an_operators_property_reaches_the_library_and_a_wrong_one_is_named() {
    let (mut settings, topics) = ready("properties", 1);
    // Only the library knows this property and that no such file exists.
    settings.properties.insert("security.protocol".to_owned(), "ssl".to_owned());
    settings.properties.insert("ssl.ca.location".to_owned(), "/no/such/authority.pem".to_owned());
    let error = KafkaSource::new(&settings, &topics).err().unwrap().to_string();
    assert!(error.contains("ssl.ca.location"), "{error}");

    settings.properties.clear();
    settings.properties.insert("fetch.wait.max".to_owned(), "5".to_owned());
    let error = KafkaSource::new(&settings, &topics).err().unwrap().to_string();
    assert!(error.contains("\"fetch.wait.max\""), "{error}");
}
