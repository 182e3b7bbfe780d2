//! Reads billing events from files: NDJSON, CSV, Avro containers, each as it is or compressed.
//!
//! [`reader`] gives one [`ImportItem`] per event or refused row, in the order of the file, with its
//! line and how far the file is read. Nothing is sent anywhere from here. Compression (gzip, zstd)
//! is recognised by the first bytes, not by the name.
//!
//! A CSV file whose columns are named as the fields of the event needs nothing else (attributes:
//! `attributes.NAME`); an unknown column is refused by name. Any other table needs a map, a TOML
//! file that says which column is what; its form is described in [`map`].
//!
//! Always true
//! * A row is an event, refused with its line and field, or left out by a named rule of the map
//!   and counted ([`Reader::skipped`]); none disappears.
//! * Amounts are exact: a decimal with more places than micro-units have is refused, not rounded.
//! * A file that cannot be read to its end yields a last item that says so
//!   ([`ImportError::is_fatal`]).

mod avro;
mod decimal;
mod input;
pub mod map;
mod mapped;
mod ndjson;
mod owned;
mod table;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::codec::error::{DecodeError, SchemaError};
use crate::domain::event::{BillingEvent, FieldError};

pub use map::MapError;

/// The form of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON event per line.
    Ndjson,
    /// A table; with a map any, else with the event's field names as header. In a file named `.tsv` tabs are
    /// between its cells, else commas, unless a map says otherwise.
    Csv,
    /// An Avro object container file.
    Avro,
}

impl Format {
    /// By the ending of the name, `.gz` and `.zst` aside; NDJSON for all others.
    pub fn of_path(path: &Path) -> Self {
        match ending(path).as_str() {
            "csv" | "tsv" => Self::Csv,
            "avro" => Self::Avro,
            _ => Self::Ndjson,
        }
    }
}

/// The ending of a file's name in small letters, `.gz` and `.zst` aside; empty without any.
fn ending(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase());
    let name = name.unwrap_or_default();
    let name = name.strip_suffix(".gz").or(name.strip_suffix(".zst")).unwrap_or(&name);
    name.rsplit_once('.').map_or_else(String::new, |(_, ending)| ending.to_owned())
}

/// How to read a file.
#[derive(Debug, Clone, Default)]
pub struct ImportSettings {
    /// Absent: a table where there is a map, else by the file's name.
    pub format: Option<Format>,
    /// The text of a map file.
    pub map: Option<String>,
    /// The app of events from a map that names none. Absent: `default`.
    pub app_id: Option<String>,
}

/// An event, or a row that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportItem {
    /// Line of the file, from 1, where the event or its first row begins; for Avro the record's
    /// ordinal.
    pub line: u64,
    /// Bytes of the file consumed up to here, compressed ones where it is compressed; for an event of
    /// several rows up to its first one. It never falls.
    pub bytes_read: u64,
    pub event: Result<BillingEvent<'static>, ImportError>,
}

/// Why a row is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ImportError {
    /// The field or column at fault, where there is one.
    pub field: Option<String>,
    /// Stable, such as `invalid_gross_micros`.
    pub code: String,
    pub message: String,
    /// The row, or the rows of the group, as they stand in the file: for the rejects file.
    pub raw: String,
}

const UNREADABLE: &str = "unreadable_file";

impl ImportError {
    /// The rest of the file is unread: it is damaged, or reading failed.
    pub fn is_fatal(&self) -> bool {
        self.code == UNREADABLE
    }

    fn row(code: &str, message: impl Into<String>, raw: impl Into<String>) -> Self {
        Self { field: None, code: code.to_owned(), message: message.into(), raw: raw.into() }
    }

    fn unreadable(error: impl std::fmt::Display) -> Self {
        Self::row(UNREADABLE, format!("the file can't be read further: {error}"), "")
    }

    fn of_field(error: FieldError, raw: impl Into<String>) -> Self {
        Self {
            field: Some(error.field.to_owned()),
            code: error.code(),
            message: error.message,
            raw: raw.into(),
        }
    }

