//! Exact quotients of money and heads, rounded once, when printed.

use crate::domain::money::div_half_away;

/// Micro-units over a count; nothing is rounded before it is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ratio {
    pub micros: i128,
    pub count: i64,
}

impl Ratio {
    /// The quotient in whole micro-units, halves away from zero; `None` over no heads.
    pub fn rounded_micros(self) -> Option<i128> {
        (self.count > 0).then(|| div_half_away(self.micros, i128::from(self.count)))
    }

    /// The quotient in units with `decimals` (up to 6) decimals, rounded once from the exact
    /// quotient, halves away from zero; `None` over no heads.
    pub fn units(self, decimals: u32) -> Option<String> {
        let decimals = decimals.min(6);
        let step = 10i128.pow(6 - decimals);
        let rounded =
            (self.count > 0).then(|| div_half_away(self.micros, i128::from(self.count) * step))?;
        Some(fixed(rounded, decimals))
    }
}

/// An exact quotient of anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fraction {
    pub numerator: i128,
    pub denominator: i128,
}

impl Fraction {
    /// The quotient with `decimals` (up to 6) decimals, rounded once, halves away from zero;
    /// `None` if the denominator is not above zero.
    pub fn decimal(self, decimals: u32) -> Option<String> {
        let decimals = decimals.min(6);
        if self.denominator <= 0 {
            return None;
        }
        let scale = 10i128.pow(decimals);
        let whole = (self.numerator / self.denominator).saturating_mul(scale);
        // The rest is smaller than the denominator, and its sign that of the whole.
        let rest = (self.numerator % self.denominator).saturating_mul(scale);
        let rounded = whole.saturating_add(div_half_away(rest, self.denominator));
        Some(fixed(rounded, decimals))
    }
}

/// An integer of the last decimal's units as text.
fn fixed(rounded: i128, decimals: u32) -> String {
    let (sign, size) = (if rounded < 0 { "-" } else { "" }, rounded.unsigned_abs());
    let unit = 10u128.pow(decimals);
    if decimals == 0 {
        return format!("{sign}{size}");
    }
    format!("{sign}{}.{:0width$}", size / unit, size % unit, width = decimals as usize)
}

/// Micro-units as units with six decimals: an exact text.
pub fn units(micros: i128) -> String {
    Ratio { micros, count: 1 }.units(6).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_are_rounded_once_and_away_from_zero() {
        let value = |micros, count, decimals| Ratio { micros, count }.units(decimals);
        assert_eq!(value(47_000_000, 3, 2).as_deref(), Some("15.67"));
        assert_eq!(value(-5_000_000, 8, 2).as_deref(), Some("-0.63"));
        assert_eq!(value(-5_000_000, 8, 0).as_deref(), Some("-1"));
        // 0.004999… must not become 0.005 and then 0.01.
        assert_eq!(value(49_999_999, 10_000, 2).as_deref(), Some("0.00"));
        assert_eq!(value(1, 0, 2), None);
        assert_eq!(units(-1_500_000), "-1.500000");
    }

    #[test]
    fn fractions_are_rounded_once_and_away_from_zero() {
        let value = |numerator, denominator, decimals| {
            Fraction { numerator, denominator }.decimal(decimals)
        };
        for (numerator, denominator, decimals, text) in [
            (1, 8, 2, "0.13"),
            (-1, 8, 2, "-0.13"),
            (-1, 1_000, 2, "0.00"),
            (9_999, 1_000, 2, "10.00"),
            (-5, 2, 0, "-3"),
            (i128::MAX / 4, 1, 0, "42535295865117307932921825928971026431"),
        ] {
            assert_eq!(value(numerator, denominator, decimals).as_deref(), Some(text));
        }
        assert_eq!(value(1, 0, 2), None);
    }
}
