//! Avro object container files, whose records are read as those of the stream are.
//!
//! The container is taken apart here; what its records mean, by whatever schema they were written,
//! is for [`WriterSchema`] to say. The name of the record is of no account.

use std::io::{BufRead as _, Read as _};
use std::path::Path;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::{Codec, Schema};

use crate::codec::avro_event::WriterSchema;
use crate::domain::event::BillingEvent;

use super::input::Text;
use super::owned::owned;
use super::{ImportError, OpenError, Row};

const MAGIC: [u8; 4] = *b"Obj\x01";
type Sync = [u8; 16];

/// Longest block in bytes, compressed or not: the library decompresses no longer ones.
const BLOCK_BYTES_MAX: u64 = 512 << 20;

pub(super) struct Records {
    text: Text,
    header: Header,
    events: WriterSchema,
    block: Vec<u8>,
    /// Where in the block the next record begins.
    at: usize,
    /// Records of the block that are still to come.
    left: u64,
    record: u64,
}

struct Header {
    json: String,
    schema: Schema,
    codec: Codec,
    sync: Sync,
}

impl Records {
    pub(super) fn open(path: &Path, mut text: Text) -> Result<Self, OpenError> {
        let header = Header::read(&mut text)
            .map_err(|message| OpenError::Avro { path: path.to_owned(), message })?;
        let events = WriterSchema::parse_of_any_name(&header.json)
            .map_err(|source| OpenError::Schema { path: path.to_owned(), source })?;
        Ok(Self { text, header, events, block: Vec::new(), at: 0, left: 0, record: 0 })
    }

    pub(super) fn next_row(&mut self) -> Option<Row> {
        let next = self.next_datum().transpose()?;
        self.record += 1;
        let event = next.map_err(ImportError::unreadable).and_then(|datum| self.event(&datum));
        Some((self.record, event))
    }

    fn event(&self, datum: &[u8]) -> Result<BillingEvent<'static>, ImportError> {
        let event = self.events.decode(datum).map(owned);
        event.map_err(|error| {
            let json = read(&self.header.schema, &mut &datum[..])
                .and_then(|value| serde_json::Value::try_from(value).map_err(words));
            ImportError::of_decoding(&error, json.map(|json| json.to_string()).unwrap_or_default())
        })
    }

    /// The bytes of the next record; `None` at the end.
    fn next_datum(&mut self) -> Result<Option<Vec<u8>>, String> {
        while self.left == 0 {
            if self.at < self.block.len() {
                return Err("a block is longer than its records".to_owned());
            }
            if self.text.fill_buf().map_err(words)?.is_empty() {
                return Ok(None);
            }
            self.next_block()?;
        }
        let rest = &self.block[self.at..];
        let length = self.events.datum_length(rest).map_err(words)?;
        self.at += length;
        self.left -= 1;
        Ok(Some(rest[..length].to_vec()))
    }

    fn next_block(&mut self) -> Result<(), String> {
        let records = long(&mut self.text)?;
        let length = long(&mut self.text)?;
        if length > BLOCK_BYTES_MAX {
            return Err(format!("a block is {length} bytes long"));
        }
        (self.at, self.left) = (0, records);
        self.block.clear();
        // Memory is taken for what is there, not for what the length promises.
        let mut bytes = self.text.by_ref().take(length);
        bytes.read_to_end(&mut self.block).map_err(words)?;
        let mut sync = Sync::default();
        self.text.read_exact(&mut sync).map_err(words)?;
        if sync != self.header.sync {
            return Err("a block does not end with the mark of the file".to_owned());
        }
        self.header.codec.decompress(&mut self.block).map_err(words)
    }
}

impl Header {
    fn read(text: &mut Text) -> Result<Self, String> {
        let mut magic = [0; MAGIC.len()];
        text.read_exact(&mut magic).map_err(words)?;
        if magic != MAGIC {
            return Err("it does not begin as one".to_owned());
        }
        let Value::Map(entries) = read(&Schema::map(Schema::Bytes).build(), text)? else {
            return Err("it has no metadata".to_owned());
        };
        let entry = |name: &str| match entries.get(name) {
            Some(Value::Bytes(bytes)) => std::str::from_utf8(bytes).map(Some).map_err(words),
            _ => Ok(None),
        };
        let json = entry("avro.schema")?.ok_or("it has no schema")?.to_owned();
        let codec = entry("avro.codec")?.unwrap_or("null");
        let codec = codec.parse().map_err(|_| format!("its codec \"{codec}\" is not supported"))?;
        let schema = Schema::parse_str(&json).map_err(words)?;
        let mut sync = Sync::default();
        text.read_exact(&mut sync).map_err(words)?;
        Ok(Self { json, schema, codec, sync })
    }
}

/// A value of the container itself, or a record as the library reads it.
fn read(schema: &Schema, from: &mut impl std::io::Read) -> Result<Value, String> {
    let reader = GenericDatumReader::builder(schema).build().map_err(words)?;
    reader.read_value(from).map_err(words)
}

/// A count or a length.
fn long(text: &mut Text) -> Result<u64, String> {
    match read(&Schema::Long, text)? {
        Value::Long(number) => u64::try_from(number).map_err(|_| "a length is negative".to_owned()),
        _ => Err("a length is no number".to_owned()),
    }
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
