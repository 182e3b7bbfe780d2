//! MetricsFilters: the `filters` object that all methods share.
//!
//! A row must have one of the listed values in each given field; an empty list is no filter. Where
//! the vendor's pages and clients spell a value in two ways, both are looked for.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::domain::cohort::Field;
use crate::domain::country;
use crate::domain::dimensions::Dimension;
use crate::domain::period::DURATION_NAMES;
use crate::domain::time::Day;
use crate::http::adapty::request::fault::Fault;
use crate::http::adapty::request::fields::Fields;
use crate::metrics_api::question::Filter;

/// The stores that a product may be named with.
const STORES: [&str; 4] = ["app_store", "play_store", "stripe", "paddle"];

/// Filters whose values are any texts, beside `country` and `store_product_id`.
const PLAIN: [(&str, Dimension); 11] = [
    ("store", Dimension::Store),
    ("attribution_source", Dimension::AttributionSource),
    ("attribution_channel", Dimension::AttributionChannel),
    ("attribution_campaign", Dimension::AttributionCampaign),
    ("attribution_adgroup", Dimension::AttributionAdgroup),
    ("attribution_adset", Dimension::AttributionAdset),
    ("attribution_creative", Dimension::AttributionCreative),
    ("offer_id", Dimension::OfferId),
    ("paywall_id", Dimension::PaywallId),
    ("placement_id", Dimension::PlacementId),
    ("audience_id", Dimension::AudienceId),
];

/// A filter with words of the vendor's.
struct Worded {
    name: &'static str,
    dimension: Dimension,
    /// All there are; none where any text is taken, as by the first draft of the API.
    words: &'static [&'static str],
    /// The value for events that name none.
    none: Option<&'static str>,
}

/// Our names of durations, and one for good, which no duration of ours is called by.
const DURATION_WORDS: [&str; DURATION_NAMES.len() + 1] = {
    let [weekly, monthly, two_months, three_months, six_months, annual, other] = DURATION_NAMES;
    [weekly, monthly, two_months, three_months, six_months, annual, "Lifetime", other]
};

const WORDED: [Worded; 4] = [
    Worded { name: "duration", dimension: Dimension::Duration, words: &DURATION_WORDS, none: None },
    Worded {
        name: "attribution_status",
        dimension: Dimension::AttributionStatus,
        words: &[],
        none: Some("unknown"),
    },
    Worded {
        name: "offer_category",
        dimension: Dimension::OfferCategory,
        words: &[
            "no_offer",
            "introductory",
            "promotional",
            "offer_code",
            "win_back",
            "retention",
            "winback",
        ],
        none: Some("no_offer"),
    },
    Worded {
        name: "offer_type",
        dimension: Dimension::OfferType,
        words: &["free_trial", "pay_as_you_go", "pay_up_front"],
        none: None,
    },
];

/// Values with a second spelling.
const SPELLINGS: [(&str, &str); 2] = [("non_organic", "non-organic"), ("win_back", "winback")];

/// The free dimension behind `ab_test_id`.
const AB_TEST_ATTRIBUTE: &str = "ab_test_id";

/// First and last day, both counted.
pub type Dates = (Day, Day);

/// The filters of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsFilters {
    pub date: Dates,
    /// All must match.
    pub filters: Vec<Filter>,
    /// Products, with their stores where those are given: one must match, if there are any.
    pub products: Vec<Vec<Filter>>,
}

