//! The `ltvstream` program.

use std::process::ExitCode;

use clap::Parser;

use ltvstream::cli::{self, Cli};

// Many small, long-lived rows of very different ages: jemalloc keeps them without fragmenting.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match cli::run(Cli::parse()) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) => {
            error.report();
            ExitCode::from(error.code())
        }
    }
}
