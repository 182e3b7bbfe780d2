//! Opens a file, counts what is read of it and undoes its compression.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

const BUFFER_BYTES: usize = 128 * 1024;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// A frame of zstd that holds no data, with which the files of some compressors begin; the first byte is one of
/// sixteen.
const ZSTD_SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];
const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// Uncompressed bytes.
pub(super) type Text = Box<dyn BufRead + Send>;

pub(super) struct Input {
    pub(super) text: Text,
    /// Bytes taken from the file.
    pub(super) read: Arc<AtomicU64>,
    pub(super) bytes_total: Option<u64>,
}

pub(super) fn open(path: &Path) -> io::Result<Input> {
    let (file, bytes_total): (Box<dyn Read + Send>, _) = if path.as_os_str() == "-" {
        (Box::new(io::stdin()), None)
    } else {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let bytes_total = metadata.is_file().then_some(metadata.len());
        (Box::new(file), bytes_total)
    };
    let read = Arc::new(AtomicU64::new(0));
    let counted = Counted { file, read: Arc::clone(&read) };
    let mut raw = BufReader::with_capacity(BUFFER_BYTES, counted);
    let start = raw.fill_buf()?;
    let is_skippable = start.first().is_some_and(|first| first & 0xf0 == 0x50)
        && start.get(1..4) == Some(&ZSTD_SKIPPABLE);
    let mut text: Text = if start.starts_with(&GZIP) {
        Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(raw)))
    } else if start.starts_with(&ZSTD) || is_skippable {
        let decoder = zstd::stream::read::Decoder::with_buffer(raw)?;
        Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder))
    } else {
        Box::new(raw)
    };
    if text.fill_buf()?.starts_with(&BYTE_ORDER_MARK) {
        text.consume(BYTE_ORDER_MARK.len());
    }
    Ok(Input { text, read, bytes_total })
}

struct Counted {
    file: Box<dyn Read + Send>,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.read.fetch_add(u64::try_from(count).unwrap_or(0), Ordering::Relaxed);
        Ok(count)
    }
}

/// Longest line in bytes; a longer one is refused without being kept.
pub(super) const LINE_BYTES_MAX: usize = 1 << 20;

/// A line without its end.
pub(super) enum Line {
    Whole(Vec<u8>),
    /// Longer than [`LINE_BYTES_MAX`]: its beginning.
    TooLong(Vec<u8>),
}

/// The next line, or `None` at the end.
pub(super) fn next_line(text: &mut Text) -> io::Result<Option<Line>> {
    let mut line = Vec::new();
    let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
    if text.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') && line.len() >= LINE_BYTES_MAX {
        line.truncate(200);
        text.skip_until(b'\n')?;
        return Ok(Some(Line::TooLong(line)));
    }
    while matches!(line.last(), Some(b'\n' | b'\r')) {
        line.pop();
    }
    Ok(Some(Line::Whole(line)))
}
