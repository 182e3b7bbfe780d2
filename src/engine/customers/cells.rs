//! Memory in cells of several sizes, for rows that grow.
//!
//! Cells lie one after the other in pages that never move. A cell that is given back waits for the next
//! row of its size, or of one a little smaller. Where too many wait, because rows of other sizes come, those
//! of whole pages are given up ([`Cells::close_sparse`]).
//!
//! Always true
//! * The first byte of a cell is its size in units; 0 ends a page. Its second is not zero if and only if
//!   it is taken.

/// What a cell's size is a multiple of, and what cells are numbered by.
const UNIT_BYTES: usize = 16;
/// Units of the largest cell.
const UNITS_MAX: usize = u8::MAX as usize;
/// Units of a page.
const PAGE_UNITS: usize = 1 << 14;
/// A row takes a cell of up to so many more units than it needs.
const SPARE_UNITS_MAX: usize = 2;
/// So many free units for each that is taken are left alone, divided by this.
const FREE_SHARE: usize = 8;
/// A page of which more than this part is taken, in units, costs more to empty than it brings.
const SPARSE_UNITS_MAX: usize = PAGE_UNITS * 3 / 4;

/// Where a cell begins, in units from the first page on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellAt(pub u32);

impl CellAt {
    /// The number of its page.
    pub fn page(self) -> usize {
        self.place().0
    }

    fn place(self) -> (usize, usize) {
        let unit = self.0 as usize;
        (unit / PAGE_UNITS, unit % PAGE_UNITS * UNIT_BYTES)
    }
}

/// Cells, taken and free.
pub struct Cells {
    /// Empty where a page was given up.
    pages: Vec<Box<[u8]>>,
    /// Units that are taken of each page.
    taken_of: Vec<usize>,
    /// Pages of which no cell is taken any more, until they are given up.
    closed: Vec<bool>,
    /// Numbers of the pages that were given up.
    given_up: Vec<usize>,
    /// The page in which cells are made, and its units that are in cells.
    open: usize,
    filled: usize,
    /// Cells that are free, by size in units.
    free: Vec<Vec<CellAt>>,
    /// Number of cells, taken or free.
    count: usize,
    taken_units: usize,
}

impl Default for Cells {
    fn default() -> Self {
        let free = vec![Vec::new(); UNITS_MAX + 1];
        Self {
            pages: Vec::new(),
            taken_of: Vec::new(),
            closed: Vec::new(),
            given_up: Vec::new(),
            open: 0,
            filled: PAGE_UNITS,
            free,
            count: 0,
            taken_units: 0,
        }
    }
}

impl Cells {
    /// Takes a cell of at least so many bytes, 4,080 at most. The first two are its own.
    pub fn take(&mut self, bytes: usize) -> CellAt {
        let least = bytes.div_ceil(UNIT_BYTES).clamp(1, UNITS_MAX);
        let mut fitting = least..=(least + SPARE_UNITS_MAX).min(UNITS_MAX);
        let at = match fitting.find_map(|units| self.free[units].pop()) {
            Some(at) => at,
            None => self.add(least),
        };
        let cell = self.cell_mut(at);
        cell[1] = 1;
        let units = usize::from(cell[0]);
        self.taken_units += units;
        self.taken_of[at.place().0] += units;
        at
    }

    fn add(&mut self, units: usize) -> CellAt {
        if self.filled + units > PAGE_UNITS {
            self.open = self.given_up.pop().unwrap_or_else(|| {
                self.pages.push(Box::default());
                self.taken_of.push(0);
                self.closed.push(false);
                self.pages.len() - 1
            });
            self.pages[self.open] = vec![0; PAGE_UNITS * UNIT_BYTES].into_boxed_slice();
            self.filled = 0;
        }
        let unit = self.open * PAGE_UNITS + self.filled;
        self.filled += units;
        // What holds cells keeps within the 64 GiB that numbers reach.
        let at = CellAt(u32::try_from(unit).unwrap_or(u32::MAX));
        self.cell_mut(at)[0] = units as u8;
        self.count += 1;
        at
    }

    /// Gives a cell back that was taken.
    pub fn give(&mut self, at: CellAt) {
        let cell = self.cell_mut(at);
        cell[1] = 0;
        let units = usize::from(cell[0]);
        self.taken_units -= units;
        self.taken_of[at.place().0] -= units;
        if !self.closed[at.place().0] {
            self.free[units].push(at);
        }
    }

