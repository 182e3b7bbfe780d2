//! Countries by the names that people use.

/// Names in use that are shorter or plainer than those of ISO 3166, or not among them.
const PLAINER: [(&str, &str); 22] = [
    ("BN", "Brunei"),
    ("BO", "Bolivia"),
    ("CD", "DR Congo"),
    ("FK", "Falkland Islands"),
    ("FM", "Micronesia"),
    ("GB", "United Kingdom"),
    ("IR", "Iran"),
    ("KP", "North Korea"),
    ("KR", "South Korea"),
    ("LA", "Laos"),
    ("MD", "Moldova"),
    ("NL", "Netherlands"),
    ("PS", "Palestine"),
    ("RU", "Russia"),
    ("SY", "Syria"),
    ("TW", "Taiwan"),
    ("TZ", "Tanzania"),
    ("US", "United States"),
    ("VA", "Vatican City"),
    ("VE", "Venezuela"),
    ("VN", "Vietnam"),
    ("XK", "Kosovo"),
];

/// The English name of a country code; the code itself if it is no country's.
pub fn english(code: &str) -> &str {
    let plainer = PLAINER.iter().find(|(known, _)| *known == code).map(|(_, name)| *name);
    plainer.or_else(|| rust_iso3166::from_alpha2(code).map(|country| country.name)).unwrap_or(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn countries_have_the_names_that_people_use() {
        for (code, name) in [
            ("US", "United States"),
            ("GB", "United Kingdom"),
            ("DE", "Germany"),
            ("CZ", "Czechia"),
            ("XX", "XX"),
            ("", ""),
        ] {
            assert_eq!(english(code), name);
        }
        for (code, _) in PLAINER.iter().filter(|(code, _)| *code != "XK") {
            assert!(rust_iso3166::from_alpha2(code).is_some(), "{code}");
        }
    }
}
