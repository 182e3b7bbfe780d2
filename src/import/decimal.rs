//! Decimal numbers as they stand in files, exact through products and sums.

/// `mantissa / 10^scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decimal {
    mantissa: i128,
    scale: u32,
}

/// Most places behind the point that a number, or a product, may have.
const SCALE_MAX: u32 = 24;

impl Decimal {
    pub(super) const ONE: Self = Self { mantissa: 1, scale: 0 };

    /// Reads an optional sign, digits and at most one `mark` with digits behind it. Nothing else:
    /// no exponent, no thousands separators, no currency sign.
    pub(super) fn parse(text: &str, mark: char) -> Option<Self> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, fraction) = match digits.split_once(mark) {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (digits, ""),
        };
        let numeric = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len() + fraction.len() > 24 || whole.is_empty() && fraction.is_empty() {
            return None;
        }
        if !numeric(whole) || !numeric(fraction) {
            return None;
        }
        let mut mantissa: i128 = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            mantissa = mantissa * 10 + i128::from(digit - b'0');
        }
        let mantissa = if negative { -mantissa } else { mantissa };
        Some(Self { mantissa, scale: u32::try_from(fraction.len()).ok()? })
    }

    /// `None` when the result does not fit.
    pub(super) fn times(self, other: Self) -> Option<Self> {
        let scale = self.scale + other.scale;
        let mantissa = self.mantissa.checked_mul(other.mantissa)?;
        (scale <= SCALE_MAX).then_some(Self { mantissa, scale })
    }

    /// `None` when the result does not fit.
    pub(super) fn plus(self, other: Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        let sum = self.at_scale(scale)?.checked_add(other.at_scale(scale)?)?;
        Some(Self { mantissa: sum, scale })
    }

    pub(super) fn negated(self) -> Self {
        Self { mantissa: -self.mantissa, scale: self.scale }
    }

    pub(super) fn is_zero(self) -> bool {
        self.mantissa == 0
    }

    pub(super) fn is_negative(self) -> bool {
        self.mantissa < 0
    }

    /// The number times `10^places` as an integer; `None` when it is not one or does not fit.
    pub(super) fn scaled(self, places: u32) -> Option<i64> {
        let integer = if self.scale <= places {
            self.at_scale(places)?
        } else {
            let unit = 10i128.checked_pow(self.scale - places)?;
            if self.mantissa % unit != 0 {
                return None;
            }
            self.mantissa / unit
        };
        i64::try_from(integer).ok()
    }

    fn at_scale(self, scale: u32) -> Option<i128> {
        self.mantissa.checked_mul(10i128.checked_pow(scale - self.scale)?)
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.mantissa < 0 { "-" } else { "" };
        let width = usize::try_from(self.scale).unwrap_or(0) + 1;
        let digits = format!("{:0width$}", self.mantissa.unsigned_abs());
        let (whole, fraction) = digits.split_at(digits.len() + 1 - width);
        match fraction {
            "" => write!(f, "{sign}{whole}"),
            fraction => write!(f, "{sign}{whole}.{fraction}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(text: &str) -> Option<i64> {
        Decimal::parse(text, '.').and_then(|number| number.scaled(6))
    }

    #[test]
    fn decimals_become_micros_exactly_or_not_at_all() {
        assert_eq!(micros("11.77"), Some(11_770_000));
        assert_eq!(micros("-0.001"), Some(-1_000));
        assert_eq!(micros(".5"), Some(500_000));
        assert_eq!(micros("1.2345670"), Some(1_234_567));
        assert_eq!(micros("1.2345678"), None);
        for text in ["", "-", ".", "1.", "1e3", "1,5", "1.2.3", "£1", " 1", "9999999999999999"] {
            assert_eq!(micros(text), None, "{text}");
        }
        assert_eq!(Decimal::parse("1,5", ',').and_then(|n| n.scaled(6)), Some(1_500_000));
    }

    #[test]
    fn products_and_sums_are_exact() {
        let number = |text| Decimal::parse(text, '.').unwrap();
        let total = number("-6").times(number("2.550")).unwrap().plus(number("0.3")).unwrap();
        assert_eq!(total.to_string(), "-15.000");
        assert!(total.plus(number("15")).unwrap().is_zero());
        assert!(total.is_negative());
        assert_eq!(number("0.05").to_string(), "0.05");
    }
}
