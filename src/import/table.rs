//! Rows of a table: comma-separated, separated by another character, or by blanks.

use std::collections::VecDeque;
use std::io::{self, Read};

use csv::{ByteRecord, StringRecord};

use super::ImportError;
use super::input::{LINE_BYTES_MAX, Line, Text, next_line};
use super::map::{Delimiter, Encoding, Shape};

/// A row's place and cells.
pub(super) struct Cells {
    /// Line of the file, from 1.
    pub(super) line: u64,
    /// Ordinal among the rows below the header, from 1.
    pub(super) row: u64,
    pub(super) cells: StringRecord,
}

impl Cells {
    /// A cell without blanks around it; empty where the row has no such column.
    pub(super) fn get(&self, column: usize) -> &str {
        self.cells.get(column).unwrap_or("").trim()
    }

    /// The row as text in the form of the file.
    pub(super) fn raw(&self, shape: Shape) -> String {
        raw(&self.cells, shape)
    }
}

/// A row as text in the form of the file, in UTF-8.
fn raw(cells: &StringRecord, shape: Shape) -> String {
    let delimiter = match shape.delimiter {
        Delimiter::Whitespace => return cells.iter().collect::<Vec<_>>().join(" "),
        Delimiter::Byte(delimiter) => delimiter,
    };
    let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(Vec::new());
    // Writing to memory cannot fail.
    let _ = writer.write_record(cells);
    let bytes = writer.into_inner().unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned()
}

enum Source {
    Csv(Box<csv::Reader<Watched>>),
    Whitespace(Text),
}

pub(super) struct Table {
    source: Source,
    shape: Shape,
    line: u64,
    row: u64,
    /// Every row has as many as the first.
    columns: Option<usize>,
    /// The first row, if it was looked at before it was asked for.
    first: Option<Result<Cells, (u64, ImportError)>>,
}

impl Table {
    pub(super) fn new(text: Text, shape: Shape) -> Self {
        let source = match shape.delimiter {
            Delimiter::Whitespace => Source::Whitespace(text),
            Delimiter::Byte(delimiter) => {
                let mut builder = csv::ReaderBuilder::new();
                builder.delimiter(delimiter).has_headers(false).flexible(true);
                Source::Csv(Box::new(builder.from_reader(Watched::new(text, delimiter))))
            }
        };
        Self { source, shape, line: 0, row: 0, columns: None, first: None }
    }

    /// The header's names; `None` in an empty file.
    pub(super) fn header(&mut self) -> Result<Option<Vec<String>>, ImportError> {
        let header = self.next_cells().transpose().map_err(|(_, error)| error)?;
        self.row = 0;
        Ok(header.map(|header| header.cells.iter().map(|name| name.trim().to_owned()).collect()))
    }

    /// How many columns the rows of a table without header have; `None` if that can't be told of the first.
    pub(super) fn width(&mut self) -> Option<usize> {
        self.first = self.next_cells();
        self.columns
    }

    /// The next row, or the line that is none and why.
    pub(super) fn next_cells(&mut self) -> Option<Result<Cells, (u64, ImportError)>> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        // Where text follows a closing quote.
        let mut wrong_at = None;
        let record = match &mut self.source {
            Source::Csv(reader) => {
                let mut record = ByteRecord::new();
                match reader.read_byte_record(&mut record) {
                    Ok(false) => return None,
                    Ok(true) => {
                        let end = reader.position().byte();
                        let within =
                            record.as_slice().iter().filter(|byte| **byte == b'\n').count();
                        self.line = reader.get_mut().line_of(end, within as u64);
                        wrong_at = reader.get_mut().text_after_quote(end);
                        Ok(record)
                    }
                    Err(error) => {
                        self.line = reader.get_ref().open_quote_line().unwrap_or(self.line);
                        Err(ImportError::unreadable(error))
                    }
                }
            }
            Source::Whitespace(text) => next_words(text, &mut self.line)?,
        };
        let line = self.line;
        self.row += 1;
        let cells = record.and_then(|record| self.decode(record));
        let cells = cells.and_then(|cells| match wrong_at {
            None => self.check_columns(cells),
            Some(line) => Err(text_after_quote(line, raw(&cells, self.shape))),
        });
        Some(match cells {
            Ok(cells) => Ok(Cells { line, row: self.row, cells }),
            Err(error) => Err((line, error)),
        })
    }

    fn decode(&self, record: ByteRecord) -> Result<StringRecord, ImportError> {
        match self.shape.encoding {
            Encoding::Utf8 => StringRecord::from_byte_record(record).map_err(|error| {
                let record = error.into_byte_record();
                let cells: Vec<_> = record.iter().map(String::from_utf8_lossy).collect();
                let message = "the row is not UTF-8 text";
                ImportError::row("invalid_text", message, cells.join(","))
            }),
            // Every byte is the character of the same number.
            Encoding::Latin1 => Ok(record
                .iter()
                .map(|cell| cell.iter().copied().map(char::from).collect::<String>())
                .collect()),
        }
    }

    fn check_columns(&mut self, cells: StringRecord) -> Result<StringRecord, ImportError> {
        let expected = *self.columns.get_or_insert(cells.len());
        if cells.len() == expected {
            return Ok(cells);
        }
        let message = format!("the row has {} columns instead of {expected}", cells.len());
        Err(ImportError::row("wrong_column_count", message, raw(&cells, self.shape)))
    }
}

