//! The customers that are in memory, found by app and id.
//!
//! Rows lie packed in cells of their size, some 110 bytes each, and are unpacked to be worked with: memory
//! for one more customer is worth more than the time for that, and fewer bytes are read of a row that is in
//! no cache. A small index of hashes finds them. Customers that were not met for a while leave first
//! (CLOCK: a row met since the hand last passed is spared once).
//!
//! Customers of very many events are kept whole beside the rows, which then only name them: to pack and
//! unpack one at each event would cost more than its memory.

mod cells;
mod row;

use std::hash::BuildHasher as _;

use hashbrown::DefaultHashBuilder;
use smallvec::SmallVec;

use crate::engine::customer::Customer;
use crate::engine::dictionary::AppIx;
use crate::engine::numbers::NumberBytes;
use crate::engine::row_index::{LOOK_AHEAD, RowIndex};
use crate::engine::shard::Chunks;

/// Pages of rows, of 256 KiB each, that are emptied at a time.
const PAGES_AT_A_TIME: usize = 64;
/// And that are closed together: that looks at all free cells.
const PAGES_CLOSED_MAX: usize = 1 << 10;

use cells::{CellAt, Cells};
use row::{NewRow, read_body};

pub use row::Head;

/// Whether the store holds anything of a customer whose history is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HasHistory {
    /// So many chunks.
    Chunks(u32),
    Perhaps,
}

/// Where a customer's row lies, until it is put back or leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CustomerAt(CellAt);

/// The place in the index where a customer that is not there belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vacancy {
    hash: u64,
}

/// Customers by app and id.
#[derive(Default)]
pub struct Customers {
    index: RowIndex,
    hasher: DefaultHashBuilder,
    cells: Cells,
    /// Those that are kept whole, by number.
    whole: Vec<Option<Box<Customer>>>,
    free_whole: Vec<u32>,
    hand: Option<CellAt>,
    /// Pages that are closed and not empty yet.
    closing: Vec<usize>,
    row: NewRow,
    /// The numbers that are being packed or unpacked.
    numbers: Box<NumberBytes>,
}

impl Customers {
    fn hash(&self, app: AppIx, id: &[u8]) -> u64 {
        self.hasher.hash_one((app, id))
    }

    /// Finds a customer, or the place where it belongs.
    pub fn find(&self, app: AppIx, id: &str) -> Result<CustomerAt, Vacancy> {
        let hash = self.hash(app, id.as_bytes());
        let is_it = |at| {
            let row = self.cells.from(CellAt(at));
            Head::read(row).is_some_and(|head| head.app == app && head.id(row) == id.as_bytes())
        };
        let found = self.index.find(hash, is_it);
        found.map(|at| CustomerAt(CellAt(at))).ok_or(Vacancy { hash })
    }

    /// Reads the rows of these customers, in steps that do not wait for each other: the processor
    /// then fetches several rows from memory at a time. The heads are returned; one may be another
    /// customer's of the same hash.
    pub fn look_ahead<'e>(
        &self,
        customers: impl Iterator<Item = (AppIx, &'e str)>,
    ) -> SmallVec<[Head; LOOK_AHEAD]> {
        /// How far lines of memory lie apart.
        const LINE_BYTES: usize = 64;
        let hashes: SmallVec<[u64; LOOK_AHEAD]> =
            customers.map(|(app, id)| self.hash(app, id.as_bytes())).collect();
        let found = self.index.look_ahead(&hashes);
        let rows = found.into_iter().flatten().map(|at| self.cells.from(CellAt(at)));
        let rows: SmallVec<[&[u8]; LOOK_AHEAD]> = rows.collect();
        // A row begins anywhere in a line, and most of them end in the next but one.
        let lines = rows.iter().flat_map(|row| row.iter().step_by(LINE_BYTES).take(3));
        std::hint::black_box(lines.fold(0, |read, byte| read ^ byte));
        rows.iter().filter_map(|row| Head::read(row)).collect()
    }

    /// Unpacks a customer into `customer`. It must be put back whatever becomes of it.
    pub fn take_out(&mut self, CustomerAt(at): CustomerAt, customer: &mut Customer) {
        let row = self.cells.cell(at);
        let Some(head) = Head::read(row) else { return customer.clear() };
        if !head.is_whole {
            read_body(head.body(row), &head, customer, &mut self.numbers);
            return;
        }
        let number = head.whole(row);
        if let Some(whole) = number.and_then(|number| self.whole.get_mut(number as usize)?.as_mut())
        {
            std::mem::swap(&mut **whole, customer);
        }
        customer.chunks = head.chunks;
    }

