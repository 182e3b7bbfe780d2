//! What the made-up business sells, where, through whom, and what it is charged for it.

/// A currency of the price list.
pub(super) struct CurrencyInfo {
    pub(super) code: &'static str,
    /// Micro-units in the smallest amount there is: a cent, a yen.
    pub(super) minor_micros: i64,
    /// US dollars for one unit, around which the rate moves: `mantissa / 10^decimals`.
    pub(super) rate_mantissa: i64,
    pub(super) rate_decimals: usize,
}

const fn currency(code: &'static str, minor: i64, mantissa: i64, decimals: usize) -> CurrencyInfo {
    CurrencyInfo { code, minor_micros: minor, rate_mantissa: mantissa, rate_decimals: decimals }
}

const CENT: i64 = 10_000;
const WHOLE: i64 = 1_000_000;

pub(super) const CURRENCIES: [CurrencyInfo; 10] = [
    currency("USD", CENT, 1, 0),
    currency("EUR", CENT, 10_860, 4),
    currency("GBP", CENT, 12_740, 4),
    currency("JPY", WHOLE, 6_720, 6),
    currency("CAD", CENT, 7_310, 4),
    currency("AUD", CENT, 6_580, 4),
    currency("BRL", CENT, 18_600, 5),
    currency("INR", CENT, 11_920, 6),
    currency("SEK", CENT, 9_480, 5),
    currency("KRW", WHOLE, 7_350, 7),
];

/// A market.
pub(super) struct Country {
    pub(super) code: &'static str,
    pub(super) weight: u32,
    /// Place in [`CURRENCIES`].
    pub(super) currency: usize,
    /// Tax on top of the price without tax, per mille; prices include it.
    pub(super) tax: i64,
}

const fn country(code: &'static str, weight: u32, currency: usize, tax: i64) -> Country {
    Country { code, weight, currency, tax }
}

pub(super) const COUNTRIES: [Country; 15] = [
    country("US", 380, 0, 60),
    country("GB", 95, 2, 200),
    country("DE", 85, 1, 190),
    country("FR", 60, 1, 200),
    country("ES", 35, 1, 210),
    country("IT", 30, 1, 220),
    country("NL", 25, 1, 210),
    country("AT", 10, 1, 200),
    country("JP", 65, 3, 100),
    country("CA", 55, 4, 50),
    country("AU", 40, 5, 100),
    country("BR", 45, 6, 120),
    country("IN", 40, 7, 180),
    country("SE", 20, 8, 250),
    country("KR", 15, 9, 100),
];

/// A product with its price in each currency.
pub(super) struct Product {
    pub(super) id: &'static str,
    pub(super) plan: &'static str,
    /// Length of what is paid for; `None` for one-time purchases.
    pub(super) period: Option<&'static str>,
    /// In smallest amounts, by place in [`CURRENCIES`].
    pub(super) prices: [i64; CURRENCIES.len()],
    /// Subscribers lost at the end of the first, second, … paid period, per mille; the last
    /// figure holds from there on.
    pub(super) churn: &'static [u32],
}

pub(super) const WEEKLY: u8 = 0;
pub(super) const MONTHLY: u8 = 1;
pub(super) const YEARLY: u8 = 2;
pub(super) const TEAM_MONTHLY: u8 = 3;
pub(super) const TEAM_YEARLY: u8 = 4;
pub(super) const CREDITS: u8 = 5;
pub(super) const LIFETIME: u8 = 6;

const WEEKLY_CHURN: &[u32] = &[220, 160, 130, 110, 95, 85, 75, 70, 65, 60, 55];
const MONTHLY_CHURN: &[u32] = &[170, 125, 100, 82, 70, 60, 52, 46, 42, 38, 35, 33];
const YEARLY_CHURN: &[u32] = &[430, 300, 240, 200, 180];

pub(super) const PRODUCTS: [Product; 7] = [
    Product {
        id: "pro.weekly",
        plan: "Pro Weekly",
        period: Some("P1W"),
        prices: [299, 299, 249, 400, 399, 449, 1_490, 19_900, 3_500, 3_900],
        churn: WEEKLY_CHURN,
    },
    Product {
        id: "pro.monthly",
        plan: "Pro Monthly",
        period: Some("P1M"),
        prices: [999, 999, 899, 1_500, 1_299, 1_499, 4_990, 69_900, 11_900, 13_000],
        churn: MONTHLY_CHURN,
    },
    Product {
        id: "pro.yearly",
        plan: "Pro Yearly",
        period: Some("P1Y"),
        prices: [5_999, 5_999, 4_999, 8_800, 7_999, 8_999, 24_990, 399_900, 69_900, 79_000],
        churn: YEARLY_CHURN,
    },
    Product {
        id: "team.monthly",
        plan: "Team Monthly",
        period: Some("P1M"),
        prices: [1_999, 2_199, 1_799, 3_000, 2_699, 2_999, 9_990, 149_900, 22_900, 27_000],
        churn: MONTHLY_CHURN,
    },
    Product {
        id: "team.yearly",
        plan: "Team Yearly",
        period: Some("P1Y"),
        prices: [14_999, 15_999, 12_999, 22_000, 19_999, 22_999, 69_990, 999_900, 169_900, 199_000],
        churn: YEARLY_CHURN,
    },
    Product {
        id: "credits.100",
        plan: "100 Credits",
        period: None,
        prices: [499, 499, 449, 700, 699, 749, 2_490, 39_900, 5_900, 6_500],
        churn: &[],
    },
    Product {
        id: "lifetime",
        plan: "Lifetime",
        period: None,
        prices: [14_999, 15_999, 12_999, 22_000, 19_999, 22_999, 69_990, 999_900, 169_900, 199_000],
        churn: &[],
    },
];

