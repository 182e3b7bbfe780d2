//! Files with known answers, and files that must be refused.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use apache_avro::types::Value;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::domain::dimensions::Dimension;
use crate::domain::event::EventKind;

const SHARED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data");
const CDNOW: &str = include_str!("../../tests/it/maps/cdnow.toml");
const ONLINE_RETAIL: &str = include_str!("../../tests/it/maps/online_retail.toml");

fn mapped(map: &str) -> ImportSettings {
    ImportSettings { map: Some(map.to_owned()), ..ImportSettings::default() }
}

/// The metrics of an oracle file by name.
fn oracle(name: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(format!("{SHARED}/oracle/{name}")).unwrap();
    let pairs = text.lines().filter_map(|line| line.split_once(','));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What a reader found, in the words of the oracle; sums in parts of `1/unit` of the currency.
fn totals(items: &[ImportItem], micros_per_unit: i64) -> BTreeMap<&'static str, i64> {
    let mut totals = BTreeMap::new();
    let mut customers = BTreeSet::new();
    let mut payers = BTreeSet::new();
    for item in items {
        let event = item.event.as_ref().unwrap();
        let gross = event.charge.unwrap().amounts.gross;
        let (count, sum, sign) = match event.kind {
            EventKind::Purchase => ("purchase_events", "gross", 1),
            _ => ("refund_events", "refund", -1),
        };
        assert_eq!(gross % micros_per_unit, 0);
        *totals.entry(sum).or_default() += sign * gross / micros_per_unit;
        *totals.entry(count).or_default() += 1;
        *totals.entry("events").or_default() += 1;
        customers.insert(&event.customer_id);
        if event.kind == EventKind::Purchase {
            payers.insert(&event.customer_id);
        } else {
            assert_eq!(event.transaction_id, None);
        }
        if gross == 0 {
            *totals.entry("zero_amount_purchases").or_default() += 1;
        }
    }
    totals.insert("customers_any_event", i64::try_from(customers.len()).unwrap());
    totals.insert("customers_with_purchase", i64::try_from(payers.len()).unwrap());
    totals
}

fn assert_totals(found: &BTreeMap<&'static str, i64>, oracle: &BTreeMap<String, String>) {
    for name in [
        "events",
        "purchase_events",
        "refund_events",
        "customers_any_event",
        "customers_with_purchase",
        "gross",
        "refund",
        "zero_amount_purchases",
    ] {
        let found = found.get(name).copied().unwrap_or(0).to_string();
        assert_eq!(found, oracle[name], "{name}");
    }
}

fn first_and_last(items: &[ImportItem]) -> (String, String) {
    let times = items.iter().map(|item| item.event.as_ref().unwrap().occurred_at);
    let text = |at: Option<crate::domain::time::Timestamp>| {
        at.unwrap().to_rfc3339().replace('T', " ").replace('Z', "")
    };
    (text(times.clone().min()), text(times.max()))
}

#[test]
fn cdnow_gives_the_published_totals() {
    let path = format!("{SHARED}/cdnow_master.txt.gz");
    let mut reader = reader(Path::new(&path), &mapped(CDNOW)).unwrap();
    let items: Vec<ImportItem> = reader.by_ref().collect();
    let oracle = oracle("cdnow_totals.csv");
    assert_totals(&totals(&items, 10_000), &oracle);
    assert_eq!(
        first_and_last(&items),
        (oracle["first_event"].clone(), oracle["last_event"].clone())
    );
    let ids: BTreeSet<_> =
        items.iter().map(|item| item.event.as_ref().unwrap().event_id.clone()).collect();
    assert_eq!(ids.len(), items.len());
    // The header is line 1.
    assert_eq!((items[0].line, items[69_658].line), (2, 69_660));
    assert_eq!(Some(items[69_658].bytes_read), reader.bytes_total());
}

