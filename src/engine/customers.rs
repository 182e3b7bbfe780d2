//! The customers that are in memory, found by app and id.
//!
//! Rows lie in pages that never move, so that a growing shard copies no customer; a small index of
//! hashes finds them. Customers that were not met for a while leave first (CLOCK: a row met since
//! the hand last passed is spared once).

use std::hash::BuildHasher as _;

use compact_str::CompactString;
use hashbrown::DefaultHashBuilder;
use smallvec::SmallVec;

use crate::engine::customer::Customer;
use crate::engine::dictionary::AppIx;
use crate::engine::row_index::{LOOK_AHEAD, RowIndex};

/// Whether the store holds anything of a customer whose history is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HasHistory {
    /// So many chunks.
    Chunks(u32),
    Perhaps,
}

/// Where a customer's row lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CustomerAt(u32);

/// The place in the index where a customer that is not there belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vacancy {
    hash: u64,
}

struct Row {
    app: AppIx,
    /// Met since the clock's hand last passed.
    is_recent: bool,
    id: CompactString,
    customer: Customer,
}

/// Rows of a page.
const PAGE_ROWS: usize = 1024;
/// Rows whose memory is looked at to estimate that of all.
const SAMPLE_ROWS: usize = 1000;

/// Customers by app and id.
#[derive(Default)]
pub struct Customers {
    index: RowIndex,
    hasher: DefaultHashBuilder,
    pages: Vec<Vec<Option<Row>>>,
    free: Vec<u32>,
    hand: usize,
}

fn place(at: u32) -> (usize, usize) {
    (at as usize / PAGE_ROWS, at as usize % PAGE_ROWS)
}

impl Customers {
    /// Finds a customer, or the place where it belongs.
    pub fn find(&self, app: AppIx, id: &str) -> Result<CustomerAt, Vacancy> {
        let hash = self.hasher.hash_one((app, id));
        let is_it = |at| self.row(at).is_some_and(|row| row.app == app && row.id == id);
        self.index.find(hash, is_it).map(CustomerAt).ok_or(Vacancy { hash })
    }

    /// Reads the rows of these customers, in steps that do not wait for each other: the processor
    /// then fetches several rows from memory at a time. Where they lie is returned; a row may be
    /// another customer's of the same hash.
    pub fn look_ahead<'e>(
        &self,
        customers: impl Iterator<Item = (AppIx, &'e str)>,
    ) -> SmallVec<[CustomerAt; LOOK_AHEAD]> {
        let hashes: SmallVec<[u64; LOOK_AHEAD]> =
            customers.map(|customer| self.hasher.hash_one(customer)).collect();
        let found = self.index.look_ahead(&hashes);
        let rows: SmallVec<[CustomerAt; LOOK_AHEAD]> =
            found.into_iter().flatten().map(CustomerAt).collect();
        let customers = rows.iter().filter_map(|at| self.get(*at));
        std::hint::black_box(customers.fold(0, |read, customer| read ^ customer.look_at()));
        rows
    }

    fn row(&self, at: u32) -> Option<&Row> {
        let (page, row) = place(at);
        self.pages.get(page)?.get(row)?.as_ref()
    }

    fn row_mut(&mut self, at: u32) -> Option<&mut Row> {
        let (page, row) = place(at);
        self.pages.get_mut(page)?.get_mut(row)?.as_mut()
    }

    /// Takes in a customer that is not there.
    pub fn insert(
        &mut self,
        vacancy: Vacancy,
        (app, id): (AppIx, &str),
        customer: Customer,
    ) -> CustomerAt {
        let row = Row { app, is_recent: true, id: CompactString::new(id), customer };
        let at = match self.free.pop() {
            Some(at) => {
                let (page, place) = place(at);
                self.pages[page][place] = Some(row);
                at
            }
            None => self.push(row),
        };
        self.index.insert(vacancy.hash, at);
        CustomerAt(at)
    }

    fn push(&mut self, row: Row) -> u32 {
        if self.pages.last().is_none_or(|page| page.len() == PAGE_ROWS) {
            self.pages.push(Vec::with_capacity(PAGE_ROWS));
        }
        let full = (self.pages.len() - 1) * PAGE_ROWS;
        let page = &mut self.pages[full / PAGE_ROWS];
        page.push(Some(row));
        // Four thousand million customers do not fit into memory long before numbers end.
        u32::try_from(full + page.len() - 1).unwrap_or(u32::MAX)
    }

    /// The customer of a row.
    pub fn get(&self, at: CustomerAt) -> Option<&Customer> {
        self.row(at.0).map(|row| &row.customer)
    }

