//! What a token makes of what its worker says.

use keyward_backend::BackendError;
use keyward_protocol::event::EventKind;

use super::Token;
use super::link::Hears;
use crate::events::About;

impl Hears for Token {
    fn failed(&self, error: &BackendError) {
        self.conclude(error);
    }

    fn more(&self) {
        self.pump();
    }

    fn changed(&self) {
        self.look_again();
    }

    fn touch(&self, needed: bool, about: &About) {
        let kind = match needed {
            true => EventKind::TouchNeeded,
            false => EventKind::TouchDone,
        };
        self.events.touch(kind, self.name(), about);
    }
}
