//! Who asks, and what belongs to the connection alone.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use keyward_protocol::operation::OperationCode;

use super::{absorb, manage};
use crate::audit::Seq;
use crate::caller::Caller;
use crate::events::Inbox;

/// Who asks, through which connection.
pub struct Origin {
    /// Facts from the kernel.
    pub caller: Caller,
    /// Reads that are in the log already: they are recorded once per connection.
    pub(super) recorded: RefCell<Vec<(OperationCode, Seq)>>,
    /// The process behind it has ended or become another program.
    pub(super) gone: Cell<bool>,
    /// Messages that are given in parts.
    pub(super) streams: absorb::Streams,
    /// Whether hello and welcome have agreed on events.
    pub(super) events_agreed: Cell<bool>,
    /// What the connection has subscribed to.
    pub(super) inbox: OnceCell<Rc<Inbox>>,
    /// Backups and restorations.
    pub(super) copies: manage::backup::Under,
}

impl Origin {
    /// The origin of a new connection.
    pub fn new(caller: Caller) -> Self {
        Self {
            caller,
            recorded: RefCell::default(),
            gone: Cell::new(false),
            streams: absorb::Streams::default(),
            events_agreed: Cell::new(false),
            inbox: OnceCell::new(),
            copies: manage::backup::Under::default(),
        }
    }

    /// Hello and welcome have agreed on events.
    pub fn agree_on_events(&self) {
        self.events_agreed.set(true);
    }

    /// What waits to be told, if the connection has subscribed.
    pub(crate) fn inbox(&self) -> Option<&Inbox> {
        self.inbox.get().map(Rc::as_ref)
    }

    /// Whether the connection is to be closed: whoever opened it is not there any more.
    pub fn is_gone(&self) -> bool {
        self.gone.get()
    }
}