#[test]
fn online_retail_gives_the_published_totals() {
    let path = format!("{SHARED}/online_retail_2010_2011.csv.gz");
    let mut reader = reader(Path::new(&path), &mapped(ONLINE_RETAIL)).unwrap();
    let items: Vec<ImportItem> = reader.by_ref().collect();
    let oracle = oracle("retail1_totals.csv");
    assert_totals(&totals(&items, 1_000), &oracle);
    assert_eq!(
        first_and_last(&items),
        (oracle["first_event"].clone(), oracle["last_event"].clone())
    );
    // The whole file is read before its first event; progress is told by where events begin.
    let total = reader.bytes_total().unwrap();
    assert!(items[0].bytes_read < total / 10);
    assert!(items.windows(2).all(|pair| pair[0].bytes_read <= pair[1].bytes_read));
    let middle = items[items.len() / 2].bytes_read;
    assert!((total / 4..total * 3 / 4).contains(&middle), "{middle} of {total}");
    assert!(items[items.len() - 1].bytes_read > total * 9 / 10);
    let skipped: BTreeMap<_, _> = reader.skipped().into_iter().collect();
    // The bad-debt lines have no customer either, and their rule comes first.
    let without_customer: u64 = oracle["lines_dropped_without_customer"].parse().unwrap();
    assert_eq!(skipped["bad debt"] + skipped["no customer"], without_customer);
    assert_eq!(skipped["bad debt"], 3);
    assert_eq!(skipped["invoice of total 0"].to_string(), oracle["zero_amount_invoices_dropped"]);
    let first = items[0].event.as_ref().unwrap();
    assert_eq!(first.event_id, "536365-17850");
    assert_eq!(first.dimensions.get(Dimension::Country), Some("GB"));
}

/// The items of a file with this name and content, as `line field code` or `line event_id`.
fn read_as(name: &str, content: &[u8], settings: &ImportSettings) -> Result<Vec<String>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    let words = |error: OpenError| format!("{:#}", anyhow::Error::new(error));
    let reader = reader(&path, settings).map_err(words)?;
    Ok(reader
        .map(|item| match item.event {
            Ok(event) => format!("{} {}", item.line, event.event_id),
            Err(error) => {
                format!("{} {} {}", item.line, error.field.as_deref().unwrap_or("-"), error.code)
            }
        })
        .collect())
}

const PURCHASE: &str = r#"{"event_id":"e1","app_id":"acme","customer_id":"c1","kind":"purchase","occurred_at":"2024-01-31T10:00:00Z","gross_micros":9990000,"currency":"EUR"}"#;

#[test]
fn json_lines_are_read_plain_and_compressed_by_what_they_are() {
    let text = format!("\u{feff}{PURCHASE}\r\n\n{{\"event_id\":1}}\n{PURCHASE}");
    let expected = ["1 e1", "3 event_id invalid_event_id", "4 e1"];
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(text.as_bytes(), 1).unwrap();
    // Several compressors begin with a frame without data, of its kind and a length.
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 7, 7, 7][..], &zstd].concat();
    for content in [text.as_bytes(), &gzip, &zstd, &skippable] {
        let items = read_as("events.ndjson", content, &ImportSettings::default());
        assert_eq!(items.unwrap(), expected);
    }
}

#[test]
fn a_damaged_file_says_so_at_its_end() {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::none());
    for _ in 0..2_000 {
        writeln!(gzip, "{PURCHASE}").unwrap();
    }
    let gzip = gzip.finish().unwrap();
    let cut = &gzip[..gzip.len() / 2];
    let items = read_as("events", cut, &ImportSettings::default()).unwrap();
    assert!(items.last().unwrap().ends_with("- unreadable_file"));
    assert_eq!(items.iter().filter(|item| item.contains("unreadable")).count(), 1);
    assert!(items.len() > 500);
}

#[test]
fn a_line_without_end_is_refused_without_being_kept() {
    let text = format!("{}\n{PURCHASE}\n", "x".repeat(input::LINE_BYTES_MAX + 10));
    let items = read_as("events", text.as_bytes(), &ImportSettings::default()).unwrap();
    assert_eq!(items, ["1 - line_too_long", "2 e1"]);
}

