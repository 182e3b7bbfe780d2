//! Exact decimals and the one rounding rule of the engine.

/// `mantissa / 10^decimals`, without trailing zeros, so that equal numbers are equal values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    mantissa: i128,
    decimals: u32,
}

impl Rate {
    /// Reads a plain decimal such as `1.0956`.
    pub fn parse(text: &str) -> Self {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let mut rate = Self {
            mantissa: format!("{whole}{fraction}").parse().expect("a decimal"),
            decimals: u32::try_from(fraction.len()).expect("a short decimal"),
        };
        while rate.decimals > 0 && rate.mantissa % 10 == 0 {
            rate = Self { mantissa: rate.mantissa / 10, decimals: rate.decimals - 1 };
        }
        rate
    }

    /// The amount in the other currency, rounded half to even.
    pub fn convert(self, amount: i64) -> i128 {
        half_even(i128::from(amount) * self.mantissa, 10i128.pow(self.decimals))
    }
}

/// `numerator / denominator` to the nearest integer, halves to the even one. Neither is negative.
pub fn half_even(numerator: i128, denominator: i128) -> i128 {
    let (down, rest) = (numerator / denominator, numerator % denominator);
    let up = down + 1;
    if rest * 2 < denominator {
        down
    } else if rest * 2 > denominator {
        up
    } else if down % 2 == 0 {
        down
    } else {
        up
    }
}

/// `numerator / denominator` to the nearest integer, halves away from zero. The denominator is
/// above zero.
pub fn half_away(numerator: i128, denominator: i128) -> i128 {
    let nearest = (numerator.abs() * 2 + denominator) / (denominator * 2);
    if numerator < 0 { -nearest } else { nearest }
}
