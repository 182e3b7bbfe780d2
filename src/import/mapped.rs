//! Rows of a table to events, by a map.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::codec::event_fields::{Field, Slot};
use crate::domain::event::{BillingEvent, DEFAULT_APP, FieldError, RawEvent};
use crate::domain::time::Timestamp;

use super::decimal::Decimal;
use super::input::Text;
use super::map::{
    AMOUNTS, Columns, Map, Money, Rule, Section, Shape, Subject, identity, rules, shape,
};
use super::table::{Cells, Table};
use super::{ImportError, ImportSettings, OpenError, Row, ending};

pub(super) struct Mapped {
    table: Table,
    shape: Shape,
    map: Map,
    app_id: Option<String>,
    /// By the place of the rule in the map.
    skipped: Vec<u64>,
    /// In the order of their first rows.
    groups: VecDeque<Draft>,
    /// Place of each group in `groups`; only looked up, never walked through.
    places: HashMap<Vec<String>, usize>,
    /// The table is read to its end.
    gathered: bool,
    /// Bytes taken from the file.
    read: Arc<AtomicU64>,
    /// What `read` was at the first row of the newest event that was handed out.
    event_read_at: u64,
}

/// An event being put together from one row or several.
struct Draft {
    /// Of the first row.
    line: u64,
    /// Bytes taken from the file up to the first row.
    read_at: u64,
    raw: RawEvent<'static>,
    /// As written, by the place in [`AMOUNTS`].
    amounts: [Option<Decimal>; AMOUNTS.len()],
    /// All rows as text.
    text: String,
    /// The first row that is refused.
    refusal: Option<(u64, FieldError)>,
}

impl Mapped {
    pub(super) fn open(
        path: &Path,
        (text, read): (Text, Arc<AtomicU64>),
        settings: &ImportSettings,
    ) -> Result<Self, OpenError> {
        let mut section = settings.map.as_deref().map(Section::parse).transpose()?;
        let usual = if ending(path) == "tsv" { Shape::TSV } else { Shape::CSV };
        let shape = section.as_mut().map_or(Ok(usual), |section| shape(section, usual))?;
        let mut table = Table::new(text, shape);
        let header = if shape.has_header { read_header(path, &mut table)? } else { Vec::new() };
        let count = if shape.has_header { Some(header.len()) } else { table.width() };
        let mapped = section.is_some();
        let map = match section {
            Some(section) => rules(section, &Columns { names: header, count })?,
            None => identity(&header).map_err(|column| {
                let repeated = header.iter().filter(|name| **name == column).count() > 1;
                OpenError::WrongColumn { path: path.to_owned(), column, repeated }
            })?,
        };
        let app_id = settings.app_id.clone().unwrap_or_else(|| DEFAULT_APP.to_owned());
        let skipped = vec![0; map.skips.len()];
        Ok(Self {
            table,
            shape,
            map,
            app_id: mapped.then_some(app_id),
            skipped,
            groups: VecDeque::new(),
            places: HashMap::new(),
            gathered: false,
            read,
            event_read_at: 0,
        })
    }

    /// Bytes taken from the file up to the first row of the newest event that was handed out, where
    /// all rows are read before the first event.
    pub(super) fn group_read_at(&self) -> Option<u64> {
        (!self.map.group_by.is_empty()).then_some(self.event_read_at)
    }

    pub(super) fn skipped(&self) -> Vec<(String, u64)> {
        let reasons = self.map.skips.iter().map(|skip| skip.reason.clone());
        reasons.zip(self.skipped.iter().copied()).collect()
    }

    pub(super) fn next_row(&mut self) -> Option<Row> {
        if !self.map.group_by.is_empty() {
            return self.next_group();
        }
        loop {
            let draft = match self.next_cells()? {
                Ok(cells) => self.draft(&cells),
                Err((line, error)) => return Some((line, Err(error))),
            };
            if let Some(row) = self.finish(draft) {
                return Some(row);
            }
        }
    }

    /// The next row that no rule leaves out.
    fn next_cells(&mut self) -> Option<Result<Cells, (u64, ImportError)>> {
        loop {
            let cells = match self.table.next_cells()? {
                Ok(cells) => cells,
                refused => return Some(refused),
            };
            match self.map.skips.iter().position(|skip| skip.holds(&cells)) {
                Some(rule) => self.skipped[rule] += 1,
                None => return Some(Ok(cells)),
            }
        }
    }

    /// Reads all rows before the first group. A row that is no row (its text or its number of
    /// columns is wrong) tells no group and is refused on the way.
    fn next_group(&mut self) -> Option<Row> {
        while !self.gathered {
            match self.next_cells() {
                None => {
                    self.gathered = true;
                    self.places = HashMap::new();
                }
                Some(Ok(cells)) => self.gather(&cells),
                Some(Err((line, error))) => return Some((line, Err(error))),
            }
        }
        loop {
            let draft = self.groups.pop_front()?;
            if let Some(row) = self.finish(draft) {
                return Some(row);
            }
        }
    }

