//! The command line, one file per command.
//!
//! Each command is a struct of arguments and a function `run`, which answers with an [`Exit`] or a
//! [`CliError`]; both know their exit code. Standard output carries the answer only; errors and
//! logs go to standard error.

pub mod audit;
pub mod bench;
pub mod completions;
pub mod config;
pub mod dead_letters;
pub mod demo;
pub mod generate;
pub mod import;
pub mod query;
pub mod schema;
pub mod serve;

mod client;
mod exit;
mod options;
mod table;

use clap::{Parser, Subcommand};

use crate::telemetry;

pub use exit::{CliError, Exit, print};
pub use options::{ConfigArgs, Globals, LogFormatArg, load, parse_instant, parse_share};

/// Exact, incremental customer lifetime value from a stream of billing events.
#[derive(Debug, Parser)]
#[command(name = "ltvstream", version, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 done, 1 the work found a problem, 2 wrong usage or \
                        configuration, 3 a dependency (Kafka, store, network) failed.")]
pub struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub command: Command,
}

/// What the program is asked to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    Serve(serve::Args),
    Demo(demo::Args),
    Import(import::Args),
    Generate(generate::Args),
    Query(query::Args),
    Audit(audit::Args),
    DeadLetters(dead_letters::Args),
    Config(config::Args),
    Schema(schema::Args),
    Bench(bench::Args),
    Completions(completions::Args),
}

/// Runs one command to its end.
///
/// # Errors
/// Whatever the command could not do; see [`CliError`] for the exit codes.
pub fn run(cli: Cli) -> Result<Exit, CliError> {
    let globals = &cli.globals;
    let done = match cli.command {
        Command::Serve(args) => serve::run(&args, globals),
        Command::Demo(args) => demo::run(&args, globals),
        Command::Import(args) => import::run(&args, globals),
        Command::Generate(args) => generate::run(&args, globals),
        Command::Query(args) => query::run(&args, globals),
        Command::Audit(args) => audit::run(&args, globals),
        Command::DeadLetters(args) => dead_letters::run(&args, globals),
        Command::Config(args) => config::run(&args, globals),
        Command::Schema(args) => schema::run(&args, globals),
        Command::Bench(args) => bench::run(&args, globals),
        Command::Completions(args) => completions::run(&args, globals),
    };
    if done.is_err() && telemetry::log_format().is_none() {
        // What fails before there is a log is said in the form that was asked for.
        let _ = globals.start_logging(None);
    }
    done
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        super::Cli::command().debug_assert();
    }
}
