//! One JSON event per line; blank lines mean nothing.

use crate::codec::json_event;

use super::input::{Line, Text, next_line};
use super::owned::owned;
use super::{ImportError, Row};

pub(super) struct Lines {
    text: Text,
    line: u64,
}

impl Lines {
    pub(super) fn new(text: Text) -> Self {
        Self { text, line: 0 }
    }

    pub(super) fn next_row(&mut self) -> Option<Row> {
        loop {
            let next = next_line(&mut self.text);
            self.line += 1;
            let bytes = match next {
                Ok(None) => return None,
                Ok(Some(Line::Whole(bytes))) => bytes,
                Ok(Some(Line::TooLong(start))) => {
                    let start = String::from_utf8_lossy(&start);
                    let error = ImportError::row("line_too_long", "the line is too long", start);
                    return Some((self.line, Err(error)));
                }
                Err(error) => return Some((self.line, Err(ImportError::unreadable(error)))),
            };
            if bytes.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let event = json_event::decode(&bytes)
                .map(owned)
                .map_err(|error| ImportError::of_decoding(&error, String::from_utf8_lossy(&bytes)));
            return Some((self.line, event));
        }
    }
}