    /// The customer of a row, met now.
    pub fn meet(&mut self, at: CustomerAt) -> Option<&mut Customer> {
        let row = self.row_mut(at.0)?;
        row.is_recent = true;
        Some(&mut row.customer)
    }

    /// App, id and customer of a row.
    pub fn named_mut(&mut self, at: CustomerAt) -> Option<(AppIx, &str, &mut Customer)> {
        self.row_mut(at.0).map(|row| (row.app, row.id.as_str(), &mut row.customer))
    }

    /// Lets go of a customer.
    pub fn remove(&mut self, at: CustomerAt) {
        let Some(row) = self.row(at.0) else {
            return;
        };
        let hash = self.hasher.hash_one((row.app, row.id.as_str()));
        self.index.remove(hash, at.0);
        let (page, row) = place(at.0);
        self.pages[page][row] = None;
        self.free.push(at.0);
    }

    /// Lets go of customers until `bytes` of memory can be used anew, or none is left but those that must
    /// stay; returns how many left.
    pub fn evict(&mut self, bytes: usize, must_stay: impl Fn(&Customer) -> bool) -> usize {
        let (mut freed, mut evicted) = (0, 0);
        let rows = self.pages.len() * PAGE_ROWS;
        // The second round finds nobody met since the first.
        for _ in 0..2 * rows {
            if freed >= bytes {
                break;
            }
            self.hand = (self.hand + 1) % rows;
            let at = u32::try_from(self.hand).unwrap_or(u32::MAX);
            let Some(row) = self.row_mut(at) else {
                continue;
            };
            if std::mem::take(&mut row.is_recent) || must_stay(&row.customer) {
                continue;
            }
            freed += size_of::<Option<Row>>() + row_heap_bytes(row);
            self.remove(CustomerAt(at));
            evicted += 1;
        }
        evicted
    }

    /// Number of customers.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Bytes of memory held by customers; what rows hold elsewhere is estimated from a sample.
    pub fn memory_bytes(&self) -> usize {
        let rows = self.len() * size_of::<Option<Row>>() + self.index.memory_bytes();
        let places = u32::try_from(self.pages.len() * PAGE_ROWS).unwrap_or(u32::MAX);
        let step = (places as usize).div_ceil(SAMPLE_ROWS).max(1);
        let sampled = (0..places).step_by(step).filter_map(|at| self.row(at));
        let (count, bytes) =
            sampled.fold((0, 0), |(count, bytes), row| (count + 1, bytes + row_heap_bytes(row)));
        rows + bytes * self.len() / count.max(1)
    }
}

fn row_heap_bytes(row: &Row) -> usize {
    let id = if row.id.is_heap_allocated() { row.id.capacity() } else { 0 };
    id + row.customer.memory_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(customers: &mut Customers, id: &str, chunks: u32) -> CustomerAt {
        let vacancy = customers.find(AppIx(1), id).unwrap_err();
        customers.insert(vacancy, (AppIx(1), id), Customer::stored(chunks))
    }

    #[test]
    fn customers_are_found_by_app_and_id_until_they_leave() {
        let mut customers = Customers::default();
        for number in 0..5000 {
            add(&mut customers, &format!("customer {number}"), number);
        }
        let at = customers.find(AppIx(1), "customer 4321").unwrap();
        assert_eq!(customers.get(at).unwrap().chunks, 4321);
        assert!(customers.find(AppIx(2), "customer 4321").is_err());
        customers.remove(at);
        assert!(customers.find(AppIx(1), "customer 4321").is_err());
        assert_eq!(customers.len(), 4999);
        // The free row is used again.
        assert_eq!(add(&mut customers, "another", 7), at);
    }

    #[test]
    fn customers_that_were_not_met_leave_first() {
        let mut customers = Customers::default();
        for number in 0..100 {
            add(&mut customers, &format!("customer {number}"), number);
        }
        // The first round spares everybody once.
        let nobody = |_: &Customer| false;
        assert_eq!(customers.evict(1, nobody), 1);
        let met = customers.find(AppIx(1), "customer 50").unwrap();
        customers.meet(met);
        customers.evict(98 * size_of::<Option<Row>>(), nobody);
        assert_eq!(customers.len(), 1);
        assert_eq!(customers.find(AppIx(1), "customer 50"), Ok(met));
        assert_eq!(customers.evict(usize::MAX, |customer| customer.chunks == 50), 0);
        assert_eq!(customers.evict(usize::MAX, nobody), 1);
    }
}
