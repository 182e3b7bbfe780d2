//! Money as integers: micro-units of a currency, and exact conversion.
//!
//! 1 000 000 micros are one unit of the currency. There is no float anywhere on the way of an
//! amount through this program; division happens once, at conversion, and once more when an
//! answer is printed.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

/// Largest gross amount of one event in micro-units: a thousand million units.
pub const GROSS_MICROS_MAX: i64 = 1_000_000_000_000_000;

/// Codes that ISO 4217 has withdrawn since 2008 (its table A.3) and the library of codes does not know, with their
/// decimals: payments of those days name them.
const WITHDRAWN: [(&str, u32); 19] = [
    ("ANG", 2),
    ("BYR", 0),
    ("CYP", 2),
    ("EEK", 2),
    ("GHC", 2),
    ("LTL", 2),
    ("LVL", 2),
    ("MRO", 2),
    ("MTL", 2),
    ("SKK", 2),
    ("STD", 2),
    ("TMM", 2),
    ("USS", 2),
    ("VEB", 2),
    ("VEF", 2),
    ("XFU", 2),
    ("ZMK", 2),
    ("ZWD", 2),
    ("ZWR", 2),
];

/// An ISO 4217 code, upper case; one that was withdrawn too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// US dollar, the reporting currency of an app that names none.
    pub const USD: Self = Self(*b"USD");

    /// The code as text, for example `EUR`.
    pub fn as_str(&self) -> &str {
        // Only ASCII capitals pass `from_str`, so this never falls back.
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }

    /// How many decimals the currency's smallest unit is: 2 for a cent, 0 for a yen; at most 6.
    pub fn minor_digits(&self) -> u32 {
        digits_of(self.as_str()).unwrap_or(2)
    }
}

/// The decimals of a code of ISO 4217, now or then; 2 of one that has none. `None` if it is no code.
fn digits_of(code: &str) -> Option<u32> {
    if let Some((_, digits)) = WITHDRAWN.iter().find(|(known, _)| *known == code) {
        return Some(*digits);
    }
    let known = iso_currency::Currency::from_code(code)?;
    Some(known.exponent().map_or(2, |digits| u32::from(digits).min(6)))
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not an upper-case ISO 4217 code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not an ISO 4217 currency code in upper case")]
pub struct UnknownCurrency(pub String);

impl FromStr for Currency {
    type Err = UnknownCurrency;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let code = text.as_bytes().try_into().ok().filter(is_assigned);
        code.map(Self).ok_or_else(|| UnknownCurrency(text.to_owned()))
    }
}

/// Whether the code is one of ISO 4217, now or then. Every payment names one, so the list is gone through once only.
fn is_assigned(code: &[u8; 3]) -> bool {
    const LETTERS: usize = 26;
    static ASSIGNED: LazyLock<Vec<bool>> = LazyLock::new(|| {
        let letter = |number: usize| b'A' + (number % LETTERS) as u8;
        let code = |place| [place / LETTERS / LETTERS, place / LETTERS, place].map(letter);
        let digits = |place| digits_of(Currency(code(place)).as_str());
        (0..LETTERS.pow(3)).map(|place| digits(place).is_some()).collect()
    });
    let number = |letter: u8| letter.is_ascii_uppercase().then(|| usize::from(letter - b'A'));
    let place = code.iter().try_fold(0, |place, letter| Some(place * LETTERS + number(*letter)?));
    place.is_some_and(|place| ASSIGNED[place])
}

/// Gross, proceeds (after store commission) and net (after commission and tax), in micro-units of
/// one currency, with `gross >= proceeds >= net >= 0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Amounts {
    pub gross: i64,
    pub proceeds: i64,
    pub net: i64,
}

impl Amounts {
    /// Each amount converted at `rate`; `None` when one leaves the range of an `i64`.
    pub fn convert(&self, rate: Rate) -> Option<Self> {
        Some(Self {
            gross: rate.convert(self.gross)?,
            proceeds: rate.convert(self.proceeds)?,
            net: rate.convert(self.net)?,
        })
    }
}

