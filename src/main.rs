//! The `ltvstream` program.

use std::process::ExitCode;

use clap::Parser;

use ltvstream::cli::{self, Cli};

// Many small, long-lived rows of very different ages: jemalloc keeps them without fragmenting.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // A store keeps its table files open, of which a large state has more than the usual 1,024. Where the limit
    // can't be raised, the store says so when it meets it.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    match cli::run(Cli::parse()) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) => {
            error.report();
            // Not through the usual end: threads that are still opening a store need what it would take away.
            signal_hook::low_level::exit(error.code().into())
        }
    }
}
