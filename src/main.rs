//! The `ltvstream` program.

use std::io::Write as _;

use clap::Parser;

use ltvstream::cli::{self, Cli};

// Many small, long-lived rows of very different ages: jemalloc keeps them without fragmenting.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    // A store keeps its table files open, of which a large state has more than the usual 1,024. Where the limit
    // can't be raised, the store says so when it meets it.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let code = match cli::run(Cli::parse()) {
        Ok(exit) => exit.code(),
        Err(error) => {
            error.report();
            error.code()
        }
    };
    let _ = std::io::stdout().flush();
    // Not by returning: threads that are still opening a store need what that would take away.
    signal_hook::low_level::exit(code.into())
}