/// Who takes the money, and what part of the price without tax stays there, per mille.
pub(super) struct Store {
    pub(super) name: &'static str,
    pub(super) weight: u32,
    pub(super) first_year: i64,
    pub(super) later: i64,
    pub(super) one_time: i64,
    pub(super) grace_days: i64,
}

const fn store(name: &'static str, weight: u32, commission: [i64; 3], grace_days: i64) -> Store {
    let [first_year, later, one_time] = commission;
    Store { name, weight, first_year, later, one_time, grace_days }
}

pub(super) const STORES: [Store; 4] = [
    store("app_store", 480, [300, 150, 300], 16),
    store("play_store", 270, [150, 150, 300], 7),
    store("stripe", 170, [29, 29, 29], 14),
    store("paddle", 80, [50, 50, 50], 14),
];

/// Where customers come from.
pub(super) struct Source {
    pub(super) name: &'static str,
    pub(super) status: &'static str,
    pub(super) weight: u32,
    pub(super) channel: &'static str,
    /// Nobody advertises for organic customers: no campaigns, ad sets or creatives.
    pub(super) campaigns: &'static [&'static str],
    pub(super) adgroups: &'static [&'static str],
    pub(super) adsets: &'static [&'static str],
    pub(super) creatives: &'static [&'static str],
    /// How readily its customers pay and stay, per mille of the average.
    pub(super) quality: u32,
}

pub(super) const SOURCES: [Source; 5] = [
    Source {
        name: "organic",
        status: "organic",
        weight: 450,
        channel: "organic",
        campaigns: &[],
        adgroups: &[],
        adsets: &[],
        creatives: &[],
        quality: 1_060,
    },
    Source {
        name: "apple_search_ads",
        status: "non_organic",
        weight: 130,
        channel: "search",
        campaigns: &["brand", "competitors", "category"],
        adgroups: &["exact", "broad", "discovery"],
        adsets: &[],
        creatives: &["default", "custom_page_1"],
        quality: 1_150,
    },
    Source {
        name: "meta_ads",
        status: "non_organic",
        weight: 200,
        channel: "paid_social",
        campaigns: &["prospecting_us", "prospecting_row", "retargeting"],
        adgroups: &[],
        adsets: &["lookalike_1", "lookalike_5", "interest_fitness", "broad"],
        creatives: &["video_a", "video_b", "carousel", "static_1"],
        quality: 930,
    },
    Source {
        name: "google_ads",
        status: "non_organic",
        weight: 140,
        channel: "paid_search",
        campaigns: &["uac_install", "uac_trial", "search_brand"],
        adgroups: &["generic", "brand", "video"],
        adsets: &[],
        creatives: &["text_1", "text_2", "image_1"],
        quality: 980,
    },
    Source {
        name: "tiktok_ads",
        status: "non_organic",
        weight: 80,
        channel: "paid_social",
        campaigns: &["spark_creators", "launch_video"],
        adgroups: &[],
        adsets: &["age_18_24", "age_25_34"],
        creatives: &["creator_1", "creator_2", "creator_3"],
        quality: 720,
    },
];

pub(super) const PAYWALLS: [&str; 3] = ["paywall_classic", "paywall_video", "paywall_discount"];
pub(super) const PLACEMENTS: [&str; 3] = ["onboarding", "settings", "locked_feature"];
pub(super) const AUDIENCES: [&str; 3] = ["all_users", "new_users", "power_users"];

/// A reduction of one payment, or a trial.
pub(super) struct Offer {
    pub(super) category: &'static str,
    pub(super) kind: &'static str,
    pub(super) id: &'static str,
    /// What is left of the price, per mille.
    pub(super) price: i64,
}

pub(super) const FREE_TRIAL: u8 = 0;
pub(super) const INTRO_HALF: u8 = 1;
pub(super) const PRESS_CODE: u8 = 2;
pub(super) const WIN_BACK: u8 = 3;

const fn offer(category: &'static str, kind: &'static str, id: &'static str, price: i64) -> Offer {
    Offer { category, kind, id, price }
}

pub(super) const OFFERS: [Offer; 4] = [
    offer("introductory", "free_trial", "trial-7d", 0),
    offer("introductory", "pay_up_front", "intro-half", 500),
    offer("offer_code", "free", "press-2024", 0),
    offer("win_back", "pay_up_front", "winback-30", 700),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Currency;
    use crate::domain::period::Period;

    #[test]
    fn codes_and_periods_of_the_catalogue_are_real() {
        for info in &CURRENCIES {
            assert!(info.code.parse::<Currency>().is_ok(), "{}", info.code);
            assert_eq!(1_000_000 % info.minor_micros, 0);
        }
        for product in &PRODUCTS {
            assert!(product.period.is_none_or(|text| text.parse::<Period>().is_ok()));
            assert_eq!(product.churn.is_empty(), product.period.is_none());
            assert!(product.prices.iter().all(|price| *price > 0));
        }
        assert!(COUNTRIES.iter().all(|country| country.currency < CURRENCIES.len()));
    }
}
