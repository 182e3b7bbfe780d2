//! `ltvstream query`: the native API on the terminal.

use clap::ValueEnum;
use serde_json::Value;

use super::client::{Client, parse_url, segment};
use super::{CliError, Exit, Globals, print, table};

/// Form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    Csv,
    Json,
}

/// Ask a running service; the filters are the parameters of its API
///
/// For example: `ltvstream query ltv width=month age=days ages=0,30,90 filter.country=US,DE`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The question: ltv, revenue, or customers/ID with the id as it is
    pub question: String,
    /// Parameters of the question, `name=value`
    #[arg(value_name = "NAME=VALUE", value_parser = parse_parameter)]
    pub parameters: Vec<(String, String)>,
    /// Address of the service
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080", value_parser = parse_url)]
    pub url: String,
    /// App that is asked about
    #[arg(long, value_name = "ID", default_value = "default")]
    pub app: String,
    /// Secret of an API key that may read
    #[arg(long, value_name = "SECRET", env = "LTVSTREAM_API_KEY", hide_env_values = true)]
    pub api_key: Option<String>,
    /// Form of the answer
    #[arg(long, default_value = "table")]
    pub format: Format,
}

fn parse_parameter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("must be name=value".to_owned()),
    }
}

/// Questions that have an answer in CSV.
const WITH_CSV: [&str; 2] = ["ltv", "revenue"];

/// Asks and prints the answer.
///
/// # Errors
/// [`CliError::Usage`] when the service refuses the question, [`CliError::Dependency`] when it
/// cannot be reached.
pub fn run(args: &Args, globals: &Globals) -> Result<Exit, CliError> {
    globals.start_logging(None)?;
    let client = Client::new(&args.url, args.api_key.clone());
    let path = path(&args.app, &args.question);
    let mut parameters = args.parameters.clone();
    // As a parameter of the API it means the same.
    let is_given = parameters.iter().any(|(name, _)| name == "format");
    if args.format == Format::Csv && !is_given {
        if !WITH_CSV.contains(&args.question.as_str()) {
            let question = &args.question;
            let message = format!("{question} has no CSV; --format must be table or json");
            return Err(CliError::Usage(message));
        }
        parameters.push(("format".to_owned(), "csv".to_owned()));
    }
    let answer = client.get(&path, &parameters)?;
    if args.format != Format::Table || is_given {
        print(&answer)?;
        return Ok(Exit::Done);
    }
    let answer: Value = serde_json::from_str(&answer)
        .map_err(|error| CliError::Dependency(anyhow::Error::new(error)))?;
    let text = match args.question.as_str() {
        "ltv" => table::ltv(&answer, None),
        "revenue" => table::revenue(&answer),
        question if question.starts_with("customers/") => table::customer(&answer),
        _ => table::rows(&answer),
    };
    print(&text)?;
    Ok(Exit::Done)
}

/// The path of a question; behind its first slash stands one id, of whatever characters.
fn path(app: &str, question: &str) -> String {
    let (name, id) = match question.split_once('/') {
        Some((name, id)) => (name, Some(id)),
        None => (question, None),
    };
    let mut path = format!("/v1/apps/{}/{}", segment(app), segment(name));
    if let Some(id) = id {
        path.push('/');
        path.push_str(&segment(id));
    }
    path
}
