//! Which requests go through a proxy: those that leave this machine, where the environment names one.

use std::net::IpAddr;

use ureq::Proxy;
use ureq::http::Uri;

/// The proxy for requests to an address, by `ALL_PROXY`, `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`; none for
/// this machine, which no proxy reaches.
pub fn proxy_for(url: &str) -> Option<Proxy> {
    if is_loopback(url) { None } else { Proxy::try_from_env() }
}

fn is_loopback(url: &str) -> bool {
    let uri = url.parse::<Uri>().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    // The address that stands for all of a machine's own reaches this one.
    let is_own = |address: IpAddr| address.is_loopback() || address.is_unspecified();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(is_own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_by_its_names() {
        for url in [
            "http://localhost:8080",
            "http://127.0.0.1:8080/v1",
            "https://127.8.0.1",
            "http://[::1]:8080/",
            "http://user:word@LocalHost/",
            "http://0.0.0.0:8080",
        ] {
            assert!(is_loopback(url), "{url}");
        }
        for url in ["http://localhost.example", "https://10.0.0.1", "http://[::2]", ""] {
            assert!(!is_loopback(url), "{url}");
        }
    }
}
