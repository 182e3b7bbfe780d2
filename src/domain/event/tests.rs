//! What an event must be, field by field.

use super::*;

#[test]
fn a_control_character_is_found_wherever_it_stands() {
    assert!(EventKind::ALL.into_iter().all(|kind| kind.name().parse() == Ok(kind)));
    let plain = "é ~\u{80}ÿ€𝄞 0123456789";
    for start in 0..12 {
        let text = format!("{}{plain}", "x".repeat(start));
        assert!(is_plain(&text));
        for (at, _) in text.char_indices() {
            for control in (0..0x20u8).chain([0x7f]) {
                let mut text = text.clone();
                text.insert(at, char::from(control));
                assert!(!is_plain(&text), "{control} at {at}");
            }
        }
    }
}

fn purchase() -> RawEvent<'static> {
    RawEvent {
        event_id: Some("e1".into()),
        app_id: Some("acme".into()),
        customer_id: Some("c1".into()),
        kind: Some("purchase".into()),
        occurred_at: Some(Timestamp(1)),
        gross_micros: Some(10),
        currency: Some("USD".into()),
        ..RawEvent::default()
    }
}

fn of_kind(kind: &'static str) -> RawEvent<'static> {
    RawEvent { kind: Some(kind.into()), gross_micros: None, ..purchase() }
}

fn refusal(change: impl FnOnce(&mut RawEvent<'static>)) -> String {
    let mut raw = purchase();
    change(&mut raw);
    raw.check().map_or_else(|error| error.code(), |_| "accepted".to_owned())
}

#[test]
fn a_purchase_gets_the_defaults_of_the_interface() {
    let event = purchase().check().unwrap();
    assert_eq!(event.transaction_id.as_deref(), Some("e1"));
    assert_eq!(event.original_transaction_id.as_deref(), Some("e1"));
    let amounts = event.charge.unwrap().amounts;
    assert_eq!((amounts.proceeds, amounts.net), (10, 10));
    assert_eq!(event.dimensions.get(Dimension::Duration), Some(UNCATEGORIZED));
}

#[test]
fn a_refusal_names_the_field() {
    type Change = fn(&mut RawEvent<'static>);
    let table: [(Change, &str); 21] = [
        (|_| (), "accepted"),
        (|e| e.event_id = None, "missing_event_id"),
        (|e| e.event_id = Some("x".repeat(201).into()), "invalid_event_id"),
        (|e| e.app_id = Some("a b".into()), "invalid_app_id"),
        (|e| e.customer_id = Some("".into()), "invalid_customer_id"),
        (|e| e.customer_id = Some("a\0b".into()), "invalid_customer_id"),
        (|e| e.kind = Some("gift".into()), "invalid_kind"),
        (|e| e.occurred_at = None, "missing_occurred_at"),
        (|e| e.occurred_at = Some(Timestamp(-1)), "invalid_occurred_at"),
        (|e| e.gross_micros = None, "missing_gross_micros"),
        (|e| e.gross_micros = Some(-1), "invalid_gross_micros"),
        (|e| e.gross_micros = Some(GROSS_MICROS_MAX + 1), "invalid_gross_micros"),
        (|e| e.proceeds_micros = Some(11), "invalid_proceeds_micros"),
        (|e| e.net_micros = Some(11), "invalid_net_micros"),
        (|e| e.currency = None, "missing_currency"),
        (|e| e.currency = Some("usd".into()), "invalid_currency"),
        (|e| e.reporting_rate = Some("0".into()), "invalid_reporting_rate"),
        (|e| e.kind = Some("void".into()), "invalid_gross_micros"),
        (|e| e.kind = Some("renewal".into()), "missing_period"),
        (|e| e.environment = Some("sandbox".into()), "accepted"),
        (
            |e| *e = RawEvent { environment: Some("sandbox".into()), ..of_kind("forget") },
            "invalid_environment",
        ),
    ];
    for (change, expected) in table {
        assert_eq!(refusal(change), expected);
    }
}

#[test]
fn currency_and_rate_of_a_kind_without_money_say_nothing_but_are_read() {
    for (currency, rate, expected) in [
        ("USD", "1.5", "accepted"),
        ("", "", "accepted"),
        ("usd", "1.5", "invalid_currency"),
        ("USD", "0", "invalid_reporting_rate"),
    ] {
        let (currency, rate) = (Some(currency.into()), Some(rate.into()));
        let install = RawEvent { currency, reporting_rate: rate, ..of_kind("install") };
        assert_eq!(refusal(|event| *event = install), expected);
    }
}

#[test]
fn countries_are_codes_in_upper_case_and_uk_is_gb() {
    for (given, kept) in [("us", "US"), ("UK", "GB"), ("uk", "GB"), ("DE", "DE")] {
        let mut raw = purchase();
        raw.dimensions.set(Dimension::Country, Some(given.into()));
        let event = raw.check().unwrap();
        assert_eq!(event.dimensions.get(Dimension::Country), Some(kept));
    }
    for unknown in ["UX", "eu", "GBR", "1A", "Ü"] {
        let set = |event: &mut RawEvent| {
            event.dimensions.set(Dimension::Country, Some(unknown.into()));
        };
        assert_eq!(refusal(set), "invalid_country", "{unknown}");
    }
}

#[test]
fn a_long_value_is_cut_in_the_message_at_a_character() {
    let error = FieldError::invalid("kind", "short", "ü".repeat(100));
    assert!(error.message.len() < 150 && error.message.contains('…'));
}
