//! Who is told what happens, without being asked each time.
//!
//! Whoever subscribed has a queue of bounded length. What finds no room in it is counted, and the
//! count is told once there is room again: nobody waits for a slow reader, and none of them takes
//! more than its queue.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use keyward_protocol::event::{Event, EventCaller, EventKind};
use keyward_protocol::{ErrorCode, Failure, OperationCode};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::caller::Caller;
use crate::policy::{Action, Decision, Facts, Policy};

/// How many events wait for one subscriber.
const MOST_WAITING: usize = 256;
/// How many subscribers a uid can have.
const MOST_SUBSCRIBERS: usize = 64;

/// Those who want to know.
#[derive(Debug)]
pub struct Events {
    policy: Rc<Policy>,
    inboxes: RefCell<Vec<Weak<Inbox>>>,
    moved: Notify,
}

/// What a person is told of a request that waits for them.
#[derive(Clone, Debug)]
pub(crate) struct About {
    /// What was asked for.
    pub(crate) operation: OperationCode,
    /// With which key.
    pub(crate) key: Option<Uuid>,
    /// Who asked.
    pub(crate) caller: EventCaller,
}

/// What waits for one subscriber. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Inbox {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    unit: Option<String>,
    waiting: RefCell<VecDeque<Event>>,
    lost: Cell<u64>,
    arrived: Notify,
}

impl Events {
    /// Nobody yet; what each may see, the policy says.
    pub fn new(policy: Rc<Policy>) -> Self {
        Self {
            policy,
            inboxes: RefCell::default(),
            moved: Notify::new(),
        }
    }

    /// Tells a caller from now on.
    pub(crate) fn subscribe(&self, caller: &Caller) -> Result<Rc<Inbox>, Failure> {
        self.add(Inbox {
            uid: caller.uid,
            gid: caller.gid,
            groups: caller.groups.clone(),
            unit: caller.unit.unit.clone(),
            waiting: RefCell::default(),
            lost: Cell::new(0),
            arrived: Notify::new(),
        })
    }

    fn add(&self, inbox: Inbox) -> Result<Rc<Inbox>, Failure> {
        let mut inboxes = self.inboxes.borrow_mut();
        inboxes.retain(|inbox| inbox.strong_count() > 0);
        let same =
            |other: &Weak<Inbox>| other.upgrade().is_some_and(|other| other.uid == inbox.uid);
        if inboxes.iter().filter(|other| same(other)).count() >= MOST_SUBSCRIBERS {
            return Err(Failure::new(
                ErrorCode::Busy,
                format!("{MOST_SUBSCRIBERS} connections of yours have subscribed already"),
            ));
        }
        let inbox = Rc::new(inbox);
        inboxes.push(Rc::downgrade(&inbox));
        Ok(inbox)
    }

    /// Something happened to a token.
    pub(crate) fn token(&self, kind: EventKind, token: &str) {
        let event = Event {
            token: Some(token.to_owned()),
            ..nothing(kind)
        };
        self.tell(&event, OperationCode::Status);
    }

    /// Something happened to a key.
    pub(crate) fn key(&self, kind: EventKind, key: Uuid) {
        if self.inboxes.borrow().is_empty() {
            return;
        }
        let event = Event {
            key: Some(key.to_string()),
            ..nothing(kind)
        };
        self.tell(&event, OperationCode::Describe);
    }

    /// A token waits for a touch, or does no more.
    pub(crate) fn touch(&self, kind: EventKind, token: &str, about: &About) {
        if self.inboxes.borrow().is_empty() {
            return;
        }
        let event = Event {
            token: Some(token.to_owned()),
            key: about.key.map(|key| key.to_string()),
            operation: Some(about.operation.number()),
            caller: Some(about.caller.clone()),
            ..nothing(kind)
        };
        self.tell(&event, OperationCode::Describe);
    }

    /// Waits until some token has come, gone, or been unlocked. What happens from the call on is
    /// noticed, before the future is polled too.
    pub(crate) fn moved(&self) -> impl Future<Output = ()> {
        self.moved.notified()
    }

    /// Some token has come, gone, or been unlocked.
    pub(crate) fn has_moved(&self) {
        self.moved.notify_waiters();
    }

    /// Tells those who may see what it is about.
    fn tell(&self, event: &Event, sees: OperationCode) {
        let mut inboxes = self.inboxes.borrow_mut();
        inboxes.retain(|inbox| {
            let Some(inbox) = inbox.upgrade() else {
                return false;
            };
            if inbox.may(&self.policy, Action::Operation(sees)) {
                inbox.put(event);
            }
            true
        });
    }
}

fn nothing(kind: EventKind) -> Event {
    Event {
        kind,
        token: None,
        key: None,
        count: None,
        operation: None,
        caller: None,
    }
}

impl Inbox {
    /// The next event; none if there is none now.
    pub(crate) fn take(&self) -> Option<Event> {
        if let Some(event) = self.waiting.borrow_mut().pop_front() {
            return Some(event);
        }
        let lost = self.lost.take();
        (lost > 0).then(|| Event {
            count: Some(lost),
            ..nothing(EventKind::Lost)
        })
    }

