//! Headers of records, read where the client library holds them, and only when somebody asks.
//!
//! The library's safe interface panics on a name that is not UTF-8, and whoever writes to the topic
//! chooses the names. Here what is no text in a name is replaced; values are what they are.
//!
//! The library unpacks the headers of a message at the first question and keeps them with it.
//!
//! # Unsafe code
//!
//! What must hold: a [`LibraryMessage`] is a message of the library and not a copy of one, since the
//! library finds more behind it; it is alive, and no other thread asks it.

use std::ffi::CStr;

use rdkafka::bindings::{rd_kafka_header_get_all, rd_kafka_message_headers, rd_kafka_message_t};
use rdkafka::message::BorrowedMessage;
use rdkafka::types::RDKafkaRespErr;

use crate::stream::{Header, ReadHeaders};

/// A message in the library's memory.
#[derive(Debug)]
#[repr(transparent)]
pub(in crate::kafka) struct LibraryMessage(rd_kafka_message_t);

impl LibraryMessage {
    /// The message of the safe interface.
    pub(in crate::kafka) fn of<'m>(message: &'m BorrowedMessage<'_>) -> &'m Self {
        // SAFETY: the pointer is the library's own, and the message lives as long as it is borrowed.
        unsafe { Self::at(&*message.ptr()) }
    }

    /// # Safety
    /// The message lies where the library has put it, and is used by one thread.
    pub(in crate::kafka) unsafe fn at(message: &rd_kafka_message_t) -> &Self {
        // SAFETY: the same layout.
        unsafe { &*std::ptr::from_ref(message).cast::<Self>() }
    }
}

impl ReadHeaders for LibraryMessage {
    fn read(&self) -> Vec<Header> {
        let mut all = std::ptr::null_mut();
        // SAFETY: the message is the library's, and `all` is there to be written.
        let code = unsafe { rd_kafka_message_headers(&raw const self.0, &raw mut all) };
        let mut headers = Vec::new();
        if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return headers;
        }
        loop {
            let (mut name, mut value, mut size) = (std::ptr::null(), std::ptr::null(), 0);
            // SAFETY: the headers live with the message, and the rest is there to be written.
            let code = unsafe {
                let place = headers.len();
                rd_kafka_header_get_all(all, place, &raw mut name, &raw mut value, &raw mut size)
            };
            if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                return headers;
            }
            // SAFETY: names end with a zero byte; values are null or have this size.
            let (name, value) = unsafe {
                let value = (!value.is_null())
                    .then(|| std::slice::from_raw_parts(value.cast::<u8>(), size).to_vec());
                (CStr::from_ptr(name).to_string_lossy().into_owned(), value)
            };
            headers.push(Header { name, value });
        }
    }
}
