//! Identifiers: those that vendors' paths take, and those that name a request.

/// Whether the text is a UUID: 8-4-4-4-12 hexadecimal digits.
pub fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// 32 random hexadecimal digits.
pub fn random_hex() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// A random UUID (version 4).
pub fn random_uuid() -> String {
    let bits = rand::random::<u128>() & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_uuid_is_one_of_version_4() {
        let id = random_uuid();
        assert!(is_uuid(&id), "{id}");
        assert_eq!(&id[14..15], "4", "{id}");
        assert!("89ab".contains(&id[19..20]), "{id}");
        assert_ne!(random_uuid(), id);
        for text in ["", "a1b2c3d4", "a1b2c3d4-e5f6-7890-abcd-ef123456789g"] {
            assert!(!is_uuid(text), "{text}");
        }
    }
}
