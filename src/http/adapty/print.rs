//! Figures as JSON doubles and as cells of CSV: quotients of exact sums, never rounded before.

use crate::metrics_api::flows::Flows;
use crate::metrics_api::ltv::Flow;
use crate::metrics_api::question::Measure;

/// Micro-units of money in a unit of a currency.
const MICROS: f64 = 1e6;

/// Money as a double of units.
pub fn units(micros: i128) -> f64 {
    micros as f64 / MICROS
}

/// Money per head as a double of units; 0 without heads.
pub fn per_head(micros: i128, heads: i64) -> f64 {
    if heads == 0 { 0.0 } else { micros as f64 / (heads as f64 * MICROS) }
}

/// How much `part` is of `whole`, counts or micro-units, in percent; 0 of nothing.
pub fn percent(part: i128, whole: i128) -> f64 {
    if whole == 0 { 0.0 } else { (100 * part) as f64 / whole as f64 }
}

/// The same of averages, which are doubles already.
pub fn percent_of_average(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { 100.0 * (part / whole) }
}

/// Payments less refunds, micro-units.
pub fn revenue(flows: &Flows, measure: Measure) -> i128 {
    Flow::of(flows, measure).revenue_micros()
}

/// A double as JSON writes it.
pub fn text(value: f64) -> String {
    serde_json::to_string(&value).unwrap_or_default()
}

/// Rows of CSV with quotes where they are needed; rows may be of different lengths.
pub fn csv(rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    for row in rows {
        // A vector takes whatever is written.
        let _ = writer.write_record(row);
    }
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_the_doubles_nearest_to_the_quotients() {
        assert_eq!(text(per_head(90_000_000, 3)), "30.0");
        assert_eq!(text(per_head(80_000_000, 3)), "26.666666666666668");
        assert_eq!(text(per_head(1, 0)), "0.0");
        assert_eq!(text(units(-100_000)), "-0.1");
        assert_eq!(text(percent(2, 3)), "66.66666666666667");
        assert_eq!(text(percent(25_553_356, 25_553_356)), "100.0");
        assert_eq!(text(percent(1, 0)), "0.0");
        assert_eq!(text(percent_of_average(25.553356, 25.553356)), "100.0");
        assert_eq!(csv([vec!["a,b".to_owned(), "\"".to_owned()]]), "\"a,b\",\"\"\"\"\n");
    }
}
