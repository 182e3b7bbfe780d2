//! The section `[kafka]`: brokers, topics, encodings, and free properties.

use std::path::{Path, PathBuf};

use crate::codec::avro_event::WriterSchema;
use crate::codec::envelope::EventFormat;

use super::secret::{KafkaProperties, Secret, is_secret_property};
use super::section::Section;

/// A schema of events read from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaFile {
    pub path: PathBuf,
    pub text: String,
}

/// Where schemas are registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaRegistry {
    /// Base address without a slash at its end.
    pub url: String,
    /// User and password of basic authentication.
    pub login: Option<(String, Secret)>,
}

/// How records are taken from the client library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consumption {
    /// Many by one call.
    Batch,
    /// One by one, through the library's safe interface, for more CPU.
    Single,
}

/// How topics are made that do not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSettings {
    /// Whether they are made at all.
    pub create: bool,
    pub events_partitions: u16,
    pub snapshots_partitions: u16,
    pub dead_letters_partitions: u16,
    /// `None`: the broker's default.
    pub replication_factor: Option<u16>,
}

/// `[kafka]`, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct KafkaSettings {
    pub bootstrap_servers: String,
    pub group_id: String,
    /// Start of the transactional ids of this group's producers.
    pub transactional_id_prefix: String,
    pub events_topic: String,
    pub snapshots_topic: String,
    pub dead_letters_topic: String,
    pub event_format: EventFormat,
    pub schema_registry: Option<SchemaRegistry>,
    /// The writer schema of [`EventFormat::AvroBare`].
    pub avro_schema: Option<SchemaFile>,
    /// Further writer schemas of [`EventFormat::AvroSingleObject`]; the shipped one is known.
    pub avro_schemas: Vec<SchemaFile>,
    pub topics: TopicSettings,
    /// Memory for records fetched ahead, all partitions together, in KiB.
    pub prefetch_kbytes: u64,
    pub consumption: Consumption,
    /// Compare stored fingerprints with the log before reading on.
    pub check_anchors: bool,
    /// Handed to librdkafka as they are.
    pub properties: KafkaProperties,
}

const OFFSETS: &str = "offsets are kept with the state, never by the client";
const DELIVERY: &str = "exactly-once publication rests on it";
const WHOLE: &str = "a record must never be skipped in silence";

/// Properties that the service sets itself, with their other names, and why or what to set instead.
/// All else reaches the client library as it is.
pub const RESERVED_PROPERTIES: &[(&str, &str)] = &[
    ("bootstrap.servers", "set kafka.bootstrap_servers"),
    ("metadata.broker.list", "set kafka.bootstrap_servers"),
    ("group.id", "set kafka.group_id"),
    ("queued.max.messages.kbytes", "set kafka.prefetch_kbytes"),
    ("allow.auto.create.topics", "set kafka.create_topics"),
    ("enable.auto.commit", OFFSETS),
    ("auto.commit.enable", OFFSETS),
    ("enable.auto.offset.store", OFFSETS),
    ("auto.offset.reset", WHOLE),
    ("check.crcs", WHOLE),
    ("isolation.level", "records of aborted transactions must never be counted"),
    ("enable.partition.eof", "the lag is measured by it"),
    ("partition.assignment.strategy", "partitions move one by one, with their state"),
    ("group.protocol", "partitions move one by one, with their state"),
    ("transactional.id", DELIVERY),
    ("acks", DELIVERY),
    ("request.required.acks", DELIVERY),
    ("enable.idempotence", DELIVERY),
    ("partitioner", "every producer must place a customer in the same partition"),
];

impl KafkaSettings {
    /// `folder` is where relative paths start; problems of Kafka alone are none when `embedded`.
    pub(super) fn read(section: &mut Section<'_>, folder: &Path, embedded: bool) -> Self {
        let bootstrap_servers = section.name("bootstrap_servers", "localhost:9092");
        let group_id = section.name("group_id", "ltvstream");
        let prefix = section.text("transactional_id_prefix", "");
        let (events_topic, snapshots_topic, dead_letters_topic) = read_topics(section);
        let formats = EventFormat::ALL.map(|format| (format.name(), format));
        let format = section.choice("event_format", EventFormat::AvroRegistry, &formats);
        let ways = [("batch", Consumption::Batch), ("single", Consumption::Single)];
        let settings = Self {
            bootstrap_servers,
            transactional_id_prefix: if prefix.is_empty() { group_id.clone() } else { prefix },
            group_id,
            events_topic,
            snapshots_topic,
            dead_letters_topic,
            event_format: format,
            // The default address belongs to the default format; others must name a registry.
            schema_registry: read_registry(section).filter(|registry| {
                format == EventFormat::AvroRegistry || registry.url != DEFAULT_REGISTRY_URL
            }),
            avro_schema: read_schema(section, folder),
            avro_schemas: read_schemas(section, folder),
            topics: TopicSettings::read(section),
            prefetch_kbytes: section.integer("prefetch_kbytes", 65_536, 64..=2_097_151),
            consumption: section.choice("consumption", Consumption::Batch, &ways),
            check_anchors: section.boolean("check_anchors", true),
            properties: read_properties(section),
        };
        if !embedded {
            settings.check_format(section);
        }
        settings
    }

