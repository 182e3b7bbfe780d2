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
            ExitCode::from(error.code())
        }
    }
}
