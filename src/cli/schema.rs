//! `ltvstream schema`: print the shipped schemas, check a producer's.

use std::path::PathBuf;

use apache_avro::Schema;
use apache_avro::schema_compatibility::{Compatibility, SchemaCompatibility};
use clap::{Subcommand, ValueEnum};

use super::{CliError, Exit, Globals, print};

const BILLING_EVENT: &str = include_str!("../../schemas/billing_event.v1.avsc");
const LTV_SNAPSHOT: &str = include_str!("../../schemas/ltv_snapshot.v1.avsc");
const DEAD_LETTER: &str = include_str!("../../schemas/dead_letter.v1.json");

/// Print or check schemas
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do with schemas.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print a schema as it is shipped
    Print {
        #[arg(value_enum, default_value_t = Name::BillingEvent)]
        name: Name,
    },
    /// Check that events written with a schema can be read; exit code 1 if not
    Check {
        /// The producer's Avro schema
        file: PathBuf,
    },
}

/// A shipped schema.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Name {
    /// What producers write (Avro)
    BillingEvent,
    /// What is published (Avro)
    LtvSnapshot,
    /// The headers of refused records (JSON)
    DeadLetter,
}

impl Name {
    fn text(self) -> &'static str {
        match self {
            Self::BillingEvent => BILLING_EVENT,
            Self::LtvSnapshot => LTV_SNAPSHOT,
            Self::DeadLetter => DEAD_LETTER,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// [`CliError::Usage`] when the file cannot be read.
pub fn run(args: &Args, _: &Globals) -> Result<Exit, CliError> {
    match &args.command {
        Command::Print { name } => {
            print(name.text())?;
            Ok(Exit::Done)
        }
        Command::Check { file } => {
            let unreadable =
                |error| CliError::Usage(format!("cannot read {}: {error}", file.display()));
            let found = check(&std::fs::read_to_string(file).map_err(unreadable)?);
            print(&match &found {
                Ok(Compatibility::Full) => {
                    "ok: all events written with this schema can be read\n".to_owned()
                }
                Ok(Compatibility::Partial) => {
                    "partly readable: the schema allows kinds or absent values that are refused\n"
                        .to_owned()
                }
                Err(reason) => format!("not readable: {reason}\n"),
            })?;
            Ok(if found == Ok(Compatibility::Full) { Exit::Done } else { Exit::ProblemFound })
        }
    }
}

/// How far data of `writer` can be read as the shipped event, or why not at all.
fn check(writer: &str) -> Result<Compatibility, String> {
    let parse = |text| Schema::parse_str(text).map_err(|error| error.to_string());
    let (writer, reader) = (parse(writer)?, parse(BILLING_EVENT)?);
    SchemaCompatibility::can_read(&writer, &reader).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_reads_what_it_wrote_and_not_what_lacks_its_fields() {
        assert_eq!(check(BILLING_EVENT), Ok(Compatibility::Full));
        let more = BILLING_EVENT.replace("\"install\",", "\"install\", \"merger\",");
        assert_eq!(check(&more), Ok(Compatibility::Partial));
        let lacking = r#"{"type": "record", "name": "BillingEvent",
            "namespace": "com.ltvstream.billing",
            "fields": [{"name": "event_id", "type": "string"}]}"#;
        assert!(check(lacking).is_err());
        assert!(check("not a schema").is_err());
    }
}
