//! What waits for a token: bounded, and fair by caller.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// A queue that serves its callers in turn, however much each of them has put in.
pub(crate) struct FairQueue<C, T> {
    by_caller: HashMap<C, VecDeque<T>>,
    turns: VecDeque<C>,
    length: usize,
    limit: usize,
    limit_per_caller: usize,
}

/// The queue has no room for this caller.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full<T>(pub(crate) T);

impl<C: Hash + Eq + Copy, T> FairQueue<C, T> {
    /// A queue with room for `limit` in all and `limit_per_caller` of each caller.
    pub(crate) fn new(limit: usize, limit_per_caller: usize) -> Self {
        Self {
            by_caller: HashMap::new(),
            turns: VecDeque::new(),
            length: 0,
            limit,
            limit_per_caller,
        }
    }

    /// Puts `item` behind what its caller has put in before.
    pub(crate) fn push(&mut self, caller: C, item: T) -> Result<(), Full<T>> {
        let mine = self.by_caller.get(&caller).map_or(0, VecDeque::len);
        if self.length >= self.limit || mine >= self.limit_per_caller {
            return Err(Full(item));
        }
        self.by_caller.entry(caller).or_default().push_back(item);
        if mine == 0 {
            self.turns.push_back(caller);
        }
        self.length = self.length.saturating_add(1);
        Ok(())
    }

    /// The next one of the caller whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<(C, T)> {
        let caller = self.turns.pop_front()?;
        let items = self.by_caller.get_mut(&caller)?;
        let item = items.pop_front()?;
        if items.is_empty() {
            self.by_caller.remove(&caller);
        } else {
            self.turns.push_back(caller);
        }
        self.length = self.length.saturating_sub(1);
        Some((caller, item))
    }

    /// Puts back what [`FairQueue::pop`] gave, to be the very next.
    pub(crate) fn put_back(&mut self, caller: C, item: T) {
        let items = self.by_caller.entry(caller).or_default();
        items.push_front(item);
        self.turns.retain(|other| *other != caller);
        self.turns.push_front(caller);
        self.length = self.length.saturating_add(1);
    }

    /// Takes out whatever of `caller` matches.
    pub(crate) fn remove(&mut self, caller: C, matches: impl Fn(&T) -> bool) {
        let Some(items) = self.by_caller.get_mut(&caller) else {
            return;
        };
        let before = items.len();
        items.retain(|item| !matches(item));
        let removed = before.saturating_sub(items.len());
        self.length = self.length.saturating_sub(removed);
        if items.is_empty() {
            self.by_caller.remove(&caller);
            self.turns.retain(|other| *other != caller);
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.length
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn callers_take_turns_however_much_each_has_put_in() {
        let mut queue = FairQueue::new(100, 50);
        for n in 0..4 {
            queue.push('a', n).unwrap();
        }
        queue.push('b', 10).unwrap();
        queue.push('c', 20).unwrap();
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(
            order,
            [('a', 0), ('b', 10), ('c', 20), ('a', 1), ('a', 2), ('a', 3)]
        );
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn a_full_queue_refuses_and_gives_the_item_back() {
        let mut queue = FairQueue::new(3, 2);
        queue.push('a', 1).unwrap();
        queue.push('a', 2).unwrap();
        assert_eq!(queue.push('a', 3), Err(Full(3)), "the caller's own limit");
        queue.push('b', 4).unwrap();
        assert_eq!(queue.push('c', 5), Err(Full(5)), "the limit of all");
        queue.pop().unwrap();
        queue.push('c', 5).unwrap();
    }

    #[test]
    fn what_was_put_back_is_next() {
        let mut queue = FairQueue::new(10, 10);
        queue.push('a', 1).unwrap();
        queue.push('b', 2).unwrap();
        let (caller, item) = queue.pop().unwrap();
        queue.put_back(caller, item);
        assert_eq!(queue.pop(), Some(('a', 1)));
        assert_eq!(queue.pop(), Some(('b', 2)));
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn what_is_cancelled_leaves_its_place_to_others() {
        let mut queue = FairQueue::new(2, 2);
        queue.push('a', 1).unwrap();
        queue.push('a', 2).unwrap();
        queue.remove('a', |item| *item == 1);
        queue.push('b', 3).unwrap();
        queue.remove('a', |_| true);
        queue.remove('z', |_| true);
        assert_eq!(queue.pop(), Some(('b', 3)));
        assert_eq!(queue.pop(), None);
        assert_eq!(queue.len(), 0);
    }
}
