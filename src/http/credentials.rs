//! Secrets as they stand in headers.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// Base64 with or without padding, as clients send both.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The text of `X-API-Key`, or what follows `Bearer`.
pub fn api_key(headers: &HeaderMap) -> Option<&str> {
    match headers.get("x-api-key") {
        Some(key) => key.to_str().ok().map(str::trim),
        None => of_scheme(headers, "bearer"),
    }
}

/// What follows the scheme in `Authorization`; the scheme in any case.
pub fn of_scheme<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let (given, secret) = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then(|| secret.trim())
}

/// User name and password of `Authorization: Basic`; the password is `None` if what was encoded
/// has no colon.
pub fn basic(headers: &HeaderMap) -> Option<(String, Option<String>)> {
    let decoded = BASE64.decode(of_scheme(headers, "basic")?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    Some(match text.split_once(':') {
        Some((user, password)) => (user.to_owned(), Some(password.to_owned())),
        None => (text, None),
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(authorization: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(authorization))])
    }

    #[test]
    fn basic_credentials_come_with_and_without_a_colon_and_padding() {
        let user = |text| basic(&headers(text));
        assert_eq!(user("Basic a2V5"), Some(("key".into(), None)));
        assert_eq!(user("basic a2V5Og=="), Some(("key".into(), Some(String::new()))));
        assert_eq!(user("Basic a2V5Og"), Some(("key".into(), Some(String::new()))));
        assert_eq!(user("Basic a2V5OmtleQ=="), Some(("key".into(), Some("key".into()))));
        for text in ["Basic", "Basic %", "Bearer a2V5", "Basic /w=="] {
            assert_eq!(user(text), None, "{text}");
        }
    }
}
