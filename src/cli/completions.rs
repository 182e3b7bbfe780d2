//! `ltvstream completions`: completions for the user's shell.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, CliError, Exit, Globals, print};

/// Print completions for a shell
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell that will read them
    pub shell: Shell,
}

/// Prints the completions.
///
/// # Errors
/// [`CliError::Dependency`] when the output cannot be written.
pub fn run(args: &Args, _: &Globals) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "ltvstream", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