/// Units of the reporting currency for one unit of another one: an exact decimal above zero.
///
/// `mantissa / 10^scale`, without trailing zeros, so that equal rates are equal values. Digits and decimals are
/// so few that every amount times a mantissa, and twice every power, fit into an `i128`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    mantissa: u64,
    scale: u8,
}

/// Significant digits of a rate: more than a double has.
const RATE_DIGITS_MAX: usize = 18;
/// Decimals of a rate.
const RATE_SCALE_MAX: u8 = 36;

/// The text is not a decimal above zero of at most 18 significant digits and 36 decimals.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not {expected}", expected = Rate::EXPECTED)]
pub struct InvalidRate(pub String);

impl Rate {
    /// What a text must be.
    pub const EXPECTED: &str =
        "a decimal above 0 with at most 18 significant digits and 36 decimals";

    /// The rate of a currency against itself.
    pub const ONE: Self = Self { mantissa: 1, scale: 0 };

    /// The parts to store: mantissa and number of decimals.
    pub fn parts(self) -> (u64, u8) {
        (self.mantissa, self.scale)
    }

    /// The inverse of [`Rate::parts`]; `None` for parts that no rate has.
    pub fn from_parts(mantissa: u64, scale: u8) -> Option<Self> {
        let lowest = scale == 0 || !mantissa.is_multiple_of(10);
        let in_range =
            mantissa > 0 && mantissa < 10u64.pow(RATE_DIGITS_MAX as u32) && scale <= RATE_SCALE_MAX;
        (lowest && in_range).then_some(Self { mantissa, scale })
    }

    /// `micros` in the reporting currency, rounded once, half to even.
    ///
    /// `None` when the result leaves the range of an `i64`.
    pub fn convert(self, micros: i64) -> Option<i64> {
        if self.scale == 0 && self.mantissa == 1 {
            return Some(micros);
        }
        let product = i128::from(micros) * i128::from(self.mantissa);
        i64::try_from(div_half_even(product, 10i128.pow(u32::from(self.scale)))).ok()
    }
}

impl FromStr for Rate {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidRate(text.to_owned());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let fraction = fraction.trim_end_matches('0');
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let dangling = text.ends_with('.');
        if whole.is_empty() || dangling || !digits(whole) || !digits(fraction) {
            return Err(invalid());
        }
        let digits = || whole.bytes().chain(fraction.bytes()).skip_while(|digit| *digit == b'0');
        if digits().count() > RATE_DIGITS_MAX {
            return Err(invalid());
        }
        let mantissa = digits().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
        let scale = u8::try_from(fraction.len()).map_err(|_| invalid())?;
        Self::from_parts(mantissa, scale).ok_or_else(invalid)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mantissa, unit) = (u128::from(self.mantissa), 10u128.pow(u32::from(self.scale)));
        write!(f, "{}", mantissa / unit)?;
        if self.scale > 0 {
            write!(f, ".{:0width$}", mantissa % unit, width = usize::from(self.scale))?;
        }
        Ok(())
    }
}

/// `numerator / denominator` rounded to the nearest integer, halves to the even one.
///
/// `denominator` must be above zero.
pub fn div_half_even(numerator: i128, denominator: i128) -> i128 {
    let floor = numerator.div_euclid(denominator);
    let rest = numerator.rem_euclid(denominator);
    match (rest * 2).cmp(&denominator) {
        std::cmp::Ordering::Less => floor,
        std::cmp::Ordering::Greater => floor + 1,
        std::cmp::Ordering::Equal => floor + (floor & 1),
    }
}

