//! Bytes that grow without end and hardly ever move.
//!
//! A commit under a backlog is hundreds of megabytes. One piece of memory of that size is copied each
//! time it has to grow, into pages that the system has to clear first. Blocks are taken one by one, and
//! the allocator has those of one commit at hand for the next.

/// Size of a block.
const BLOCK_BYTES: usize = 1 << 20;
/// A block with less room than this is left as it is: hardly any run of bytes is longer, and one that is
/// makes its block grow.
const ROOM_MIN: usize = 32 << 10;

/// Runs of bytes, each in one piece.
#[derive(Debug, Clone, Default)]
pub struct Blocks {
    blocks: Vec<Vec<u8>>,
    full_bytes: usize,
}

/// Where a run begins: the number of its block in the upper half, the byte there in the lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunAt(pub u64);

impl Blocks {
    /// Appends a run, which is what `write` appends, and returns where it begins.
    #[inline]
    pub fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> RunAt {
        let has_room = |block: &Vec<u8>| block.len() + ROOM_MIN <= BLOCK_BYTES;
        if !self.blocks.last().is_some_and(has_room) {
            self.full_bytes += self.blocks.last().map_or(0, Vec::len);
            self.blocks.push(Vec::with_capacity(BLOCK_BYTES));
        }
        let number = self.blocks.len() - 1;
        let block = &mut self.blocks[number];
        let start = block.len();
        write(block);
        RunAt((number as u64) << 32 | start as u64)
    }

    /// The bytes from the beginning of a run on, at least all of it; none if there is no such run.
    #[inline]
    pub fn from(&self, RunAt(at): RunAt) -> &[u8] {
        let (number, start) = ((at >> 32) as usize, at as u32 as usize);
        self.blocks.get(number).and_then(|block| block.get(start..)).unwrap_or_default()
    }

    /// Bytes of all runs.
    pub fn byte_count(&self) -> usize {
        self.full_bytes + self.blocks.last().map_or(0, Vec::len)
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        self.blocks.iter().map(Vec::capacity).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_stay_in_one_piece_where_they_were_put() {
        let mut blocks = Blocks::default();
        let mut runs = Vec::new();
        let lengths = [0, 1, ROOM_MIN, ROOM_MIN + 1, BLOCK_BYTES - 7, 3, 2 * BLOCK_BYTES, 5];
        for (number, length) in (0u8..).zip(lengths.into_iter().cycle().take(50)) {
            let at = blocks.append(|into| into.resize(into.len() + length, number));
            runs.push((at, number, length));
        }
        for (at, number, length) in &runs {
            let run = &blocks.from(*at)[..*length];
            assert!(run.iter().all(|byte| byte == number), "run {number}");
        }
        let all: usize = runs.iter().map(|(_, _, length)| length).sum();
        assert_eq!(blocks.byte_count(), all);
        assert!(blocks.memory_bytes() >= all);
        assert!(blocks.blocks.len() > 10);
        assert_eq!(blocks.from(RunAt(1 << 50)), b"");
    }
}
