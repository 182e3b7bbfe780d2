//! Where the chains of a customer with very many of them are.

use hashbrown::HashMap;

use crate::engine::fold::Chain;

/// So few chains are looked through one by one.
const LOOKED_THROUGH_MAX: usize = 64;

/// Places of chains by their ids, once there are many. Says nothing that the chains do not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ChainPlaces(HashMap<u64, usize>);

impl ChainPlaces {
    /// Where the chain of an id is.
    pub fn find(&self, id: u64, chains: &[Chain]) -> Option<usize> {
        if self.0.len() == chains.len() && !chains.is_empty() {
            return self.0.get(&id).copied();
        }
        chains.iter().position(|chain| chain.id == id)
    }

    /// Takes note of the last chain, which is new.
    pub fn note(&mut self, chains: &[Chain]) {
        if chains.len() > LOOKED_THROUGH_MAX {
            let known = self.0.len();
            let new = chains.iter().enumerate().skip(known);
            self.0.extend(new.map(|(place, chain)| (chain.id, place)));
        }
    }

    /// Lets go of all: the chains are becoming those of another customer.
    pub fn forget(&mut self) {
        if !self.0.is_empty() {
            self.0.clear();
        }
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        self.0.allocation_size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_found_before_and_after_there_are_many() {
        let (mut chains, mut places) = (Vec::new(), ChainPlaces::default());
        for id in 0..3 * LOOKED_THROUGH_MAX as u64 {
            assert_eq!(places.find(id, &chains), None);
            chains.push(Chain { id, ..Chain::default() });
            places.note(&chains);
            for known in [0, id / 2, id] {
                assert_eq!(places.find(known, &chains), Some(known as usize));
            }
        }
        assert!(places.memory_bytes() > 0);
        chains.truncate(2);
        places.forget();
        assert_eq!([0, 1, 2].map(|id| places.find(id, &chains)), [Some(0), Some(1), None]);
    }
}