#[test]
fn a_table_of_the_events_own_fields_needs_no_map() {
    let text = "event_id,app_id,customer_id,kind,occurred_at,gross_micros,currency,attributes.a\n\
                e1,acme,c1,purchase,2024-01-31T10:00:00Z,9990000,EUR,x\n\
                e2,acme,c1,install,1706691600000000,,,\n\
                e3,acme,c1,purchase,2024-01-31,9990000,EUR,\n\
                e4,acme,c1,purchase\n\
                e5,acme,c1,purchase,2024-01-31T10:00:00Z,9.99,EUR,\n\
                \"e\"\"6\",acme,c1,purchase,2024-01-31T10:00:00Z,1,eur,\n";
    assert_eq!(
        read_as("events.csv", text.as_bytes(), &ImportSettings::default()).unwrap(),
        [
            "2 e1",
            "3 e2",
            "4 occurred_at invalid_occurred_at",
            "5 - wrong_column_count",
            "6 gross_micros invalid_gross_micros",
            "7 currency invalid_currency",
        ]
    );
    let misnamed = read_as("events.csv", b"event_id,curency\n", &ImportSettings::default());
    assert!(misnamed.unwrap_err().ends_with("has the unknown column \"curency\""));
    assert!(read_as("events.csv", b"", &ImportSettings::default()).is_err());
}

#[test]
fn a_row_is_told_by_the_line_where_it_begins_whatever_ends_the_lines() {
    let rows = [
        "event_id,app_id,customer_id,kind,occurred_at,attributes.a",
        "e1,acme,c1,install,1706691600000000,",
        "",
        "",
        "e2,acme,c1,install,1706691600000000,\"of two",
        "lines\"",
        "e3,acme,c1,install,1706691600000000,",
        "e4,acme",
    ];
    for end in ["\n", "\r\n"] {
        for last in ["", end] {
            let text = rows.join(end) + last;
            let found = read_as("events.csv", text.as_bytes(), &ImportSettings::default()).unwrap();
            assert_eq!(
                found,
                ["2 e1", "5 attributes invalid_attributes", "7 e3", "8 - wrong_column_count"],
                "{text:?}"
            );
        }
    }
    let tabs = rows.join("\n").replace(',', "\t");
    let found = read_as("events.tsv", tabs.as_bytes(), &ImportSettings::default()).unwrap();
    assert_eq!(found.len(), 4, "{found:?}");
    assert_eq!(found[0], "2 e1");
}

#[test]
fn quotes_that_are_not_closed_or_that_text_follows_are_told() {
    let row =
        |number: u32, note: &str| format!("e{number},acme,c1,install,1706691600000000,{note}\n");
    let table = |notes: &[(u32, &str)]| {
        let note = |number| notes.iter().find(|(at, _)| *at == number).map_or("", |(_, note)| note);
        let rows: String = (1..=100).map(|number| row(number, note(number))).collect();
        "event_id,app_id,customer_id,kind,occurred_at,attributes.a\n".to_owned() + &rows
    };
    let read = |text: &str| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.csv");
        std::fs::write(&path, text).unwrap();
        reader(&path, &ImportSettings::default())
            .unwrap()
            .map(|item| item.event)
            .collect::<Vec<_>>()
    };
    // The first row is in line 2, the fifth in line 6.
    let mut found = read(&table(&[(5, "\"TV 42 inch")]));
    let damage = found.pop().unwrap().unwrap_err();
    assert!(damage.is_fatal());
    let message = "the file can't be read further: a quote that opens in line 6 is not closed by the end of the file";
    assert_eq!(damage.message, message);
    assert!(found.len() == 4 && found.iter().all(Result::is_ok), "{found:?}");
    // Another one closes it where nobody meant to: all rows between are in the row that is refused.
    let found = read(&table(&[(5, "\"TV 42 inch"), (40, "\"TV 50 inch")]));
    let refused: Vec<_> = found.iter().filter_map(|event| event.as_ref().err()).collect();
    assert_eq!((found.len(), refused.len(), refused[0].is_fatal()), (100 - 35, 1, false));
    assert_eq!(refused[0].code, "text_after_quote");
    assert!(refused[0].message.contains("in line 41"), "{}", refused[0].message);
    // As it stands in the file, to be read again.
    assert_eq!(refused[0].raw.lines().count(), 36);
    assert!(refused[0].raw.ends_with("e40,acme,c1,install,1706691600000000,TV 50 inch\""));
    // A cell that long is none, and what follows is not read into memory.
    let long = table(&[(5, "\"")]) + &"x\n".repeat(600_000) + "\"\n";
    let damage = read(&long).pop().unwrap().unwrap_err();
    assert!(damage.message.ends_with("line 6 is not closed within 1048576 bytes"), "{damage}");
    // These are all right.
    for note in
        ["\"\"", "\"two\nlines\"", "\"a \"\"b\"\" c\"", "42\" wide", "\"a,b\"", "\"a\"\r", "\"a\" "]
    {
        let found = read(&table(&[(5, note)]));
        let refused = found.iter().filter_map(|event| event.as_ref().err());
        // A line end is none of a text's characters.
        let refused: Vec<_> = refused.filter(|error| error.code != "invalid_attributes").collect();
        assert!(found.len() == 100 && refused.is_empty(), "{note:?}: {refused:?}");
    }
}