/// Reads the filters; `None` if they are not good enough to ask anything.
pub fn read(fields: &mut Fields<'_>) -> Option<MetricsFilters> {
    let Some(map) = fields.object("filters") else {
        if fields.get("filters").is_none() {
            fields.fault(Fault::missing("filters"));
        }
        return None;
    };
    let mut inner = Fields::new(map, "filters.");
    let date = dates(&mut inner, "date");
    if inner.get("date").is_none() {
        inner.fault(Fault::missing("date"));
    }
    let mut filters = Vec::new();
    for (name, dimension) in PLAIN {
        let values = inner.texts(name);
        filters.extend(values.map(|values| filter(dimension, values.into_iter().map(owned))));
    }
    for Worded { name, dimension, words, none } in WORDED {
        let chosen = if words.is_empty() { inner.texts(name) } else { inner.choices(name, words) };
        let spelled = |value: &str| {
            spellings(value).into_iter().chain((Some(value) == none).then(String::new))
        };
        let all = |chosen: Vec<&str>| filter(dimension, chosen.into_iter().flat_map(spelled));
        filters.extend(chosen.map(all));
    }
    // The empty code is the unknown country.
    let countries = inner.texts("country");
    filters.extend(
        countries.map(|codes| filter(Dimension::Country, codes.into_iter().map(country::spelled))),
    );
    filters.extend(inner.texts(AB_TEST_ATTRIBUTE).map(|values| Filter {
        field: Field::Attribute(AB_TEST_ATTRIBUTE.to_owned()),
        values: values.into_iter().map(owned).collect(),
    }));
    filters.retain(|filter| !filter.values.is_empty());
    let products = products(&mut inner);
    let rest = inner.finish();
    let is_good = rest.faults.is_empty();
    fields.take_over(rest);
    let date = date.filter(|_| is_good)?;
    Some(MetricsFilters { date, filters, products })
}

fn owned(text: &str) -> String {
    text.to_owned()
}

fn filter(dimension: Dimension, values: impl Iterator<Item = String>) -> Filter {
    Filter { field: Field::Dimension(dimension), values: values.collect() }
}

/// A value in all its spellings.
fn spellings(value: &str) -> Vec<String> {
    let pair = SPELLINGS.iter().find(|(one, other)| [*one, *other].contains(&value));
    match pair {
        Some((one, other)) => vec![owned(one), owned(other)],
        None => vec![owned(value)],
    }
}

fn dates(fields: &mut Fields<'_>, name: &'static str) -> Option<Dates> {
    let texts = fields.texts(name)?;
    let read = match texts[..] {
        [from, to] => from.parse::<Day>().and_then(|from| Ok((from, to.parse::<Day>()?))),
        _ => {
            let message = "exactly two dates are needed, the first day and the last";
            fields.fault(Fault::value(name, message));
            return None;
        }
    };
    match read {
        Ok((from, to)) if from > to => {
            fields.fault(Fault::value(name, format!("{from} is later than {to}")));
            None
        }
        Ok(dates) => Some(dates),
        Err(error) => {
            fields.fault(Fault::value(name, error));
            None
        }
    }
}

/// The products of `store_product_id` in all the forms that the vendor's pages have had: texts
/// `store:product`, `store:product:plan` or `product`, lists of such, and pairs of a store and a
/// product.
fn products(fields: &mut Fields<'_>) -> Vec<Vec<Filter>> {
    const NAME: &str = "store_product_id";
    let Some(value) = fields.get(NAME) else { return Vec::new() };
    let mut products = Vec::new();
    let good = value
        .as_array()
        .is_some_and(|items| items.iter().all(|item| read_product(item, &mut products).is_some()));
    if !good {
        let expected =
            "a list of products: \"store:product\", \"product\" or [\"store\", \"product\"]";
        fields.fault(Fault::kind(NAME, expected));
    }
    products
}

fn read_product(item: &Value, products: &mut Vec<Vec<Filter>>) -> Option<()> {
    match item {
        Value::String(text) => products.extend(product(text)),
        Value::Array(items) => {
            let texts: Vec<&str> = items.iter().map(Value::as_str).collect::<Option<_>>()?;
            match texts[..] {
                [store, product] if STORES.contains(&store) => {
                    products.push(of_store(store, product));
                }
                _ => products.extend(texts.into_iter().flat_map(product)),
            }
        }
        _ => return None,
    }
    Some(())
}

/// The ways in which events may name the product of a text.
fn product(text: &str) -> Vec<Vec<Filter>> {
    let Some((store, rest)) = text.split_once(':') else {
        return vec![vec![is(Dimension::ProductId, text)]];
    };
    if !STORES.contains(&store) {
        // A store of the app's own, or an id with a colon in it.
        return vec![vec![is(Dimension::ProductId, text)], of_store(store, rest)];
    }
    let mut ways = vec![of_store(store, rest)];
    // The third part is a base plan: events name it in the product's id or in the plan's name.
    if let Some((product, plan)) = rest.split_once(':') {
        let mut with_plan = of_store(store, product);
        with_plan.push(is(Dimension::PlanName, plan));
        ways.push(with_plan);
    }
    ways
}