    /// Where too many cells are free, closes the pages of which least is taken, at most so many: no cell of
    /// theirs is taken any more. Returns which; those who have cells there are to move
    /// ([`Cells::taken_in`]), and the pages to be given up then. Looks at all cells that are free.
    pub fn close_sparse(&mut self, pages_max: usize) -> Vec<usize> {
        let units = self.units();
        let spare = units.saturating_sub(self.taken_units + self.taken_units / FREE_SHARE);
        if spare < PAGE_UNITS {
            return Vec::new();
        }
        let is_sparse = |page: &usize| {
            *page != self.open
                && !self.pages[*page].is_empty()
                && !self.closed[*page]
                && self.taken_of[*page] <= SPARSE_UNITS_MAX
        };
        let mut sparse: Vec<usize> = (0..self.pages.len()).filter(is_sparse).collect();
        sparse.sort_unstable_by_key(|page| self.taken_of[*page]);
        sparse.truncate((spare / PAGE_UNITS).min(pages_max));
        for page in &sparse {
            self.closed[*page] = true;
        }
        for free in &mut self.free {
            free.retain(|at| !self.closed[at.place().0]);
            free.shrink_to(2 * free.len());
        }
        sparse
    }

    /// The cells of a page that are taken.
    pub fn taken_in(&self, page: usize) -> Vec<CellAt> {
        self.cells_of(page).filter(|at| self.is_taken(*at)).collect()
    }

    /// Gives up a page that was closed; what is still in it is lost.
    pub fn give_up(&mut self, page: usize) {
        self.count -= self.cells_of(page).count();
        self.taken_units -= std::mem::take(&mut self.taken_of[page]);
        self.pages[page] = Box::default();
        self.closed[page] = false;
        self.given_up.push(page);
    }

    /// Where the first cell of a page begins, whatever else is in it.
    pub fn first_of(page: usize) -> CellAt {
        CellAt(u32::try_from(page * PAGE_UNITS).unwrap_or(u32::MAX))
    }

    fn cells_of(&self, page: usize) -> impl Iterator<Item = CellAt> {
        let first = Some(Self::first_of(page)).filter(|at| !self.cell(*at).is_empty());
        std::iter::successors(first, move |at| self.next_in_page(*at))
    }

    /// The next cell of the same page.
    fn next_in_page(&self, at: CellAt) -> Option<CellAt> {
        let unit = at.0 as usize;
        let next = unit + self.cell(at).len() / UNIT_BYTES;
        let is_same_page = next / PAGE_UNITS == unit / PAGE_UNITS;
        let next = u32::try_from(next).ok().filter(|next| is_same_page && *next > at.0)?;
        (!self.cell(CellAt(next)).is_empty()).then_some(CellAt(next))
    }

    /// The bytes from a cell's first on, to the end of its page.
    #[inline]
    pub fn from(&self, at: CellAt) -> &[u8] {
        let (page, byte) = at.place();
        self.pages.get(page).and_then(|page| page.get(byte..)).unwrap_or_default()
    }

    /// A cell's bytes.
    #[inline]
    pub fn cell(&self, at: CellAt) -> &[u8] {
        let from = self.from(at);
        let bytes = from.first().map_or(0, |units| usize::from(*units) * UNIT_BYTES);
        from.get(..bytes).unwrap_or_default()
    }

    /// A cell's bytes.
    #[inline]
    pub fn cell_mut(&mut self, at: CellAt) -> &mut [u8] {
        let (page, byte) = at.place();
        let from = &mut self.pages[page][byte..];
        // That of a cell which is being made is not known yet.
        let bytes = usize::from(from[0]).max(1) * UNIT_BYTES;
        &mut from[..bytes]
    }

    /// Whether the cell is taken.
    pub fn is_taken(&self, at: CellAt) -> bool {
        self.from(at).get(1).is_some_and(|taken| *taken != 0)
    }

    /// The cell after this one, or the first after the last; none if there is no cell at all.
    pub fn after(&self, at: CellAt) -> Option<CellAt> {
        let count = self.pages.len();
        let first_of = |page: usize| self.cells_of(page).next();
        let page = at.place().0;
        let others = || (page + 1..count).chain(0..count).find_map(first_of);
        self.next_in_page(at).or_else(others)
    }

    /// Number of cells, taken or free.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes of the cells that are taken.
    pub fn taken_bytes(&self) -> usize {
        self.taken_units * UNIT_BYTES
    }

    /// Units of all cells.
    fn units(&self) -> usize {
        let pages = self.pages.len() - self.given_up.len();
        (pages * PAGE_UNITS).saturating_sub(PAGE_UNITS - self.filled)
    }

