//! Bodies that come encoded with gzip or zstd.

use std::io::{self, Read};

use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;

use crate::http::problem::{Kind, Problem};

/// How a body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

/// Why a body was not decoded.
#[derive(Debug)]
pub enum NotDecoded {
    /// It is longer than was asked for.
    TooLong,
    /// It is not what the encoding says.
    Malformed,
}

impl Encoding {
    /// The encoding that the headers name, in any case of letters; of several none is taken.
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut named = headers.get_all(CONTENT_ENCODING).iter();
        let (first, others) = (named.next(), named.next());
        let name = first.map(|name| name.to_str().map(str::to_ascii_lowercase));
        let encoding = match name.as_ref().map(|name| name.as_deref().map(str::trim)) {
            None | Some(Ok("" | "identity")) => Some(Self::Identity),
            Some(Ok("gzip" | "x-gzip")) => Some(Self::Gzip),
            Some(Ok("zstd")) => Some(Self::Zstd),
            Some(_) => None,
        };
        encoding.filter(|_| others.is_none()).ok_or_else(|| {
            let detail = "the body must not be encoded, or with gzip or zstd";
            Problem::new(Kind::UnsupportedMediaType, detail)
        })
    }

    /// The body itself, of at most so many bytes. As files, it may be several that follow each other, each encoded on
    /// its own (RFC 1952, section 2.2; RFC 8878, section 3).
    pub fn decode(self, body: Bytes, bytes_max: usize) -> Result<Bytes, NotDecoded> {
        let decoded = match self {
            Self::Identity => return Ok(body),
            Self::Gzip => read(flate2::bufread::MultiGzDecoder::new(&*body), bytes_max),
            Self::Zstd => zstd::stream::read::Decoder::with_buffer(&*body)
                .and_then(|decoder| read(decoder, bytes_max)),
        };
        let decoded = decoded.map_err(|_| NotDecoded::Malformed)?;
        if decoded.len() > bytes_max { Err(NotDecoded::TooLong) } else { Ok(decoded.into()) }
    }
}

/// All that is to be read, or one byte more than the most.
fn read(from: impl Read, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take((bytes_max as u64).saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}
