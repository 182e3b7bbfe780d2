//! Memory in cells of several sizes, for rows that grow.
//!
//! Cells lie one after the other in pages that never move. A cell that is given back waits for the next
//! row of its size, or of one a little smaller. Rows of all sizes come and go all the time, so that
//! few cells wait for long.
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

/// Where a cell begins, in units from the first page on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellAt(pub u32);

impl CellAt {
    fn place(self) -> (usize, usize) {
        let unit = self.0 as usize;
        (unit / PAGE_UNITS, unit % PAGE_UNITS * UNIT_BYTES)
    }
}

/// Cells, taken and free.
pub struct Cells {
    pages: Vec<Box<[u8]>>,
    /// Units of the last page that are in cells.
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
        Self { pages: Vec::new(), filled: PAGE_UNITS, free, count: 0, taken_units: 0 }
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
        self.taken_units += usize::from(cell[0]);
        at
    }

    fn add(&mut self, units: usize) -> CellAt {
        if self.filled + units > PAGE_UNITS {
            self.pages.push(vec![0; PAGE_UNITS * UNIT_BYTES].into_boxed_slice());
            self.filled = 0;
        }
        let unit = (self.pages.len() - 1) * PAGE_UNITS + self.filled;
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
        self.free[units].push(at);
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
        let is_cell = |unit: usize| {
            let at = CellAt(u32::try_from(unit).ok()?);
            (!self.cell(at).is_empty()).then_some(at)
        };
        let unit = at.0 as usize;
        let next = unit + self.cell(at).len() / UNIT_BYTES;
        let is_same_page = next / PAGE_UNITS == unit / PAGE_UNITS;
        let next = is_same_page.then_some(next).filter(|_| next > unit).and_then(is_cell);
        next.or_else(|| is_cell((unit / PAGE_UNITS + 1) * PAGE_UNITS)).or_else(|| is_cell(0))
    }

    /// Number of cells, taken or free.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes of the cells that are taken.
    pub fn taken_bytes(&self) -> usize {
        self.taken_units * UNIT_BYTES
    }

    /// Bytes of all cells, and of what is known of them.
    pub fn memory_bytes(&self) -> usize {
        let units = (self.pages.len() * PAGE_UNITS).saturating_sub(PAGE_UNITS - self.filled);
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