fn of_store(store: &str, product: &str) -> Vec<Filter> {
    vec![is(Dimension::Store, store), is(Dimension::ProductId, product)]
}

fn is(dimension: Dimension, value: &str) -> Filter {
    Filter { field: Field::Dimension(dimension), values: BTreeSet::from([value.to_owned()]) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::adapty::request::fields::Rest;

    fn read_of(filters: Value) -> (Option<MetricsFilters>, Rest) {
        let body = json!({ "filters": filters });
        let mut fields = Fields::new(body.as_object().unwrap(), "");
        let read = read(&mut fields);
        (read, fields.finish())
    }

    /// Filters in words: `field=value|value`, groups in brackets.
    fn words(filters: &[Filter]) -> String {
        let one = |filter: &Filter| {
            let values: Vec<&str> = filter.values.iter().map(String::as_str).collect();
            format!("{}={}", filter.field, values.join("|"))
        };
        filters.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    fn products_of(value: Value) -> Vec<String> {
        let (read, _) = read_of(json!({"date": ["2025-01-01", "2025-01-31"],
                                       "store_product_id": value}));
        read.unwrap().products.iter().map(|group| words(group)).collect()
    }

    #[test]
    fn a_product_may_be_named_in_every_form_there_was() {
        assert_eq!(products_of(json!(["app_store:a"])), ["store=app_store product_id=a"]);
        assert_eq!(products_of(json!(["a", "b"])), ["product_id=a", "product_id=b"]);
        assert_eq!(products_of(json!([["a"], ["b"]])), ["product_id=a", "product_id=b"]);
        assert_eq!(products_of(json!([["a", "b"]])), ["product_id=a", "product_id=b"]);
        assert_eq!(products_of(json!([["stripe", "b"]])), ["store=stripe product_id=b"]);
        let own = ["product_id=own:b", "store=own product_id=b"];
        assert_eq!(products_of(json!(["own:b"])), own);
        let plan = ["store=play_store product_id=a:p", "store=play_store product_id=a plan_name=p"];
        assert_eq!(products_of(json!(["play_store:a:p"])), plan);
        assert_eq!(products_of(json!([])), Vec::<String>::new());
        let (none, rest) = read_of(json!({"date": ["2025-01-01", "2025-01-31"],
                                          "store_product_id": [1]}));
        assert_eq!((none, rest.faults[0].source.as_str()), (None, "store_product_id"));
    }

    #[test]
    fn values_are_found_in_either_spelling() {
        let (read, rest) = read_of(json!({
            "date": ["2025-01-01", "2025-01-31"],
            "country": ["us", "UK", ""],
            "attribution_status": ["non-organic", "unknown"],
            "offer_category": ["winback", "no_offer"], "compare_date": [],
            "ab_test_id": ["t1"], "offer_id": [],
            "state": ["live"], "profiles_counting_method": "device_id",
        }));
        let expected = "attribution_status=|non-organic|non_organic|unknown \
                        offer_category=|no_offer|win_back|winback country=|GB|US \
                        attributes.ab_test_id=t1";
        assert_eq!(words(&read.unwrap().filters), expected);
        let ignored = ["compare_date", "profiles_counting_method", "state"];
        assert_eq!(rest.ignored, ignored.map(|name| format!("filters.{name}")));
    }

    #[test]
    fn a_date_is_two_days_in_order() {
        for (date, part) in [
            (json!(null), "required"),
            (json!("2025-01-01"), "list of texts"),
            (json!(["2025-01-01"]), "exactly two"),
            (json!(["2025-01-01", "2025-01-02", "2025-01-03"]), "exactly two"),
            (json!(["2025-01-02", "2025-01-01"]), "later"),
            (json!(["2025-01-01", "01.02.2025"]), "YYYY-MM-DD"),
            (json!(["2025-02-30", "2025-03-01"]), "2025-02-30"),
        ] {
            let (read, rest) = read_of(json!({ "date": date }));
            assert_eq!(read, None, "{date}");
            assert_eq!(rest.faults.len(), 1, "{date}");
            assert_eq!(rest.faults[0].source, "date");
            assert!(rest.faults[0].message.contains(part), "{date}: {}", rest.faults[0].message);
        }
    }
}
