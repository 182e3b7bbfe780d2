//! Writes records that no well-behaved client writes: headers of any bytes.
//!
//! Speaks the protocol itself (Produce, version 3), since client libraries take names of headers
//! as text.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// A record as it goes into the batch.
#[derive(Debug, Clone, Default)]
pub struct RawRecord {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// Name and value, neither of them text.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// Appends the records to partition 0 of a topic in one batch; returns the first one's offset.
pub fn append(brokers: &str, topic: &str, timestamp_ms: i64, records: &[RawRecord]) -> i64 {
    let batch = batch(timestamp_ms, records);
    let mut request = Vec::new();
    // Api key 0, version 3, correlation 1, client id; then no transaction, all replicas, 10 s.
    request.extend([0, 0, 0, 3, 0, 0, 0, 1]);
    put_text(&mut request, "raw");
    request.extend([0xff, 0xff, 0xff, 0xff]);
    request.extend(10_000_i32.to_be_bytes());
    request.extend(1_i32.to_be_bytes());
    put_text(&mut request, topic);
    request.extend(1_i32.to_be_bytes());
    request.extend(0_i32.to_be_bytes());
    request.extend(length(batch.len()));
    request.extend(batch);
    let mut stream = TcpStream::connect(brokers).unwrap();
    stream.write_all(&length(request.len())).unwrap();
    stream.write_all(&request).unwrap();
    let mut size = [0; 4];
    stream.read_exact(&mut size).unwrap();
    let mut answer = vec![0; usize::try_from(i32::from_be_bytes(size)).unwrap()];
    stream.read_exact(&mut answer).unwrap();
    // Correlation, one topic with its name, one partition with its number; then error and offset.
    let at = 4 + 4 + 2 + topic.len() + 4 + 4;
    let error = i16::from_be_bytes(answer[at..at + 2].try_into().unwrap());
    assert_eq!(error, 0, "the broker refuses the batch");
    i64::from_be_bytes(answer[at + 2..at + 10].try_into().unwrap())
}

fn batch(timestamp_ms: i64, records: &[RawRecord]) -> Vec<u8> {
    let count = i32::try_from(records.len()).unwrap();
    // What the checksum is over: no compression, creation time, no producer.
    let mut checked = vec![0, 0];
    checked.extend((count - 1).to_be_bytes());
    checked.extend(timestamp_ms.to_be_bytes());
    checked.extend(timestamp_ms.to_be_bytes());
    checked.extend((-1_i64).to_be_bytes());
    checked.extend((-1_i16).to_be_bytes());
    checked.extend((-1_i32).to_be_bytes());
    checked.extend(count.to_be_bytes());
    for (at, record) in (0..).zip(records) {
        let mut body = vec![0];
        put_varint(&mut body, 0);
        put_varint(&mut body, at);
        put_bytes(&mut body, record.key.as_deref());
        put_bytes(&mut body, record.value.as_deref());
        put_varint(&mut body, i64::try_from(record.headers.len()).unwrap());
        for (name, value) in &record.headers {
            put_bytes(&mut body, Some(name));
            put_bytes(&mut body, value.as_deref());
        }
        put_bytes(&mut checked, Some(&body));
    }
    let mut batch = 0_i64.to_be_bytes().to_vec();
    // From the leader's epoch on: epoch, magic 2, checksum.
    batch.extend(length(4 + 1 + 4 + checked.len()));
    batch.extend((-1_i32).to_be_bytes());
    batch.push(2);
    batch.extend(crc32c(&checked).to_be_bytes());
    batch.extend(checked);
    batch
}

fn length(bytes: usize) -> [u8; 4] {
    i32::try_from(bytes).unwrap().to_be_bytes()
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend(i16::try_from(text.len()).unwrap().to_be_bytes());
    out.extend(text.as_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    let Some(bytes) = bytes else { return put_varint(out, -1) };
    put_varint(out, i64::try_from(bytes.len()).unwrap());
    out.extend(bytes);
}

fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    out.push(u8::try_from(rest).unwrap());
}

/// Castagnoli's polynomial, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32| (crc >> 1) ^ (0x82f6_3b78 & 0u32.wrapping_sub(crc & 1));
    let fold = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc));
    !bytes.iter().fold(!0, fold)
}

#[test]
fn the_checksum_is_the_one_of_the_specification() {
    // RFC 3720, B.4: 32 bytes of zeros, and "123456789".
    assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}