/// `numerator / denominator` rounded to the nearest integer, halves away from zero.
///
/// `denominator` must be above zero.
pub fn div_half_away(numerator: i128, denominator: i128) -> i128 {
    let doubled = numerator.abs() * 2 + denominator;
    doubled / (denominator * 2) * numerator.signum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(micros: i64, rate: &str) -> Option<i64> {
        rate.parse::<Rate>().ok().and_then(|rate| rate.convert(micros))
    }

    #[test]
    fn a_currency_has_as_many_decimals_as_it_has() {
        for (code, digits) in [
            ("USD", 2),
            ("JPY", 0),
            ("KWD", 3),
            ("CLF", 4),
            ("XAU", 2),
            // Of Belarus until 2016, and of Curaçao until 2025.
            ("BYR", 0),
            ("ANG", 2),
        ] {
            assert_eq!(code.parse::<Currency>().unwrap().minor_digits(), digits, "{code}");
        }
    }

    #[test]
    fn a_currency_is_a_code_of_the_standard_in_upper_case() {
        let known = |code: &str| code.parse::<Currency>().map(|known| known.to_string());
        let codes = ["AED", "EUR", "USD", "XXX", "ZWG", "HRK", "LTL", "ANG"];
        assert_eq!(codes.map(known), codes.map(|code| Ok(code.to_owned())));
        for text in ["", "US", "USDX", "usd", "UsD", "US1", "US{", "US@", "AAA", "ZZZ", "é1"] {
            assert_eq!(known(text), Err(UnknownCurrency(text.to_owned())));
        }
        let letters = || (b'A'..=b'Z').map(char::from);
        for first in letters() {
            let codes = letters().flat_map(|second| letters().map(move |third| [second, third]));
            for code in codes.map(|[second, third]| format!("{first}{second}{third}")) {
                let is_now = iso_currency::Currency::from_code(&code).is_some();
                let was = WITHDRAWN.iter().any(|(withdrawn, _)| **withdrawn == code);
                assert!(!(is_now && was), "{code} is in both");
                assert_eq!(known(&code).is_ok(), is_now || was, "{code}");
            }
        }
    }

    #[test]
    fn conversion_rounds_once_half_to_even() {
        assert_eq!(converted(1_000_000, "1.0956"), Some(1_095_600));
        assert_eq!(converted(1, "0.5"), Some(0));
        assert_eq!(converted(3, "0.5"), Some(2));
        assert_eq!(converted(5, "0.50"), Some(2));
        assert_eq!(converted(7, "0.5"), Some(4));
        assert_eq!(converted(GROSS_MICROS_MAX, "100000"), None);
        // One by 1,379 as a double is printed.
        assert_eq!(converted(1_379_000_000, "0.0007251631617113851"), Some(1_000_000));
        let smallest = format!("0.{}1", "0".repeat(35));
        assert_eq!(converted(GROSS_MICROS_MAX, &smallest), Some(0));
        assert_eq!(converted(-GROSS_MICROS_MAX, "999999999999999.999"), None);
        assert_eq!(converted(-3, "0.500000000000000001"), Some(-2));
    }

    #[test]
    fn a_rate_is_a_positive_decimal_and_prints_as_it_means() {
        for (text, printed) in [
            ("1", "1"),
            ("01.50", "1.5"),
            ("0.0001", "0.0001"),
            ("120", "120"),
            ("0.0007251631617113851", "0.0007251631617113851"),
        ] {
            assert_eq!(text.parse::<Rate>().map(|rate| rate.to_string()), Ok(printed.to_owned()));
        }
        let too_small = format!("0.{}1", "0".repeat(36));
        for text in ["", "0", "-1", "1.", ".5", "1e3", "abc", "1234567890123456789", &too_small] {
            assert!(text.parse::<Rate>().is_err(), "{text} must be refused");
        }
    }

    #[test]
    fn halves_go_away_from_zero_when_asked() {
        assert_eq!(div_half_away(5, 2), 3);
        assert_eq!(div_half_away(-5, 2), -3);
        assert_eq!(div_half_away(4, 3), 1);
        assert_eq!(div_half_even(-5, 2), -2);
        assert_eq!(div_half_even(-7, 2), -4);
    }
}