#[test]
fn a_format_is_read_by_what_is_in_it_however_that_is_written() {
    let read = |format: &str, cell: &str| {
        let map = MAP.replace("%d.%m.%Y %H:%M", format);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orders.csv");
        std::fs::write(&path, format!("who;type;when;amount\na;sale;{cell};1\n")).unwrap();
        let mut items = reader(&path, &mapped(&map))
            .map_err(|error| format!("{:#}", anyhow::Error::new(error)))?;
        Ok::<_, String>(items.next().unwrap().event.unwrap().occurred_at.to_rfc3339())
    };
    for (format, cell, at) in [
        ("%d/%m/%Y %-H:%M", "05/03/2024 9:30", "2024-03-05T08:30:00Z"),
        ("%d %b %Y %_H:%M", "05 Mar 2024  9:30", "2024-03-05T08:30:00Z"),
        ("%m/%d/%Y %-I:%M %p", "3/5/2024 9:30 PM", "2024-03-05T20:30:00Z"),
        ("%F %T", "2024-03-05 09:30:00", "2024-03-05T08:30:00Z"),
        ("%F %T %z", "2024-03-05 09:30:00 -0500", "2024-03-05T14:30:00Z"),
        ("%F %T %:z", "2024-03-05 09:30:00 -05:00", "2024-03-05T14:30:00Z"),
        ("%F %T %#z", "2024-03-05 09:30:00 -05", "2024-03-05T14:30:00Z"),
        ("%Y%m%d%H%M%S%3f", "20240305093000250", "2024-03-05T08:30:00.250Z"),
        ("%+", "2024-03-05T09:30:00-05:00", "2024-03-05T14:30:00Z"),
        ("%F", "2024-03-05", "2024-03-04T23:00:00Z"),
    ] {
        assert_eq!(read(format, cell), Ok(at.to_owned()), "{format}");
    }
    assert!(read("%F %T %Z", "2024-03-05 09:30:00 EST").unwrap_err().contains("%Z, a zone's name"));
    assert!(read("%s", "1709631000").unwrap_err().contains("epoch_seconds"));
}

#[test]
fn signs_and_zeros_are_those_of_numbers_with_the_mark_of_the_file() {
    let map = r#"
[source]
delimiter = ";"
[fields]
event_id = { column = "id" }
customer_id = "c"
kind = { column = "sum", is_negative = true, decimal_mark = ",", then = "refund", else = "purchase" }
occurred_at = { column = "at" }
gross_micros = { column = "sum", decimal_mark = ",", negated_for = ["refund"] }
currency = "EUR"
[[skip_when]]
column = "sum"
is_zero = true
decimal_mark = ","
"#;
    let at = "2024-03-05T09:30:00Z";
    let text = format!("id;at;sum\na;{at};10,50\nb;{at};-10,50\nc;{at};0,00\n");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.csv");
    std::fs::write(&path, text).unwrap();
    let events: Vec<_> = reader(&path, &mapped(map)).unwrap().map(|i| i.event.unwrap()).collect();
    let found: Vec<_> = events.iter().map(|e| (e.kind, e.charge.unwrap().amounts.gross)).collect();
    assert_eq!(found, [(EventKind::Purchase, 10_500_000), (EventKind::Refund, 10_500_000)]);
}

