//! Settings: a TOML file and the environment, read once into checked types.
//!
//! [`Config::load`] answers with settings that hold every promise their types make, or with all
//! that is wrong at once. Each setting is declared in one place, with its default and what it must
//! be: `sections.rs`, `kafka.rs`, `apps.rs`, `rates.rs`, `api_keys.rs`. `deploy/ltvstream.toml`
//! describes them to users; `tests/it/config.rs` keeps it true.
//!
//! Not here: whether brokers, registries or folders can be reached.

mod api_keys;
mod apps;
mod found;
mod kafka;
mod layers;
mod problem;
mod rates;
mod reader;
mod secret;
mod section;
mod sections;
mod tables;

use std::path::PathBuf;

use crate::domain::rules::Rules;

use layers::Layers;
use reader::Reader;
use section::Section;

pub use api_keys::{ApiKey, Plan, Scope, hash_of};
pub use apps::{AppSettings, LtvChurnWindow, MrrRefunds};
pub use kafka::{
    Consumption, KafkaSettings, RESERVED_PROPERTIES, SchemaFile, SchemaRegistry, TopicSettings,
};
pub use layers::{ENVIRONMENT_PREFIX, Origin, Sources};
pub use problem::Problem;
pub use reader::Setting;
pub use secret::{HIDDEN, KafkaProperties, Secret};
pub use sections::{EngineSettings, LogFormat, ServiceSettings, SnapshotSettings, StoreSettings};

/// Where events come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// From topics.
    Kafka,
    /// By HTTP and from files; no log stands behind.
    Embedded,
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{} is not TOML: line {line}: {message}", path.display())]
    Syntax { path: PathBuf, line: usize, message: String },
    #[error("cannot merge the configuration")]
    Layers(#[source] Box<figment::Error>),
    /// All that is wrong, one line each.
    #[error("{}", lines(.0))]
    Invalid(Vec<Problem>),
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// All settings, checked.
#[derive(Debug, Clone)]
pub struct Config {
    pub mode: Mode,
    pub service: ServiceSettings,
    pub kafka: KafkaSettings,
    pub engine: EngineSettings,
    pub snapshots: SnapshotSettings,
    pub store: StoreSettings,
    /// What changes results, for the engine.
    pub rules: Rules,
    /// What else is set for the apps of the rules, in the order of the file.
    pub apps: Vec<AppSettings>,
    pub api_keys: Vec<ApiKey>,
    /// Every setting with its value and origin, secrets hidden.
    pub settings: Vec<Setting>,
}

impl Config {
    /// Reads, merges and checks all settings.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with everything that is wrong; the others when a file cannot be
    /// read or is not TOML.
    pub fn load(sources: &Sources, mode: Mode) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(Layers::read(sources, mode)?);
        let mut config = reader.read(|root| Self::read(root, sources, mode));
        config.check(&mut reader);
        config.settings = reader.finish()?;
        Ok(config)
    }

    /// Reads all sections; what concerns several of them is not checked yet.
    fn read(root: &mut Section<'_>, sources: &Sources, mode: Mode) -> Self {
        let embedded = mode == Mode::Embedded;
        let folder = sources.folder();
        let service = root.section("service", ServiceSettings::read);
        let kafka = root.section("kafka", |kafka| KafkaSettings::read(kafka, folder, embedded));
        let engine = root.section("engine", EngineSettings::read);
        let snapshots = root.section("snapshots", SnapshotSettings::read);
        let store = root.section("store", |store| StoreSettings::read(store, embedded));
        let (rules, apps) =
            root.sections("apps", |app| apps::read(app, folder)).into_iter().unzip();
        let api_keys = root.sections("api_keys", api_keys::read);
        let rules = service.rules(rules);
        let settings = Vec::new();
        Self { mode, service, kafka, engine, snapshots, store, rules, apps, api_keys, settings }
    }

    /// Checks what concerns several sections.
    fn check(&self, reader: &mut Reader) {
        if self.apps.is_empty() {
            reader.refuse("apps", "at least one [[apps]]", "[]");
        }
        apps::check_ids(reader, &self.apps);
        let ids = self.apps.iter().map(|app| app.id.as_str()).collect();
        api_keys::check(reader, &self.api_keys, &ids);
        if self.api_keys.is_empty() && !self.service.listen.ip().is_loopback() {
            let expected = "a loopback address while there are no [[api_keys]]";
            reader.refuse("service.listen", expected, self.service.listen);
        }
    }

    /// The settings of an app.
    pub fn app(&self, id: &str) -> Option<&AppSettings> {
        self.apps.iter().find(|app| app.id == id)
    }
}
