//! A served process without a broker, and events for it.

use std::path::Path;

use crate::support::process::Served;

/// A service of the app `default` in US dollars, without rates.
pub fn served(folder: &Path) -> Served {
    served_with_log(folder, &folder.join("log"))
}

/// The same, with its log written there.
pub fn served_with_log(folder: &Path, log: &Path) -> Served {
    let data = folder.join("data").to_string_lossy().into_owned();
    let arguments = ["--embedded", "--listen", "127.0.0.1:0", "--data-dir", &data];
    Served::start(&arguments, log)
}

/// A payment of one unit, number `n`, in this currency.
pub fn payment(n: usize, currency: &str) -> String {
    format!(
        r#"{{"event_id":"e{n}","app_id":"default","customer_id":"c{n}","kind":"purchase","occurred_at":"2024-01-01T00:00:00Z","gross_micros":1000000,"currency":"{currency}"}}"#
    )
}