    fn of_decoding(error: &DecodeError, raw: impl Into<String>) -> Self {
        Self {
            field: error.field().map(str::to_owned),
            code: error.reason().into_owned(),
            message: error.to_string(),
            raw: raw.into(),
        }
    }
}

/// Why a file cannot be begun.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{} can't be read", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the map is wrong")]
    Map(#[from] MapError),
    #[error("{} is not an Avro container file: {message}", path.display())]
    Avro { path: PathBuf, message: String },
    #[error("the records of {} can't be read as events", path.display())]
    Schema {
        path: PathBuf,
        #[source]
        source: SchemaError,
    },
    #[error("a map is for tables, not for {0:?} files")]
    MapWithoutTable(Format),
    /// A column that means nothing, or one that is there already.
    #[error("{} has the {} column \"{column}\"", path.display(), if *repeated { "repeated" } else { "unknown" })]
    WrongColumn { path: PathBuf, column: String, repeated: bool },
    #[error("{} has no header line", path.display())]
    NoHeader { path: PathBuf },
}

/// What a row became: its line, and an event or a refusal.
type Row = (u64, Result<BillingEvent<'static>, ImportError>);

enum Rows {
    Ndjson(ndjson::Lines),
    Mapped(Box<mapped::Mapped>),
    Avro(Box<avro::Records>),
}

/// The events of one file.
pub struct Reader {
    rows: Rows,
    read: Arc<AtomicU64>,
    bytes_total: Option<u64>,
    ended: bool,
}

/// Opens a file; `-` is standard input.
///
/// # Errors
/// [`OpenError`] when the file, its header or the map can't be read. What is wrong with single
/// rows comes with the items.
pub fn reader(path: &Path, settings: &ImportSettings) -> Result<Reader, OpenError> {
    let default = if settings.map.is_some() { Format::Csv } else { Format::of_path(path) };
    let format = settings.format.unwrap_or(default);
    if settings.map.is_some() && format != Format::Csv {
        return Err(OpenError::MapWithoutTable(format));
    }
    let unreadable = |source| OpenError::Read { path: path.to_owned(), source };
    let input = input::open(path).map_err(unreadable)?;
    let rows = match format {
        Format::Ndjson => Rows::Ndjson(ndjson::Lines::new(input.text)),
        Format::Csv => {
            let read = Arc::clone(&input.read);
            Rows::Mapped(Box::new(mapped::Mapped::open(path, (input.text, read), settings)?))
        }
        Format::Avro => Rows::Avro(Box::new(avro::Records::open(path, input.text)?)),
    };
    Ok(Reader { rows, read: input.read, bytes_total: input.bytes_total, ended: false })
}

impl Reader {
    /// Bytes of the whole file; `None` where that is unknown, as for standard input.
    pub fn bytes_total(&self) -> Option<u64> {
        self.bytes_total
    }

    /// How many rows or events each `skip_when` rule of the map has left out so far, by the
    /// rule's reason.
    pub fn skipped(&self) -> Vec<(String, u64)> {
        match &self.rows {
            Rows::Mapped(mapped) => mapped.skipped(),
            Rows::Ndjson(_) | Rows::Avro(_) => Vec::new(),
        }
    }
}

impl Iterator for Reader {
    type Item = ImportItem;

    fn next(&mut self) -> Option<ImportItem> {
        if self.ended {
            return None;
        }
        let row = match &mut self.rows {
            Rows::Ndjson(lines) => lines.next_row(),
            Rows::Mapped(mapped) => mapped.next_row(),
            Rows::Avro(records) => records.next_row(),
        };
        let (line, event) = row?;
        self.ended = event.as_ref().is_err_and(ImportError::is_fatal);
        let bytes_read = match &self.rows {
            Rows::Mapped(mapped) => mapped.group_read_at(),
            Rows::Ndjson(_) | Rows::Avro(_) => None,
        };
        let bytes_read = bytes_read.unwrap_or_else(|| self.read.load(Ordering::Relaxed));
        Some(ImportItem { line, bytes_read, event })
    }
}