    fn gather(&mut self, cells: &Cells) {
        let draft = self.draft(cells);
        let column = |column: &usize| cells.get(*column).to_owned();
        let key: Vec<String> = self.map.group_by.iter().map(column).collect();
        let place = *self.places.entry(key).or_insert(self.groups.len());
        match self.groups.get_mut(place) {
            Some(group) => group.add(draft),
            None => self.groups.push_back(draft),
        }
    }

    fn draft(&self, cells: &Cells) -> Draft {
        let mut draft = Draft {
            line: cells.line,
            read_at: self.read.load(Ordering::Relaxed),
            raw: RawEvent::default(),
            amounts: [None; AMOUNTS.len()],
            text: cells.raw(self.shape),
            refusal: None,
        };
        draft.raw.app_id = self.app_id.clone().map(Cow::Owned);
        if let Err(error) = self.fill(cells, &mut draft) {
            draft.refusal = Some((cells.line, error));
        }
        draft
    }

    fn fill(&self, cells: &Cells, draft: &mut Draft) -> Result<(), FieldError> {
        for (field, rule) in &self.map.fields {
            let name = field.name();
            match (rule, field.slot(&mut draft.raw)) {
                (Rule::Text(rule), Slot::Text(slot)) => {
                    slot.set(rule.read(name, cells)?.map(Cow::Owned));
                }
                (Rule::Choice(rule), Slot::Text(slot)) => {
                    slot.set(rule.read(name, cells)?.map(Cow::Owned));
                }
                (Rule::Instant(rule), Slot::Instant(slot)) => *slot = rule.read(name, cells)?,
                (Rule::Money(rule), _) => {
                    if let Some(place) = AMOUNTS.iter().position(|amount| amount == field) {
                        draft.amounts[place] = rule.read(name, cells)?;
                    }
                }
                // The rules are made by what the field holds.
                _ => (),
            }
        }
        for (name, rule) in &self.map.attributes {
            if let Some(value) = rule.read("attributes", cells)? {
                draft.raw.dimensions.attributes.push((Cow::Owned(name.clone()), Cow::Owned(value)));
            }
        }
        Ok(())
    }

    /// The event or its refusal; `None` when a rule leaves the event out.
    fn finish(&mut self, draft: Draft) -> Option<Row> {
        if draft.refusal.is_none()
            && let Some(rule) = self.left_out(&draft)
        {
            self.skipped[rule] += 1;
            return None;
        }
        self.event_read_at = draft.read_at;
        let line = draft.line;
        let text = draft.text.clone();
        let event = match draft.refusal {
            Some((at, mut error)) => {
                if at != line {
                    error.message = format!("{} (line {at})", error.message);
                }
                Err(error)
            }
            None => self.event(draft),
        };
        Some((line, event.map_err(|error| ImportError::of_field(error, text))))
    }

    fn left_out(&self, draft: &Draft) -> Option<usize> {
        self.map.skips.iter().position(|skip| match skip.subject {
            Subject::Amount(place) => {
                draft.amounts[place].is_some_and(|amount| skip.test.holds_for(amount))
            }
            Subject::Column(_) => false,
        })
    }

    fn event(&self, draft: Draft) -> Result<BillingEvent<'static>, FieldError> {
        let mut raw = draft.raw;
        let kind = raw.kind.clone().unwrap_or_default();
        for (field, amount) in AMOUNTS.into_iter().zip(draft.amounts) {
            if let (Some(rule), Some(amount)) = (self.money_rule(field), amount)
                && let Slot::Integer(slot) = field.slot(&mut raw)
            {
                *slot = Some(rule.micros(field.name(), amount, &kind)?);
            }
        }
        raw.check()
    }

    fn money_rule(&self, field: Field) -> Option<&Money> {
        self.map.fields.iter().find_map(|(known, rule)| match rule {
            Rule::Money(rule) if *known == field => Some(rule),
            _ => None,
        })
    }
}

impl Draft {
    /// Adds a row of the same group.
    fn add(&mut self, other: Self) {
        self.text.push('\n');
        self.text.push_str(&other.text);
        if self.refusal.is_some() {
            return;
        }
        self.refusal = other.refusal;
        self.raw.occurred_at = earlier(self.raw.occurred_at, other.raw.occurred_at);
        let amounts = self.amounts.iter_mut().zip(other.amounts).zip(AMOUNTS);
        for ((mine, more), field) in amounts {
            *mine = match (*mine, more) {
                (Some(one), Some(other_one)) => {
                    let sum = one.plus(other_one);
                    if sum.is_none() {
                        let error = FieldError::invalid(field.name(), "a sum that fits", "more");
                        self.refusal = Some((other.line, error));
                    }
                    sum
                }
                (one, other_one) => one.or(other_one),
            };
        }
    }
}

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

fn read_header(path: &Path, table: &mut Table) -> Result<Vec<String>, OpenError> {
    match table.header() {
        Ok(Some(header)) => Ok(header),
        Ok(None) => Err(OpenError::NoHeader { path: path.to_owned() }),
        Err(error) => Err(OpenError::Read {
            path: path.to_owned(),
            source: std::io::Error::new(std::io::ErrorKind::InvalidData, error),
        }),
    }
}
