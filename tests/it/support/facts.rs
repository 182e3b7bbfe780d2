//! What a stopped service has in its store.

use ltvstream::config::{Config, Mode, Sources};
use ltvstream::service::Stores;

use crate::reference::Facts;

/// The facts of all partitions that are not zero; the audit of each must find no difference.
pub fn stored(config: &str, partitions: i32) -> Facts {
    let sources = Sources { file: Some(config.into()), environment: Vec::new(), flags: Vec::new() };
    let config = Config::load(&sources, Mode::Kafka).unwrap();
    let stores = Stores::new(&config);
    let mut facts = Facts::new();
    for partition in 0..partitions {
        let mut live = stores.open_shard(partition, &config).unwrap();
        assert_eq!(live.audit().unwrap().differences, []);
        for fact in live.shard.facts.iter() {
            let sums = facts.entry(live.shard.describe(&fact.key)).or_default();
            sums.0 += fact.sums.count;
            sums.1 += fact.sums.gross;
            sums.2 += fact.sums.proceeds;
            sums.3 += fact.sums.net;
        }
    }
    facts.retain(|_, sums| *sums != (0, 0, 0, 0));
    facts
}
