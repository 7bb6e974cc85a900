//! What waits for a token: bounded, and fair by user, then by process.

use std::collections::{BTreeMap, VecDeque};

/// Who stands in the queue: uid and pid.
pub(crate) type QueueKey = (u32, u32);

/// A queue that serves users in turn, and the processes of each user in turn, however much each of
/// them has put in. Forking gains nothing, and one user can't fill all of it.
pub(crate) struct FairQueue<T> {
    users: Turns<u32, Turns<u32, VecDeque<T>>>,
    length: usize,
    limit: usize,
    limit_per_caller: usize,
}

/// The queue has no room for this caller.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full<T>(pub(crate) T);

/// Things by name, and whose turn it is.
struct Turns<K, V> {
    all: BTreeMap<K, V>,
    order: VecDeque<K>,
}

impl<K, V> Default for Turns<K, V> {
    fn default() -> Self {
        Self {
            all: BTreeMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<K: Ord + Copy, V: Default> Turns<K, V> {
    /// The one of this name; a new one comes last, or first.
    fn of(&mut self, name: K, first: bool) -> &mut V {
        if first {
            self.order.retain(|other| *other != name);
            self.order.push_front(name);
        } else if !self.all.contains_key(&name) {
            self.order.push_back(name);
        }
        self.all.entry(name).or_default()
    }

    /// The one whose turn it is goes last, or away once it is empty.
    fn next<T>(
        &mut self,
        take: impl FnOnce(&mut V) -> Option<T>,
        is_empty: impl FnOnce(&V) -> bool,
    ) -> Option<(K, T)> {
        let name = self.order.pop_front()?;
        let one = self.all.get_mut(&name)?;
        let taken = take(one);
        if is_empty(one) {
            self.all.remove(&name);
        } else {
            self.order.push_back(name);
        }
        Some((name, taken?))
    }

    fn remove(&mut self, name: K) {
        self.all.remove(&name);
        self.order.retain(|other| *other != name);
    }
}

impl<T> FairQueue<T> {
    /// A queue with room for `limit` in all, three quarters of it for any one user, and
    /// `limit_per_caller` for each process.
    pub(crate) fn new(limit: usize, limit_per_caller: usize) -> Self {
        Self {
            users: Turns::default(),
            length: 0,
            limit,
            limit_per_caller,
        }
    }

    /// Puts `item` behind what its caller has put in before.
    pub(crate) fn push(&mut self, (uid, pid): QueueKey, item: T) -> Result<(), Full<T>> {
        let user = self.users.all.get(&uid);
        let of_user = user.map_or(0, |user| user.all.values().map(VecDeque::len).sum());
        let of_caller = user
            .and_then(|user| user.all.get(&pid))
            .map_or(0, VecDeque::len);
        let share = self.limit.saturating_sub(self.limit / 4);
        if self.length >= self.limit || of_user >= share || of_caller >= self.limit_per_caller {
            return Err(Full(item));
        }
        let user = self.users.of(uid, false);
        user.of(pid, false).push_back(item);
        self.length = self.length.saturating_add(1);
        Ok(())
    }

    /// The next one of the caller whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<(QueueKey, T)> {
        let (uid, (pid, item)) = self.users.next(
            |user| user.next(VecDeque::pop_front, VecDeque::is_empty),
            |user| user.all.is_empty(),
        )?;
        self.length = self.length.saturating_sub(1);
        Some(((uid, pid), item))
    }

    /// Puts back what [`FairQueue::pop`] gave, to be the very next.
    pub(crate) fn put_back(&mut self, (uid, pid): QueueKey, item: T) {
        let user = self.users.of(uid, true);
        user.of(pid, true).push_front(item);
        self.length = self.length.saturating_add(1);
    }

    /// Takes out whatever of a caller matches, and says how many those were.
    pub(crate) fn remove(&mut self, (uid, pid): QueueKey, matches: impl Fn(&T) -> bool) -> usize {
        let Some(user) = self.users.all.get_mut(&uid) else {
            return 0;
        };
        let Some(items) = user.all.get_mut(&pid) else {
            return 0;
        };
        let before = items.len();
        items.retain(|item| !matches(item));
        let removed = before.saturating_sub(items.len());
        self.length = self.length.saturating_sub(removed);
        if items.is_empty() {
            user.remove(pid);
        }
        if user.all.is_empty() {
            self.users.remove(uid);
        }
        removed
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

    const A: QueueKey = (1, 10);
    const A_FORK: QueueKey = (1, 11);
    const B: QueueKey = (2, 20);
    const C: QueueKey = (3, 30);

    #[test]
    fn users_take_turns_however_much_each_has_put_in() {
        let mut queue = FairQueue::new(100, 50);
        for n in 0..4 {
            queue.push(A, n).unwrap();
        }
        queue.push(B, 10).unwrap();
        queue.push(C, 20).unwrap();
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|(_, n)| n).collect();
        assert_eq!(order, [0, 10, 20, 1, 2, 3]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn a_user_with_many_processes_has_no_more_turns() {
        let mut queue = FairQueue::new(100, 50);
        for n in 0..2 {
            queue.push(A, n).unwrap();
            queue.push(A_FORK, 10 + n).unwrap();
            queue.push(B, 20 + n).unwrap();
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|(_, n)| n).collect();
        assert_eq!(order, [0, 20, 10, 21, 1, 11]);
    }

    #[test]
    fn a_full_queue_refuses_and_gives_the_item_back() {
        let mut queue = FairQueue::new(4, 2);
        queue.push(A, 1).unwrap();
        queue.push(A, 2).unwrap();
        assert_eq!(queue.push(A, 3), Err(Full(3)), "the process's own limit");
        queue.push(A_FORK, 4).unwrap();
        assert_eq!(queue.push(A_FORK, 5), Err(Full(5)), "the user's share");
        queue.push(B, 6).unwrap();
        assert_eq!(queue.push(C, 7), Err(Full(7)), "the limit of all");
        queue.pop().unwrap();
        queue.push(C, 7).unwrap();
    }

    #[test]
    fn what_was_put_back_is_next() {
        let mut queue = FairQueue::new(10, 10);
        queue.push(A, 1).unwrap();
        queue.push(B, 2).unwrap();
        let (caller, item) = queue.pop().unwrap();
        queue.put_back(caller, item);
        assert_eq!(queue.pop(), Some((A, 1)));
        assert_eq!(queue.pop(), Some((B, 2)));
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn what_is_cancelled_leaves_its_place_to_others() {
        let mut queue = FairQueue::new(4, 2);
        queue.push(A, 1).unwrap();
        queue.push(A, 2).unwrap();
        assert_eq!(queue.remove(A, |item| *item == 1), 1);
        queue.push(B, 3).unwrap();
        assert_eq!(queue.remove(A, |_| true), 1);
        assert_eq!(queue.remove(C, |_| true), 0);
        assert_eq!(queue.pop(), Some((B, 3)));
        assert_eq!(queue.pop(), None);
        assert_eq!(queue.len(), 0);
    }
}