    /// Puts back a customer that was taken out, as it is now, and met now. Its row may lie elsewhere
    /// then, which is returned.
    pub fn put_back(&mut self, CustomerAt(at): CustomerAt, customer: &mut Customer) -> CustomerAt {
        let row = self.cells.cell(at);
        let Some(head) = Head::read(row) else { return CustomerAt(at) };
        let whole = head.whole(row);
        self.row.begin(head.id(row));
        self.pack((head.app, head.id_length), customer, whole);
        if self.row.bytes().len() <= self.cells.cell(at).len() {
            self.fill(at);
            return CustomerAt(at);
        }
        let hash = self.hash(head.app, head.id(self.row.bytes()));
        let moved = self.cells.take(self.row.bytes().len());
        self.fill(moved);
        self.index.replace(hash, at.0, moved.0);
        self.cells.give(at);
        CustomerAt(moved)
    }

    /// Takes in a customer that is not there.
    pub fn insert(
        &mut self,
        Vacancy { hash }: Vacancy,
        (app, id): (AppIx, &str),
        customer: &mut Customer,
    ) -> CustomerAt {
        self.row.begin(id.as_bytes());
        // Ids of customers have at most 200 bytes.
        let id_length = u8::try_from(id.len()).unwrap_or(u8::MAX);
        self.pack((app, id_length), customer, None);
        let at = self.cells.take(self.row.bytes().len());
        self.fill(at);
        self.index.insert(hash, at.0);
        CustomerAt(at)
    }

    /// Completes `self.row`, whose id is there, by head and body. `whole` is the number of a customer that
    /// is kept whole already.
    fn pack(&mut self, (app, id_length): (AppIx, u8), customer: &mut Customer, whole: Option<u32>) {
        let (path, chunks) = (customer.fold.path(), customer.chunks);
        let is_whole = whole.is_some() || !self.row.append_body(customer, &mut self.numbers);
        self.row.set_head(&Head { app, is_recent: true, is_whole, id_length, path, chunks });
        if is_whole {
            let number = self.keep_whole(customer, whole);
            self.row.append_number(number);
        }
    }

