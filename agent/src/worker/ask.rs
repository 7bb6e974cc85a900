//! What a token is to do, and with which key.

use std::rc::Rc;

use keyward_backend::message::{Expected, Work};
use keyward_protocol::{CoseKey, Thumbprint};

use super::Token;
use crate::registry::Version;

/// What a token is to do.
#[derive(Clone)]
pub struct Ask {
    pub(super) work: Rc<Work>,
    /// What the registry has of the key that it is done with.
    pub(super) expected: Option<Rc<Expected>>,
}

impl Ask {
    /// Something that is done with a key; a token where keys can be exchanged for others hears which
    /// one is meant.
    pub(crate) fn of(work: Rc<Work>, version: &Version, token: &Token) -> Self {
        let exchangeable = matches!(token.kind(), "tpm" | "piv");
        let mut places = version.placements.iter().filter(|_| exchangeable);
        let place = places.find(|place| place.token == token.name());
        let expected = place.map(|place| {
            Rc::new(Expected {
                locator: place.locator.clone(),
                thumbprint: version.thumbprint.map(|thumbprint| thumbprint.0.into()),
            })
        });
        Self { work, expected }
    }
}

impl Ask {
    /// Something that is done with a key of which the registry has nothing yet.
    pub(crate) fn at(work: Work, locator: &str, public: &CoseKey) -> Self {
        Self {
            work: Rc::new(work),
            expected: Some(Rc::new(Expected {
                locator: locator.to_owned(),
                thumbprint: Some(Thumbprint::of(public).0.into()),
            })),
        }
    }
}

impl From<Work> for Ask {
    fn from(work: Work) -> Self {
        Rc::new(work).into()
    }
}

impl From<Rc<Work>> for Ask {
    fn from(work: Rc<Work>) -> Self {
        Self {
            work,
            expected: None,
        }
    }
}