    /// Bytes of all cells, and of what is known of them.
    pub fn memory_bytes(&self) -> usize {
        let units = self.units();
        let free: usize = self.free.iter().map(Vec::capacity).sum();
        units * UNIT_BYTES + free * size_of::<CellAt>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_as_large_as_asked_for_lie_apart_and_are_used_anew() {
        let mut cells = Cells::default();
        assert_eq!(cells.after(CellAt(0)), None);
        let sizes = [2, 16, 17, 100, 512, 4080];
        let taken: Vec<CellAt> =
            sizes.iter().cycle().take(3000).map(|size| cells.take(*size)).collect();
        for (number, at) in taken.iter().enumerate() {
            let cell = cells.cell_mut(*at);
            let asked = sizes[number % sizes.len()];
            assert!(cell.len() >= asked && cell.len() < asked + UNIT_BYTES, "{asked}");
            cell[2..].fill(number as u8);
        }
        for (number, at) in taken.iter().enumerate() {
            let cell = &cells.cell(*at)[2..];
            assert!(cell.iter().all(|byte| *byte == number as u8), "cell {number}");
        }
        // A walk meets all of them in order, and begins again.
        let walk = std::iter::successors(Some(CellAt(0)), |at| cells.after(*at));
        assert_eq!(walk.take(taken.len()).collect::<Vec<_>>(), taken);
        assert_eq!(cells.after(taken[taken.len() - 1]), Some(CellAt(0)));

        let held = cells.memory_bytes();
        let bytes = cells.taken_bytes();
        taken.iter().for_each(|at| cells.give(*at));
        assert_eq!(cells.taken_bytes(), 0);
        assert!(taken.iter().all(|at| !cells.is_taken(*at)));
        sizes.iter().cycle().take(3000).for_each(|size| _ = cells.take(*size));
        assert_eq!(cells.taken_bytes(), bytes);
        assert!(cells.memory_bytes() < held + held / 50, "{} {held}", cells.memory_bytes());
    }

    #[test]
    fn pages_of_which_little_is_taken_are_given_up_and_made_anew() {
        let mut cells = Cells::default();
        // Rows that grow: each takes a larger cell, and leaves one that is too small for all others.
        let small: Vec<CellAt> = (0..40_000).map(|_| cells.take(80)).collect();
        let held = cells.memory_bytes();
        small.iter().step_by(2).for_each(|at| cells.give(*at));
        let large: Vec<CellAt> = (0..20_000).map(|_| cells.take(128)).collect();
        assert!(cells.memory_bytes() > held * 3 / 2);
        let mut left: Vec<CellAt> = small.into_iter().skip(1).step_by(2).collect();
        for (number, at) in left.iter().enumerate() {
            cells.cell_mut(*at)[2..6].copy_from_slice(&(number as u32).to_le_bytes());
        }
        let mut pages = 0;
        loop {
            let closed = cells.close_sparse(2);
            pages += closed.len();
            for page in &closed {
                for at in cells.taken_in(*page) {
                    let moved = cells.take(cells.cell(at).len());
                    let row = cells.cell(at)[2..].to_vec();
                    cells.cell_mut(moved)[2..].copy_from_slice(&row);
                    *left.iter_mut().find(|left| **left == at).unwrap() = moved;
                }
                cells.give_up(*page);
            }
            if closed.is_empty() {
                break;
            }
        }
        assert!(pages > 3, "{pages}");
        assert!(cells.memory_bytes() < cells.taken_bytes() * 5 / 4);
        for (number, at) in left.iter().enumerate() {
            assert_eq!(cells.cell(*at)[2..6], (number as u32).to_le_bytes());
        }
        // A walk meets all that are taken.
        let walk = std::iter::successors(cells.after(CellAt(0)), |at| cells.after(*at));
        let met = walk.take(cells.count()).filter(|at| cells.is_taken(*at)).count();
        assert_eq!(met, left.len() + large.len());
        // What was given up is used again.
        let pages = cells.pages.len();
        let more: Vec<CellAt> = (0..8_000).map(|_| cells.take(400)).collect();
        assert_eq!(cells.pages.len(), pages.max(cells.pages.len() - cells.given_up.len()));
        assert!(more.iter().all(|at| cells.is_taken(*at)));
        left.iter().chain(&large).chain(&more).for_each(|at| cells.give(*at));
        assert_eq!(cells.taken_bytes(), 0);
    }

    #[test]
    fn a_row_takes_a_free_cell_that_is_a_little_too_large_and_none_that_is_much_too_large() {
        let mut cells = Cells::default();
        let (little, much) = (cells.take(96), cells.take(200));
        cells.give(little);
        cells.give(much);
        assert_eq!(cells.take(70), little);
        let other = cells.take(70);
        assert!(![little, much].contains(&other));
    }
}
