//! The facts of one customer, kind by kind as the rules list them.

use std::fmt::Write as _;

use chrono::{Datelike, NaiveDate};
use chrono_tz::Tz;

use super::calendar::{day, slip};
use super::ledger::Ledger;
use super::{Facts, Sums, heads, timelines};

/// All facts of a ledger; rows at zero may be among them.
pub fn of(ledger: &Ledger<'_>) -> Facts {
    let texts: Vec<String> = ledger.dims.iter().map(|tuple| tuple.text()).collect();
    let mut facts = Facts::new();
    for (zone_index, zone) in ledger.app.zones.iter().enumerate() {
        let prefix = format!("{}|{zone_index}|", ledger.app.settings.id);
        let maker = Maker { ledger, texts: &texts, prefix, zone: *zone, facts: &mut facts };
        maker.make();
    }
    facts
}

/// Adds sums to the row of a key.
pub fn add(facts: &mut Facts, key: String, sums: Sums) {
    let row = facts.entry(key).or_default();
    *row = (row.0 + sums.0, row.1 + sums.1, row.2 + sums.2, row.3 + sums.3);
}

/// What a key holds beside app and zone.
#[derive(Clone, Copy, Default)]
struct Row<'a> {
    kind: &'a str,
    day: NaiveDate,
    install_day: Option<NaiveDate>,
    first_day: Option<NaiveDate>,
    other_day: Option<NaiveDate>,
    index: usize,
    /// Install, first payment; the same two of the other day.
    slips: [i64; 4],
    dims: &'a str,
}

/// Makes the facts of one ledger in one zone.
struct Maker<'a> {
    ledger: &'a Ledger<'a>,
    /// Canonical dimensions of each event.
    texts: &'a [String],
    prefix: String,
    zone: Tz,
    facts: &'a mut Facts,
}

impl<'a> Maker<'a> {
    fn make(mut self) {
        self.customer();
        self.payments();
        self.heads();
        self.refunds();
        self.timelines();
    }

    fn customer(&mut self) {
        let Some(at) = self.ledger.placing() else { return };
        let index = usize::from(self.ledger.events[at].kind == "install");
        let row = Row { index, ..self.row("Customer", at) };
        self.put(&row, (1, 0, 0, 0));
    }

    fn payments(&mut self) {
        let ledger = self.ledger;
        for at in ledger.payments() {
            let [install, first] = self.slips(at);
            let before = ledger.payments().filter(|older| *older < at).last();
            let row = Row {
                first_day: self.first_day(),
                other_day: before.map(|older| self.day_of(older)),
                index: ledger.payment_index(at),
                slips: [install, first, 0, 0],
                ..self.row("Payment", at)
            };
            self.put(&row, self.money(at));
        }
    }

    fn heads(&mut self) {
        for change in heads::of(self.ledger, self.texts) {
            let mut row = Row { index: change.index, ..self.row(change.kind, change.at) };
            row.dims = &change.dims;
            if change.kind == "Payer" {
                row.first_day = self.first_day();
            }
            if change.kind != "PeriodPayer" {
                row.slips[0] = self.slips(change.at)[0];
            }
            self.put(&row, (change.count, 0, 0, 0));
        }
    }

    fn refunds(&mut self) {
        let ledger = self.ledger;
        for at in ledger.of_kind("refund") {
            if ledger.is_unplaced(at) {
                let row = Row { install_day: None, ..self.row("UnplacedRefund", at) };
                self.put(&row, self.money(at));
                continue;
            }
            let [install, first] = self.slips(at);
            let mut row = Row {
                first_day: self.first_day(),
                slips: [install, first, 0, 0],
                ..self.row("Refund", at)
            };
            if let Some(payment) = ledger.payment_of(at) {
                self.repeated_refund(at, payment);
                let [other_install, other_first] = self.slips(payment);
                row.slips = [install, first, other_install, other_first];
                row.other_day = Some(self.day_of(payment));
                row.index = ledger.payment_index(payment);
            }
            self.put(&row, self.money(at));
        }
    }

    /// A row for a refund of a payment that had one before.
    fn repeated_refund(&mut self, at: usize, payment: usize) {
        let ledger = self.ledger;
        let mut older = ledger.of_kind("refund").take_while(|older| *older < at);
        if older.any(|older| ledger.payment_of(older) == Some(payment)) {
            let other_day = Some(self.day_of(payment));
            let row = Row {
                install_day: None,
                other_day,
                dims: &self.texts[payment],
                ..self.row("RepeatedRefund", at)
            };
            self.put(&row, (1, 0, 0, 0));
        }
    }

    fn timelines(&mut self) {
        let all = timelines::of(self.ledger, self.zone, self.texts, false);
        let unrefunded = timelines::of(self.ledger, self.zone, self.texts, true);
        let mut put = |kind: &'a str, line: &Option<(NaiveDate, String)>, count| {
            if let Some((day, text)) = line {
                self.put(&Row { kind, day: *day, dims: text, ..Row::default() }, (count, 0, 0, 0));
            }
        };
        put("Timeline", &all, 1);
        if all != unrefunded {
            put("UnrefundedTimeline", &all, -1);
            put("UnrefundedTimeline", &unrefunded, 1);
        }
    }

    fn put(&mut self, row: &Row<'_>, sums: Sums) {
        let mut key = String::with_capacity(self.prefix.len() + row.dims.len() + 80);
        key.push_str(&self.prefix);
        key.push_str(row.kind);
        let days = [Some(row.day), row.install_day, row.first_day, row.other_day];
        for day in days {
            let _ = match day {
                Some(day) => {
                    write!(key, "|{:04}-{:02}-{:02}", day.year(), day.month(), day.day())
                }
                None => write!(key, "|-"),
            };
        }
        let [install, first, other_install, other_first] = row.slips;
        let _ = write!(key, "|{}|{install},{first},{other_install},{other_first}|", row.index);
        key.push_str(row.dims);
        add(self.facts, key, sums);
    }

    /// A row of an event: its day, the install day, its dimensions.
    fn row(&self, kind: &'a str, at: usize) -> Row<'a> {
        let install_day = self.ledger.placing().map(|placing| self.day_of(placing));
        Row { kind, day: self.day_of(at), install_day, dims: &self.texts[at], ..Row::default() }
    }

    fn day(&self, us: i64) -> NaiveDate {
        day(us, self.zone)
    }

    fn day_of(&self, at: usize) -> NaiveDate {
        self.day(self.ledger.events[at].occurred_at)
    }

    fn first_day(&self) -> Option<NaiveDate> {
        self.ledger.first_payment().map(|us| self.day(us))
    }

    /// Slips of an event against the install and the first payment.
    fn slips(&self, at: usize) -> [i64; 2] {
        let us = self.ledger.events[at].occurred_at;
        let install = self.ledger.placing().map(|placing| self.ledger.events[placing].occurred_at);
        [install, self.ledger.first_payment()]
            .map(|anchor| anchor.map_or(0, |anchor| slip(us, anchor, self.zone)))
    }

    /// One event with its money in the reporting currency.
    fn money(&self, at: usize) -> Sums {
        let [gross, proceeds, net] = self.ledger.app.converted(self.ledger.events[at]);
        (1, gross, proceeds, net)
    }
}