const MAP: &str = r#"
[source]
delimiter = ";"
encoding = "latin-1"
[fields]
event_id = { template = "{{{row}}}-{2}" }
customer_id = { column = "who" }
kind = { cases = [{ column = "type", equals = ["sale", "order"], then = "purchase" }] }
occurred_at = { column = "when", format = "%d.%m.%Y %H:%M", zone = "Europe/Berlin" }
gross_micros = { column = "amount", decimal_mark = "," }
currency = "EUR"
[attributes]
segment_id = { column = "who" }
"#;

#[test]
fn a_map_reads_a_foreign_table_cell_by_cell() {
    let text = b"who;type;when;amount\n\
        J\xfcrgen; sale ;31.03.2024 03:30; 1,50 \n\
        a;gift;31.03.2024 03:30;1\n\
        b;order;31.03.2024 02:30;1\n\
        c;order;01.04.2024 00:00;1.5\n\
        d;order;01.04.2024 00:00;\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.csv");
    std::fs::write(&path, text).unwrap();
    let items: Vec<_> = reader(&path, &mapped(MAP)).unwrap().collect();
    let event = items[0].event.as_ref().unwrap();
    assert_eq!(
        (&*event.event_id, &*event.customer_id, &*event.app_id),
        ("{1}-sale", "Jürgen", "default")
    );
    assert_eq!(event.occurred_at.to_rfc3339(), "2024-03-31T01:30:00Z");
    assert_eq!(event.charge.unwrap().amounts.gross, 1_500_000);
    assert_eq!(event.dimensions.attributes, [("segment_id".into(), "Jürgen".into())]);
    let refusals: Vec<_> = items[1..].iter().map(|item| item.event.as_ref().unwrap_err()).collect();
    let codes: Vec<&str> = refusals.iter().map(|error| error.code.as_str()).collect();
    // At 02:30 the clocks of Berlin were put to 03:30.
    assert_eq!(
        codes,
        ["invalid_kind", "invalid_occurred_at", "invalid_gross_micros", "missing_gross_micros"]
    );
    assert_eq!(refusals[0].raw, "a;gift;31.03.2024 03:30;1");
}

#[test]
fn a_wrong_map_names_its_key() {
    let broken = |from: &str, to: &str| {
        assert!(MAP.contains(from));
        let map = MAP.replacen(from, to, 1);
        read_as("orders.csv", b"who;type;when;amount\n", &mapped(&map)).unwrap_err()
    };
    for (from, to, key) in [
        ("[source]", "[sorce]", "sorce: unknown key; known here: source, fields"),
        ("delimiter = \";\"", "delimiter = \"::\"", "source.delimiter: must be one"),
        ("latin-1", "ebcdic", "source.encoding: "),
        ("encoding", "encodng", "source.encodng: unknown key"),
        ("customer_id", "custmer_id", "fields.custmer_id: is not a field"),
        ("customer_id = { column = \"who\" }", "", "fields.customer_id: is required"),
        (
            "\"who\"",
            "\"whom\"",
            "fields.customer_id.column: the file has no column \"whom\"; it has",
        ),
        ("\"who\"", "5", "fields.customer_id.column: the file has no column 5"),
        ("\"who\"", "\"who\", constant = \"x\"", "fields.customer_id: exactly one of"),
        ("\"who\"", "\"who\", unlisted = \"drop\"", "fields.customer_id.unlisted: is of no use"),
        (
            "\"who\"",
            "\"who\", values = { \"\" = \"x\" }",
            "fields.customer_id.values: an empty text",
        ),
        ("{2}", "{2", "fields.event_id.template: has a {"),
        ("{2}", "{9}", "fields.event_id.template: the file has no column 9"),
        ("then = \"purchase\"", "", "fields.kind.cases[1].then: is required"),
        ("equals", "eqals", "fields.kind.cases[1]: exactly one of"),
        ("%d.%m.%Y %H:%M", "%Q", "fields.occurred_at.format: "),
        ("Europe/Berlin", "Berlin", "fields.occurred_at.zone: "),
        ("decimal_mark = \",\"", "unit = \"dollars\"", "fields.gross_micros.unit: "),
        ("decimal_mark = \",\"", "negated_for = \"refnd\"", "fields.gross_micros.negated_for: "),
        ("[attributes]", "[[skip_when]]\n[attributes]", "skip_when[1]: exactly one of"),
        ("[attributes]", "[group]\n[attributes]", "group.by: is required"),
        ("\"EUR\"", "3", "fields.currency: must be a text or a table"),
    ] {
        let message = broken(from, to);
        let expected = format!("the map is wrong: {key}");
        assert!(message.starts_with(&expected), "{from} -> {to}: {message}");
    }
    // Without a header the first row says how many columns there are, and is read all the same.
    let placed = |place: usize| {
        let map = format!(
            "[source]\nhas_header = false\n[fields]\nevent_id = {{ column = {place} }}\n\
             customer_id = {{ column = 2 }}\nkind = \"install\"\noccurred_at = {{ column = 3 }}\n"
        );
        read_as("installs.csv", b"e1,c1,2024-01-01T00:00:00Z\n", &mapped(&map))
    };
    assert_eq!(placed(1).unwrap(), ["1 e1"]);
    let message = placed(4).unwrap_err();
    assert!(message.contains("fields.event_id.column: the file has no column 4"), "{message}");
    let other_format = ImportSettings { format: Some(Format::Avro), ..mapped(MAP) };
    assert!(read_as("x", b"", &other_format).unwrap_err().starts_with("a map is for tables"));
}