    fn check_format(&self, section: &mut Section<'_>) {
        let bare = self.avro_schema.iter().map(|schema| ("avro_schema_file", schema));
        let others = self.avro_schemas.iter().map(|schema| ("avro_schema_files", schema));
        for (name, SchemaFile { path, text }) in bare.chain(others) {
            if let Err(error) = WriterSchema::parse(text) {
                let expected = format!("Avro schemas of billing events ({error})");
                section.refuse(name, expected, path.display());
            }
        }
        match self.event_format {
            EventFormat::AvroRegistry if self.schema_registry.is_none() => {
                let expected = "set while event_format is avro-registry";
                section.refuse("schema_registry_url", expected, "");
            }
            EventFormat::AvroBare if self.avro_schema.is_none() => {
                section.refuse("avro_schema_file", "set while event_format is avro-bare", "");
            }
            _ => {}
        }
    }
}

impl TopicSettings {
    fn read(section: &mut Section<'_>) -> Self {
        let mut small = |name: &str, default: u64, least: u64| {
            u16::try_from(section.integer(name, default, least..=10_000)).unwrap_or(u16::MAX)
        };
        let events_partitions = small("events_partitions", 6, 1);
        let snapshots_partitions = small("snapshots_partitions", 1, 1);
        let dead_letters_partitions = small("dead_letters_partitions", 1, 1);
        let replication_factor = small("replication_factor", 0, 0);
        Self {
            create: section.boolean("create_topics", true),
            events_partitions,
            snapshots_partitions,
            dead_letters_partitions,
            replication_factor: (replication_factor > 0).then_some(replication_factor),
        }
    }
}

fn read_topics(section: &mut Section<'_>) -> (String, String, String) {
    const NAMES: [(&str, &str); 3] = [
        ("events_topic", "billing.events"),
        ("snapshots_topic", "ltv.snapshots"),
        ("dead_letters_topic", "billing.events.dlq"),
    ];
    let mut topics = NAMES.map(|(name, default)| {
        let topic = section.text(name, default);
        if !is_topic(&topic) {
            section.refuse(name, "1 to 249 of the letters A-Za-z0-9._-", &topic);
        }
        topic
    });
    for at in 1..topics.len() {
        if topics[..at].contains(&topics[at]) {
            section.refuse(NAMES[at].0, "a topic of its own", &topics[at]);
        }
    }
    let [events, snapshots, dead_letters] = &mut topics;
    (std::mem::take(events), std::mem::take(snapshots), std::mem::take(dead_letters))
}

fn is_topic(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=249).contains(&name.len()) && name.bytes().all(legal) && name != "." && name != ".."
}

const DEFAULT_REGISTRY_URL: &str = "http://localhost:8081";

fn read_registry(section: &mut Section<'_>) -> Option<SchemaRegistry> {
    let expected = "an http or https address without user, password or query";
    let url = section.optional("schema_registry_url", DEFAULT_REGISTRY_URL, expected, |url| {
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))?;
        let legal = !rest.is_empty()
            && !rest.contains(['@', '?', '#'])
            && !rest.contains(char::is_whitespace);
        legal.then(|| url.trim_end_matches('/').to_owned())
    });
    let user = section.text("schema_registry_user", "");
    let password = section.secret("schema_registry_password");
    let login = (!user.is_empty()).then_some((user, password));
    Some(SchemaRegistry { url: url?, login })
}

fn read_schema(section: &mut Section<'_>, folder: &Path) -> Option<SchemaFile> {
    section.optional("avro_schema_file", "", "a readable file", |path| schema_file(folder, path))
}

fn read_schemas(section: &mut Section<'_>, folder: &Path) -> Vec<SchemaFile> {
    section.names("avro_schema_files", &[], "readable files", |path| schema_file(folder, path))
}

fn schema_file(folder: &Path, path: &str) -> Option<SchemaFile> {
    let path = folder.join(path);
    let text = std::fs::read_to_string(&path).ok()?;
    Some(SchemaFile { path, text })
}

fn read_properties(section: &mut Section<'_>) -> KafkaProperties {
    let given = section.free_names("properties", is_secret_property);
    for (name, value) in &given {
        if let Some((_, instead)) = RESERVED_PROPERTIES.iter().find(|(own, _)| own == name) {
            // None of these is a secret.
            let expected = format!("left to the service ({instead})");
            section.refuse(&format!("properties.{name}"), &expected, value);
        }
    }
    KafkaProperties(given.into_iter().collect())
}
