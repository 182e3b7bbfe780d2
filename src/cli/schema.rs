//! `ltvstream schema`: print the shipped schemas, check a producer's.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use crate::codec::avro_event::{BILLING_EVENT_V1, WriterSchema};

use super::{CliError, Exit, Globals, print};

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
            Self::BillingEvent => BILLING_EVENT_V1,
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
            let schema = std::fs::read_to_string(file).map_err(unreadable)?;
            let (text, exit) = verdict(&schema);
            print(&text)?;
            Ok(exit)
        }
    }
}

/// What the service will say of messages written with this schema: it is asked, not guessed.
fn verdict(schema: &str) -> (String, Exit) {
    let refused = match WriterSchema::parse(schema) {
        Ok(schema) => schema.unreadable(),
        Err(error) => return (format!("not readable: {error}\n"), Exit::ProblemFound),
    };
    if refused.is_empty() {
        return ("ok: events written with this schema can be read\n".to_owned(), Exit::Done);
    }
    let mut text = "partly readable; the schema allows what is refused:\n".to_owned();
    for value in refused {
        text.push_str(&format!("  {value}\n"));
    }
    (text, Exit::ProblemFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(from: &str, to: &str) -> (String, Exit) {
        assert!(BILLING_EVENT_V1.contains(from));
        verdict(&BILLING_EVENT_V1.replace(from, to))
    }

    #[test]
    fn a_schema_is_judged_as_the_service_does() {
        let ok = ("ok: events written with this schema can be read\n".to_owned(), Exit::Done);
        assert_eq!(verdict(BILLING_EVENT_V1), ok);
        // Beyond the rules of Avro, which read no string as an enum.
        let environment = BILLING_EVENT_V1.find("\"environment\", \"type\": ").unwrap();
        let start = environment + "\"environment\", \"type\": ".len();
        let end = start + BILLING_EVENT_V1[start..].find('}').unwrap() + 1;
        assert_eq!(check(&BILLING_EVENT_V1[start..end], "\"string\""), ok);
        // By the rules of Avro at least null could be read.
        let double = check(
            "\"gross_micros\", \"type\": [\"null\", \"long\"]",
            "\"gross_micros\", \"type\": [\"null\", \"double\"]",
        );
        assert_eq!(
            double,
            ("not readable: gross_micros must be a long\n".to_owned(), Exit::ProblemFound)
        );
        assert_eq!(verdict("not a schema").1, Exit::ProblemFound);
        let lacking = r#"{"type": "record", "name": "BillingEvent",
            "fields": [{"name": "event_id", "type": "string"}]}"#;
        let expected = "not readable: the schema has no field app_id\n".to_owned();
        assert_eq!(verdict(lacking), (expected, Exit::ProblemFound));
    }

    #[test]
    fn what_a_schema_allows_and_no_event_may_hold_is_named() {
        for (from, to, expected) in [
            ("\"install\",", "\"install\", \"merger\",", "kind \"merger\""),
            (
                "\"app_id\", \"type\": \"string\"",
                "\"app_id\", \"type\": [\"null\", \"string\"]",
                "app_id that is null",
            ),
            (
                "\"store\", \"type\": [\"null\", \"string\"]",
                "\"store\", \"type\": [\"null\", \"string\", \"int\"]",
                "store that is not a string",
            ),
        ] {
            let expected =
                format!("partly readable; the schema allows what is refused:\n  {expected}\n");
            assert_eq!(check(from, to), (expected, Exit::ProblemFound));
        }
    }
}