    /// Waits until there may be something to take.
    pub(crate) async fn arrived(&self) {
        if self.waiting.borrow().is_empty() && self.lost.get() == 0 {
            self.arrived.notified().await;
        }
    }

    fn may(&self, policy: &Policy, action: Action) -> bool {
        let facts = Facts {
            uid: self.uid,
            gid: self.gid,
            groups: &self.groups,
            unit: self.unit.as_deref(),
            action,
        };
        policy.decide(&facts) == Decision::Permit
    }

    fn put(&self, event: &Event) {
        let mut waiting = self.waiting.borrow_mut();
        // Behind what was lost nothing comes before that is told.
        if waiting.len() < MOST_WAITING && self.lost.get() == 0 {
            waiting.push_back(event.clone());
        } else {
            self.lost.set(self.lost.get().saturating_add(1));
        }
        self.arrived.notify_one();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn events() -> Events {
        Events::new(Rc::new(Policy::Owner { uid: 7 }))
    }

    fn inbox(uid: u32) -> Inbox {
        Inbox {
            uid,
            gid: uid,
            groups: Vec::new(),
            unit: None,
            waiting: RefCell::default(),
            lost: Cell::new(0),
            arrived: Notify::new(),
        }
    }

    fn kinds(inbox: &Inbox) -> Vec<EventKind> {
        std::iter::from_fn(|| inbox.take())
            .map(|event| event.kind)
            .collect()
    }

    #[test]
    fn who_may_not_see_it_is_not_told() {
        let events = events();
        let mine = events.add(inbox(7)).unwrap();
        let other = events.add(inbox(8)).unwrap();
        events.key(EventKind::KeyCreated, Uuid::from_u128(1));
        events.token(EventKind::TokenLocked, "main");
        assert_eq!(
            kinds(&mine),
            [EventKind::KeyCreated, EventKind::TokenLocked]
        );
        assert_eq!(kinds(&other), []);
    }

    #[test]
    fn what_finds_no_room_is_counted_and_told_behind_what_did() {
        let events = events();
        let slow = events.add(inbox(7)).unwrap();
        for _ in 0..1000 {
            events.token(EventKind::TokenLocked, "main");
        }
        assert_eq!(slow.waiting.borrow().len(), MOST_WAITING);
        slow.take().unwrap();
        // There is room again, but what was lost comes first.
        events.token(EventKind::TokenUnlocked, "main");
        let rest: Vec<_> = std::iter::from_fn(|| slow.take()).collect();
        assert_eq!(rest.len(), MOST_WAITING);
        let last = rest.last().unwrap();
        assert_eq!((last.kind, last.count), (EventKind::Lost, Some(745)));
        events.token(EventKind::TokenUnlocked, "main");
        assert_eq!(kinds(&slow), [EventKind::TokenUnlocked]);
    }

    #[test]
    fn a_uid_has_so_many_subscribers_and_those_that_are_gone_do_not_count() {
        let events = events();
        let mut all: Vec<_> = (0..MOST_SUBSCRIBERS)
            .map(|_| events.add(inbox(7)).unwrap())
            .collect();
        assert_eq!(events.add(inbox(7)).unwrap_err().code, ErrorCode::Busy);
        events.add(inbox(8)).unwrap();
        all.pop();
        events.add(inbox(7)).unwrap();
    }

    #[test]
    fn a_touch_is_told_with_who_wants_it_to_those_who_may_see_the_key() {
        let events = events();
        let mine = events.add(inbox(7)).unwrap();
        let other = events.add(inbox(8)).unwrap();
        let about = About {
            operation: OperationCode::Sign,
            key: Some(Uuid::from_u128(1)),
            caller: EventCaller {
                uid: 7,
                pid: Some(4711),
                unit: None,
                program: Some("/usr/bin/git".to_owned()),
            },
        };
        events.touch(EventKind::TouchNeeded, "card", &about);
        events.touch(EventKind::TouchDone, "card", &about);
        let told: Vec<_> = std::iter::from_fn(|| mine.take()).collect();
        assert_eq!(told.len(), 2);
        for event in told {
            assert_eq!(event.token.as_deref(), Some("card"));
            assert_eq!(event.key, Some(Uuid::from_u128(1).to_string()));
            assert_eq!(event.operation, Some(OperationCode::Sign.number()));
            assert_eq!(event.caller.as_ref(), Some(&about.caller));
        }
        assert_eq!(kinds(&other), []);
    }

    #[tokio::test]
    async fn what_moves_before_it_is_waited_for_is_noticed_by_each_who_waits() {
        let events = events();
        let (first, second) = (events.moved(), events.moved());
        events.has_moved();
        first.await;
        second.await;
        // And what moved before nobody waits for.
        let later = events.moved();
        let nothing = tokio::time::timeout(std::time::Duration::ZERO, later).await;
        assert!(nothing.is_err());
    }

    #[tokio::test]
    async fn whoever_waits_is_woken() {
        let events = events();
        let inbox = events.add(inbox(7)).unwrap();
        let (event, ()) = tokio::join!(
            async {
                inbox.arrived().await;
                inbox.take().unwrap()
            },
            async { events.token(EventKind::TokenRemoved, "main") },
        );
        assert_eq!(event.token.as_deref(), Some("main"));
    }
}
