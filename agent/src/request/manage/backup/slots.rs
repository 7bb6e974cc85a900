//! The copies that are under way: few, and one that nobody goes on with makes room for others.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use keyward_protocol::{ErrorCode, Failure};
use tokio::time::Instant;

/// How many copies are under way at the most, over all connections.
const MOST: usize = 4;
/// After how long without a part a copy is given up, when another one needs its room.
const IDLE: Duration = Duration::from_secs(60);

/// The copies of all connections.
#[derive(Clone, Default)]
pub struct Copies(Rc<RefCell<Vec<Weak<Slot>>>>);

/// The bytes of one copy.
pub(super) struct Slot {
    /// None if it was given up.
    bytes: RefCell<Option<Vec<u8>>>,
    used: Cell<Instant>,
}

impl Copies {
    /// Begins a copy.
    pub(super) fn begin(&self, bytes: Vec<u8>, now: Instant) -> Result<Rc<Slot>, Failure> {
        let mut slots = self.0.borrow_mut();
        slots.retain(|slot| slot.upgrade().is_some_and(|slot| slot.is_held()));
        if slots.len() >= MOST {
            slots.retain(|slot| slot.upgrade().is_some_and(|slot| !slot.give_up(now)));
        }
        if slots.len() >= MOST {
            return Err(Failure::new(
                ErrorCode::Busy,
                "too many backups and restorations are under way",
            ));
        }
        let slot = Rc::new(Slot {
            bytes: RefCell::new(Some(bytes)),
            used: Cell::new(now),
        });
        slots.push(Rc::downgrade(&slot));
        Ok(slot)
    }
}

impl Slot {
    /// Goes on with the copy; none if it was given up.
    pub(super) fn go_on<R>(
        &self,
        now: Instant,
        go_on: impl FnOnce(&mut Vec<u8>) -> R,
    ) -> Option<R> {
        self.used.set(now);
        self.bytes.borrow_mut().as_mut().map(go_on)
    }

    /// Whether it was not given up.
    pub(super) fn is_held(&self) -> bool {
        self.bytes.borrow().is_some()
    }

    /// Gives the bytes up, if the copy has been idle for too long.
    fn give_up(&self, now: Instant) -> bool {
        let idle = now.saturating_duration_since(self.used.get()) >= IDLE;
        if idle {
            *self.bytes.borrow_mut() = None;
        }
        idle
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_nobody_goes_on_with_makes_room_for_another() {
        let copies = Copies::default();
        let start = Instant::now();
        let begin = |after: u64| copies.begin(vec![1], start + Duration::from_secs(after));
        let go_on = |slot: &Slot, after: u64| {
            slot.go_on(start + Duration::from_secs(after), |bytes| bytes.len())
        };
        let four: Vec<_> = (0..4).map(|_| begin(0).unwrap()).collect();
        assert_eq!(begin(59).err().unwrap().code, ErrorCode::Busy);
        for slot in &four[1..] {
            assert_eq!(go_on(slot, 59), Some(1));
        }
        let another = begin(60).unwrap();
        assert_eq!((go_on(&four[0], 60), go_on(&another, 60)), (None, Some(1)));
        assert_eq!(begin(61).err().unwrap().code, ErrorCode::Busy);
        // While nobody needs the room, a slow copy goes on; one that has ended leaves its room.
        drop(another);
        assert_eq!(go_on(&four[1], 1000), Some(1));
        begin(1000).unwrap();
    }
}