    /// Keeps a customer whole and returns its number; what is left in `customer` is nobody's.
    fn keep_whole(&mut self, customer: &mut Customer, number: Option<u32>) -> u32 {
        let number = number.or_else(|| self.free_whole.pop()).unwrap_or_else(|| {
            self.whole.push(None);
            // So many customers do not fit into memory.
            u32::try_from(self.whole.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(place) = self.whole.get_mut(number as usize) {
            std::mem::swap(&mut **place.get_or_insert_default(), customer);
        }
        number
    }

    /// Writes `self.row` into a cell.
    fn fill(&mut self, at: CellAt) {
        let (cell, row) = (self.cells.cell_mut(at), self.row.bytes());
        cell[2..row.len()].copy_from_slice(&row[2..]);
    }

    /// What is known of a customer's history without unpacking it.
    pub fn chunks(&self, CustomerAt(at): CustomerAt) -> Chunks {
        Head::read(self.cells.cell(at)).map(|head| head.chunks).unwrap_or_default()
    }

    /// Notes what is known of a customer's history.
    pub fn set_chunks(&mut self, CustomerAt(at): CustomerAt, chunks: Chunks) {
        if let Some(head) = Head::read(self.cells.cell(at)) {
            Head { chunks, ..head }.write(self.cells.cell_mut(at));
        }
    }

    /// Lets go of a customer; returns how many bytes can be used anew.
    pub fn remove(&mut self, CustomerAt(at): CustomerAt) -> usize {
        let row = self.cells.cell(at);
        let Some(head) = Head::read(row) else { return 0 };
        let mut bytes = row.len();
        let whole = head.whole(row);
        self.index.remove(self.hash(head.app, head.id(row)), at.0);
        self.cells.give(at);
        if let Some(number) = whole
            && let Some(place) = self.whole.get_mut(number as usize)
        {
            bytes += place.take().map_or(0, |customer| customer.memory_bytes());
            self.free_whole.push(number);
        }
        bytes
    }

    /// Lets go of customers until `bytes` of memory can be used anew, or none is left but those that must
    /// stay; returns how many left.
    pub fn evict(&mut self, bytes: usize, must_stay: impl Fn(Chunks) -> bool) -> usize {
        let (mut freed, mut evicted) = (0, 0);
        // The second round finds nobody met since the first.
        for _ in 0..2 * self.cells.count() {
            if freed >= bytes || self.is_empty() {
                break;
            }
            let Some(at) = self.cells.after(self.hand.unwrap_or(CellAt(0))) else { break };
            self.hand = Some(at);
            let row = self.cells.cell(at);
            let Some(head) = Head::read(row).filter(|_| self.cells.is_taken(at)) else { continue };
            if head.is_recent {
                Head { is_recent: false, ..head }.write(self.cells.cell_mut(at));
            } else if !must_stay(head.chunks) {
                freed += self.remove(CustomerAt(at));
                evicted += 1;
            }
        }
        evicted
    }

    /// Moves rows together where memory is held for none, at most so much at a time that nobody waits for long.
    pub fn compact(&mut self) {
        if self.closing.is_empty() {
            self.closing = self.cells.close_sparse(PAGES_CLOSED_MAX);
        }
        for _ in 0..PAGES_AT_A_TIME {
            let Some(page) = self.closing.pop() else { break };
            for at in self.cells.taken_in(page) {
                self.move_row(at);
            }
            self.cells.give_up(page);
            // Other cells will be made there.
            if self.hand.is_some_and(|hand| hand.page() == page) {
                self.hand = Some(Cells::first_of(page));
            }
        }
    }

    fn move_row(&mut self, at: CellAt) {
        let row = self.cells.cell(at);
        let Some(head) = Head::read(row) else { return };
        let hash = self.hash(head.app, head.id(row));
        let bytes = row.len();
        let moved = self.cells.take(bytes);
        // What two cells of at most 4 KiB hold, of which the first two bytes are theirs.
        let row = self.cells.cell(at)[2..].to_vec();
        self.cells.cell_mut(moved)[2..bytes].copy_from_slice(&row);
        self.index.replace(hash, at.0, moved.0);
    }

    /// Number of customers.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Bytes of memory held by customers.
    pub fn memory_bytes(&self) -> usize {
        let whole = self.whole.iter().flatten().map(|customer| customer.memory_bytes());
        self.cells.taken_bytes() + self.index.memory_bytes() + whole.sum::<usize>()
    }

    /// Bytes of memory held for customers to come.
    pub fn spare_memory_bytes(&self) -> usize {
        self.cells.memory_bytes() - self.cells.taken_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn add(customers: &mut Customers, id: &str, chunks: u32) -> CustomerAt {
        let vacancy = customers.find(AppIx(1), id).unwrap_err();
        customers.insert(vacancy, (AppIx(1), id), &mut Customer::stored(chunks))
    }

    fn chunks(customers: &Customers, id: &str) -> Option<u32> {
        Some(customers.chunks(customers.find(AppIx(1), id).ok()?).count)
    }

    #[test]
    fn customers_are_found_by_app_and_id_until_they_leave() {
        let mut customers = Customers::default();
        for number in 0..5000 {
            add(&mut customers, &format!("customer {number}"), number);
        }
        let at = customers.find(AppIx(1), "customer 4321").unwrap();
        assert_eq!(customers.chunks(at).count, 4321);
        assert!(customers.find(AppIx(2), "customer 4321").is_err());
        assert!(customers.remove(at) > 0);
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
        let nobody = |_: Chunks| false;
        assert_eq!(customers.evict(1, nobody), 1);
        let met = customers.find(AppIx(1), "customer 50").unwrap();
        let mut customer = Customer::default();
        customers.take_out(met, &mut customer);
        assert_eq!(customers.put_back(met, &mut customer), met);
        let bytes = customers.cells.cell(met.0).len();
        assert_eq!(customers.evict(98 * bytes, nobody), 98);
        assert_eq!(customers.len(), 1);
        assert_eq!(customers.find(AppIx(1), "customer 50"), Ok(met));
        assert_eq!(customers.evict(usize::MAX, |chunks| chunks.count == 50), 0);
        assert_eq!(customers.evict(usize::MAX, nobody), 1);
    }

    #[test]
    fn customers_whose_rows_grow_do_not_leave_memory_behind() {
        let (mut customers, mut customer) = (Customers::default(), Customer::default());
        let ids: Vec<String> = (0..30_000).map(|number| format!("customer {number}")).collect();
        ids.iter().for_each(|id| _ = add(&mut customers, id, 0));
        for grown in 1..=4 {
            for id in &ids {
                let at = customers.find(AppIx(1), id).unwrap();
                customers.take_out(at, &mut customer);
                (0..12).for_each(|event| customer.remember_id(&format!("{id} {grown} {event}")));
                customer.chunks.count += 1;
                customers.put_back(at, &mut customer);
            }
            let spare = customers.spare_memory_bytes();
            (0..4).for_each(|_| customers.compact());
            let (left, held) = (customers.spare_memory_bytes(), customers.memory_bytes());
            assert!(left < spare && left < held / 3, "{spare} {left} {held}");
            for id in &ids {
                assert_eq!(chunks(&customers, id), Some(grown), "{id}");
            }
        }
        for id in &ids {
            let at = customers.find(AppIx(1), id).unwrap();
            customers.take_out(at, &mut customer);
            assert!((1..=4).all(|grown| customer.may_have(&format!("{id} {grown} 11"))), "{id}");
            customers.put_back(at, &mut customer);
        }
        assert_eq!(customers.evict(usize::MAX, |_| false), ids.len());
        (0..4).for_each(|_| customers.compact());
        assert!(customers.spare_memory_bytes() < 1 << 20);
    }

    #[test]
    fn who_leaves_is_found_among_rows_that_have_moved() {
        let (mut customers, mut customer) = (Customers::default(), Customer::default());
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut known: BTreeMap<String, u32> = BTreeMap::new();
        for round in 0..60 {
            for number in 0..4_000 {
                let id = format!("{round} {number} {}", "x".repeat(random.random_range(0..150)));
                add(&mut customers, &id, number);
                known.insert(id, number);
            }
            // Some rows grow.
            for id in known.keys().skip(round).step_by(7) {
                let Ok(at) = customers.find(AppIx(1), id) else { continue };
                customers.take_out(at, &mut customer);
                (0..20).for_each(|seen| customer.remember_id(&format!("{id} {seen}")));
                customers.put_back(at, &mut customer);
            }
            let held = customers.memory_bytes();
            customers.evict(held / 3, |_| false);
            (0..random.random_range(0..4)).for_each(|_| customers.compact());
            known.retain(|id, _| customers.find(AppIx(1), id).is_ok());
            assert_eq!(customers.len(), known.len(), "round {round}");
            for (id, number) in &known {
                assert_eq!(chunks(&customers, id), Some(*number), "round {round}: {id}");
            }
        }
        assert!(customers.spare_memory_bytes() < customers.memory_bytes());
        assert_eq!(customers.evict(usize::MAX, |_| false), known.len());
        assert_eq!((customers.len(), customers.cells.taken_bytes()), (0, 0));
    }

    #[test]
    fn a_row_that_grows_takes_a_larger_cell_and_is_kept_whole_when_it_is_very_large() {
        let (mut customers, mut customer) = (Customers::default(), Customer::default());
        let ids = ["a", "b", &"c".repeat(200)];
        ids.iter().for_each(|id| _ = add(&mut customers, id, 0));
        let is_whole = |customers: &Customers| {
            let found = ids.iter().map(|id| customers.find(AppIx(1), id).unwrap());
            let heads = found.map(|at| Head::read(customers.cells.cell(at.0)).unwrap());
            heads.map(|head| head.is_whole).collect::<Vec<_>>()
        };
        let bytes = customers.memory_bytes();
        for seen in 0..1000 {
            for (number, id) in (0..).zip(ids) {
                let at = customers.find(AppIx(1), id).unwrap();
                customers.take_out(at, &mut customer);
                assert_eq!(customer.chunks.count, seen);
                // Each has its own.
                let text = |seen: u32| format!("{id} {seen}");
                assert!((0..seen).all(|seen| customer.may_have(&text(seen))), "{id} {seen}");
                customer.remember_id(&text(seen));
                customer.chunks.count += 1;
                let moved = customers.put_back(at, &mut customer);
                assert_eq!(customers.find(AppIx(1), id), Ok(moved), "{number}");
            }
            if seen == 100 {
                assert_eq!(is_whole(&customers), [false; 3]);
            }
        }
        assert_eq!(is_whole(&customers), [true; 3]);
        assert_eq!(ids.map(|id| chunks(&customers, id)), [Some(1000); 3]);
        let held = customers.memory_bytes();
        assert!(held > bytes + 3 * 872 * size_of::<u32>(), "{held} of {bytes}");
        let nobody = |_: Chunks| false;
        assert_eq!(customers.evict(usize::MAX, nobody), 3);
        assert_eq!(customers.cells.taken_bytes(), 0);
        // A number is used again.
        assert_eq!((customers.whole.len(), customers.free_whole.len()), (3, 3));
    }
}
