//! How a command ends: what the shell learns and what people read.

use std::io::{self, ErrorKind, Write};

use tracing::{Level, enabled, error};

use crate::config::{ConfigError, LogFormat};
use crate::kafka::SetupError;
use crate::pipeline::PipelineError;
use crate::service::OtherLayout;
use crate::state::{RulesChanged, StateError};
use crate::telemetry;

/// A command did its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Done,
    /// The work itself found a problem: refused events, differences, an unreadable schema.
    ProblemFound,
}

impl Exit {
    /// The code the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::ProblemFound => 1,
        }
    }
}

/// A command could not do its work. Each variant has its own exit code.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The arguments ask for something that cannot be.
    #[error("{0}")]
    Usage(String),
    /// The settings are wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Kafka, the store, the network or the disk failed.
    #[error("{0:#}")]
    Dependency(anyhow::Error),
}

/// A state that refuses its settings, or a client library that refuses its own, is a matter of
/// configuration: a restart will not help.
pub(super) fn settings_or_dependency(error: anyhow::Error) -> CliError {
    let is_settings = error.chain().any(|cause| {
        cause.downcast_ref::<RulesChanged>().is_some()
            || matches!(
                cause.downcast_ref(),
                Some(
                    StateError::Rules(_)
                        | StateError::OtherLog { .. }
                        | StateError::Repartitioned { .. }
                        | StateError::Unconfigured { .. }
                        | StateError::Given { .. }
                        | StateError::Rebuild { .. }
                )
            )
            || cause.downcast_ref::<OtherLayout>().is_some()
            || matches!(cause.downcast_ref(), Some(PipelineError::OtherLog { .. }))
            || matches!(
                cause.downcast_ref(),
                Some(SetupError::Client(_) | SetupError::Property { .. })
            )
    });
    if is_settings { CliError::Usage(format!("{error:#}")) } else { CliError::Dependency(error) }
}

impl CliError {
    /// The code the shell sees.
    pub fn code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Config(_) => 2,
            Self::Dependency(_) => 3,
        }
    }

    /// Writes the error and its causes to standard error, a line each; all in one of the log where that is JSON.
    pub fn report(&self) {
        if telemetry::log_format() == Some(LogFormat::Json) && enabled!(Level::ERROR) {
            let mut text = self.to_string();
            self.causes().for_each(|cause| text.push_str(&format!(": {cause}")));
            return error!("{text}");
        }
        let mut text = String::new();
        for line in self.to_string().lines() {
            text.push_str(&format!("error: {line}\n"));
        }
        self.causes().for_each(|cause| text.push_str(&format!("  caused by: {cause}\n")));
        // Nobody is left to tell that standard error is closed.
        let _ = io::stderr().write_all(text.as_bytes());
    }

    fn causes(&self) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
        std::iter::successors(std::error::Error::source(self), |cause| cause.source())
    }
}

/// Writes `text` to standard output.
///
/// A reader that went away, as `head` does, has all it wants: that is no error.
///
/// # Errors
/// [`CliError::Dependency`] when the output cannot be written, for example on a full disk.
pub fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(CliError::Dependency(anyhow::Error::new(error).context("cannot write the output")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_scripts_rely_on() {
        assert_eq!(Exit::Done.code(), 0);
        assert_eq!(Exit::ProblemFound.code(), 1);
        assert_eq!(CliError::Usage(String::new()).code(), 2);
        assert_eq!(CliError::Config(ConfigError::Invalid(Vec::new())).code(), 2);
        assert_eq!(CliError::Dependency(anyhow::anyhow!("no broker")).code(), 3);
    }

    #[test]
    fn what_no_restart_helps_is_a_matter_of_settings() {
        let code = |error: anyhow::Error| settings_or_dependency(error.context("beside")).code();
        assert_eq!(code(OtherLayout("other.avsc".into()).into()), 2);
        assert_eq!(code(PipelineError::OtherLog { partition: 0, offset: 7 }.into()), 2);
        assert_eq!(code(std::io::Error::other("no disk").into()), 3);
    }
}
