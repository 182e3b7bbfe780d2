//! What several tests need: a broker's topics, the real binary, and questions to it.

pub mod embedded;
pub mod facts;
pub mod kafka;
pub mod process;
pub mod raw_produce;
pub mod registry;
pub mod snapshots;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A name that no other test of this run uses.
pub fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{name}-{}-{count}", std::process::id())
}

/// A file of the real purchase data that figures are checked against.
pub fn data(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
    assert!(path.exists(), "{} is needed by this test", path.display());
    path
}