/// A row in which a cell goes on after its closing quote: its quotes do not mean what they say, so that what seems to
/// be one row may be several.
fn text_after_quote(line: u64, raw: String) -> ImportError {
    let message = format!(
        "text follows a closing quote in line {line}; a quote within a quoted cell must be doubled, and a cell that \
         begins with a quote must be quoted"
    );
    ImportError::row("text_after_quote", message, raw)
}

/// A text that knows where its lines end, and where its quotes are wrong. The reader of rows does not know in which
/// line one begins: between two rows it may leave the end of a line, or lines with nothing in them, to the next. And it
/// takes any quotes: one that is never closed makes all that follows one cell. A quote that another one closes where a
/// cell ends, meant or not, is right.
struct Watched {
    text: Text,
    delimiter: u8,
    /// Bytes that were read.
    read: u64,
    /// Ends of lines before those in `ends`.
    passed: u64,
    /// Where line feeds are that were read, and not passed.
    ends: VecDeque<u64>,
    within: Within,
    /// Where the last quote opened, and its line.
    opened: (u64, u64),
    /// Where text follows a closing quote that was read and not asked for, and its line.
    after_quotes: VecDeque<(u64, u64)>,
}

/// What the next byte is in, as the reader of rows sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    /// Nothing of a cell was read: only here a quote opens.
    Beginning,
    Cell,
    Quotes,
    /// A quote was read within quotes: it closes them, or it is the first of a doubled one.
    AfterQuote,
    /// Blanks after a closing quote, which are no text.
    Blanks,
}

impl Watched {
    fn new(text: Text, delimiter: u8) -> Self {
        Self {
            text,
            delimiter,
            read: 0,
            passed: 0,
            ends: VecDeque::new(),
            within: Within::Beginning,
            opened: (0, 0),
            after_quotes: VecDeque::new(),
        }
    }

    /// The line, from 1, where a row begins that ends before the byte `end`, its own line end included if that was
    /// taken, and that has so many line feeds within its cells. Rows come in their order.
    fn line_of(&mut self, end: u64, within: u64) -> u64 {
        let mut last = None;
        while let Some(at) = self.ends.front().copied().filter(|at| *at < end) {
            self.ends.pop_front();
            self.passed += 1;
            last = Some(at);
        }
        let own = u64::from(last.is_some_and(|at| at + 1 == end));
        (1 + self.passed).saturating_sub(within + own)
    }

    /// The line where text follows a closing quote in a row that ends before the byte `end`, if it does. Rows come in
    /// their order.
    fn text_after_quote(&mut self, end: u64) -> Option<u64> {
        let mut first = None;
        while let Some((_, line)) = self.after_quotes.front().copied().filter(|(at, _)| *at < end) {
            self.after_quotes.pop_front();
            first.get_or_insert(line);
        }
        first
    }

    fn watch(&mut self, at: u64, byte: u8) {
        let line = 1 + self.passed + self.ends.len() as u64;
        self.within = match (self.within, byte) {
            (Within::Beginning, b'"') => {
                self.opened = (at, line);
                Within::Quotes
            }
            (Within::Quotes, b'"') => Within::AfterQuote,
            (Within::Quotes, _) | (Within::AfterQuote, b'"') => Within::Quotes,
            (_, b'\n' | b'\r') => Within::Beginning,
            (_, byte) if byte == self.delimiter => Within::Beginning,
            (Within::AfterQuote | Within::Blanks, b' ' | b'\t') => Within::Blanks,
            (Within::AfterQuote | Within::Blanks, _) => {
                self.after_quotes.push_back((at, line));
                Within::Cell
            }
            (Within::Beginning | Within::Cell, _) => Within::Cell,
        };
        if byte == b'\n' {
            self.ends.push_back(at);
        }
    }

    /// The line of the quote that is open.
    fn open_quote_line(&self) -> Option<u64> {
        (self.within == Within::Quotes).then_some(self.opened.1)
    }

    /// An error if the quote that is open will not be closed.
    fn check_open_quote(&self, is_end: bool) -> io::Result<()> {
        let Some(line) = self.open_quote_line() else { return Ok(()) };
        let by = if is_end {
            "by the end of the file".to_owned()
        } else if self.read - self.opened.0 > LINE_BYTES_MAX as u64 {
            format!("within {LINE_BYTES_MAX} bytes")
        } else {
            return Ok(());
        };
        let message = format!("a quote that opens in line {line} is not closed {by}");
        Err(io::Error::new(io::ErrorKind::InvalidData, message))
    }
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.text.read(buffer)?;
        for (at, byte) in (self.read..).zip(buffer.iter().take(count)) {
            self.watch(at, *byte);
        }
        self.read += count as u64;
        self.check_open_quote(count == 0 && !buffer.is_empty())?;
        Ok(count)
    }
}

/// The words of the next line that has any.
fn next_words(text: &mut Text, line: &mut u64) -> Option<Result<ByteRecord, ImportError>> {
    loop {
        let next = next_line(text);
        *line += 1;
        match next {
            Ok(None) => return None,
            Ok(Some(Line::Whole(bytes))) => {
                let words = bytes.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
                let record: ByteRecord = words.collect();
                if !record.is_empty() {
                    return Some(Ok(record));
                }
            }
            Ok(Some(Line::TooLong(start))) => {
                let start = String::from_utf8_lossy(&start);
                return Some(Err(ImportError::row("line_too_long", "the line is too long", start)));
            }
            Err(error) => return Some(Err(ImportError::unreadable(error))),
        }
    }
}