#[test]
fn one_bad_row_refuses_its_group_and_shows_all_its_rows() {
    let header = "invoice,quantity,invoice_ts,unit_price,customer_id,country\n";
    let text = format!(
        "{header}1,2,2011-01-01T10:00:00,1.001,7,EIRE\n\
         2,1,2011-01-01T10:00:00,1,8,EIRE\n\
         1,x,2011-01-01T10:00:00,1.001,7,EIRE\n\
         C3,-1,2011-01-02T10:00:00,1,8,EIRE\n\
         2,1,2011-01-01T09:59:00,2.5,8,EIRE\n\
         C4,1,2011-01-02T10:00:00,1,8,EIRE\n"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lines.csv");
    std::fs::write(&path, text).unwrap();
    let items: Vec<_> = reader(&path, &mapped(ONLINE_RETAIL)).unwrap().collect();
    let refused = items[0].event.as_ref().unwrap_err();
    assert_eq!((items[0].line, refused.field.as_deref()), (2, Some("gross_micros")));
    assert!(refused.message.ends_with("(line 4)"), "{}", refused.message);
    assert_eq!(refused.raw.lines().count(), 2);
    let sale = items[1].event.as_ref().unwrap();
    assert_eq!(sale.charge.unwrap().amounts.gross, 3_500_000);
    assert_eq!(sale.occurred_at.to_rfc3339(), "2011-01-01T09:59:00Z");
    let refund = items[2].event.as_ref().unwrap();
    assert_eq!((refund.kind, refund.charge.unwrap().amounts.gross), (EventKind::Refund, 1_000_000));
    // A refund that would take money is not one.
    assert_eq!(items[3].event.as_ref().unwrap_err().code, "invalid_gross_micros");
}

/// A container of records with these values of the fields that differ from case to case.
fn container(codec: apache_avro::Codec, customers: &[Option<&str>]) -> Vec<u8> {
    let schema = apache_avro::Schema::parse_str(
        r#"{"type":"record","name":"Any","fields":[
            {"name":"kind","type":{"type":"enum","name":"K","symbols":["gift","purchase"]}},
            {"name":"later_field","type":"double"},
            {"name":"event_id","type":"bytes"},
            {"name":"app_id","type":"string"},
            {"name":"customer_id","type":["null","string"]},
            {"name":"occurred_at","type":{"type":"long","logicalType":"timestamp-millis"}},
            {"name":"gross_micros","type":["int","null"]},
            {"name":"currency","type":["null","string"]},
            {"name":"expires_at","type":"int"},
            {"name":"attributes","type":{"type":"map","values":["null","string"]}}]}"#,
    )
    .unwrap();
    let mut writer = apache_avro::Writer::with_codec(&schema, Vec::new(), codec).unwrap();
    for (n, customer) in customers.iter().enumerate() {
        let mut record = apache_avro::types::Record::new(&schema).unwrap();
        let kind = if *customer == Some("gift") { (0, "gift") } else { (1, "purchase") };
        record.put("kind", Value::Enum(kind.0, kind.1.to_owned()));
        record.put("later_field", 1.5);
        record.put("event_id", Value::Bytes(format!("e{n}").into_bytes()));
        record.put("app_id", "acme");
        record.put("customer_id", *customer);
        record.put("occurred_at", Value::TimestampMillis(1_706_691_600_000));
        record.put("gross_micros", Value::Union(0, Box::new(Value::Int(5))));
        record.put("currency", Some("EUR"));
        record.put("expires_at", Value::Int(7));
        let b = Value::Union(1, Box::new(Value::String("b".to_owned())));
        record.put("attributes", Value::Map([("a".to_owned(), b)].into()));
        writer.append_value(record).unwrap();
        writer.flush().unwrap();
    }
    writer.into_inner().unwrap()
}

#[test]
fn an_evolved_avro_container_is_read_as_the_stream_reads_its_records() {
    let customers = [Some("c1"), None, Some("gift"), Some("c2")];
    for codec in [
        apache_avro::Codec::Null,
        apache_avro::Codec::Deflate(apache_avro::DeflateSettings::default()),
        apache_avro::Codec::Snappy,
        apache_avro::Codec::Zstandard(apache_avro::ZstandardSettings::default()),
    ] {
        let content = container(codec, &customers);
        let items = read_as("events.avro", &content, &ImportSettings::default()).unwrap();
        let expected =
            ["1 e0", "2 customer_id missing_customer_id", "3 kind unknown_symbol", "4 e3"];
        assert_eq!(items, expected);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.avro");
    std::fs::write(&path, container(apache_avro::Codec::Null, &customers)).unwrap();
    let items: Vec<_> = reader(&path, &ImportSettings::default()).unwrap().collect();
    let event = items[0].event.as_ref().unwrap();
    // What the writer had as bytes, int, milliseconds, and an int of microseconds.
    assert_eq!((&*event.event_id, event.charge.unwrap().amounts.gross), ("e0", 5));
    assert_eq!(event.occurred_at.to_rfc3339(), "2024-01-31T09:00:00Z");
    assert_eq!(event.expires_at.unwrap().0, 7);
    assert_eq!(event.dimensions.attributes, [("a".into(), "b".into())]);
    let raw = &items[1].event.as_ref().unwrap_err().raw;
    assert!(raw.contains("\"customer_id\":null") && raw.contains("\"app_id\":\"acme\""), "{raw}");
}

#[test]
fn an_avro_container_says_where_it_is_damaged_and_what_it_can_not_give() {
    let content = container(apache_avro::Codec::Null, &[Some("c1"), Some("c2"), Some("c3")]);
    let read = |content: &[u8]| read_as("x.avro", content, &ImportSettings::default());
    for cut in 1..40 {
        let items = read(&content[..content.len() - cut]).unwrap();
        assert_eq!(items, ["1 e0", "2 e1", "3 - unreadable_file"], "{cut}");
    }
    let mut longer = content.clone();
    longer.extend_from_slice(&[0x80]);
    assert_eq!(read(&longer).unwrap()[3], "4 - unreadable_file");
    assert!(
        read(b"not avro")
            .unwrap_err()
            .ends_with("not an Avro container file: it does not begin as one")
    );
    assert!(read(&content[..200]).is_err());
    let string = apache_avro::Schema::String;
    let strings = apache_avro::Writer::new(&string, Vec::new()).unwrap().into_inner().unwrap();
    let error = read(&strings).unwrap_err();
    assert!(error.contains("can't be read as events: the schema is not a record"), "{error}");
}
