//! The files of keys that a token has lost: the registry has copies, which only the token that they
//! are of can use.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use keyward_backend::message::{Outcome, Place, Work};
use keyward_backend::{BackendError, KeyReport, VersionId};
use keyward_protocol::{ErrorCode, KeyState};

use crate::agent::Agent;
use crate::audit::{AuditError, Kind, Outcome as Ending, Record, Reservation};
use crate::registry::Key;
use crate::worker::Token;

use super::manage::mark;

/// What a token did not take back, and why: it is not tried again.
#[derive(Default)]
pub(super) struct Refused(RefCell<BTreeMap<(String, VersionId), String>>);

/// What became of one file.
enum Placed {
    Done,
    Refused(String),
}

/// Gives a token the files of its keys that it lacks.
pub(super) async fn give_back(agent: &Agent, token: &Token, refused: &Refused) {
    let wanted = wanted(agent, token);
    let Some(report) = token.report() else {
        return;
    };
    if wanted.is_empty() {
        token.tell_lost(None);
        return;
    }
    let Some(there) = there(token).await else {
        return;
    };
    let serial = report.identity.serial;
    let mut lost = Vec::new();
    let mut placed = false;
    for (key, id) in wanted {
        if there.contains(&id) {
            continue;
        }
        let place = (serial.clone(), id);
        let known = refused.0.borrow().get(&place).cloned();
        let why = match known {
            Some(why) => why,
            None => match one(agent, token, &key, id).await {
                None => break,
                Some((room, became)) => {
                    if tell(agent, room, token, &key, id, &became).await.is_err() {
                        break;
                    }
                    let Placed::Refused(why) = became else {
                        placed = true;
                        continue;
                    };
                    refused.0.borrow_mut().insert(place, why.clone());
                    why
                }
            },
        };
        lost.push(why);
    }
    let told = lost.first().map(|why| {
        let count = match lost.len() {
            1 => "1 of its keys is".to_owned(),
            count => format!("{count} of its keys are"),
        };
        format!("{count} not there, and the copy of its file is of no use: {why}")
    });
    token.tell_lost(told);
    if placed {
        // With the file of a PIN it needs that PIN now.
        token.look_again();
    }
}

/// The versions that should be on a token and have a copy of their file.
fn wanted(agent: &Agent, token: &Token) -> Vec<(Rc<Key>, VersionId)> {
    let mut versions = agent.registry.borrow().on_token(token.name());
    versions.retain(|(key, id)| copy(key, *id, token).is_some() && is_still(agent, key));
    versions
}

/// Whether nothing is under way that takes the key away.
fn is_still(agent: &Agent, key: &Key) -> bool {
    let open = agent.open_intents.borrow();
    key.state != KeyState::Destroyed
        && !agent.changing.borrow().contains(&key.id)
        && !agent.destroying.borrow().contains(&key.id)
        && !open.iter().any(|intent| intent.key == Some(key.id))
}

fn copy<'a>(key: &'a Key, id: VersionId, token: &Token) -> Option<&'a Vec<u8>> {
    let version = key.versions.iter().find(|version| version.id == id)?;
    let mut places = version.placements.iter();
    let place = places.find(|place| place.token == token.name())?;
    place.blob.as_ref()
}

/// The ids of the keys that the token has.
async fn there(token: &Token) -> Option<BTreeSet<VersionId>> {
    let mut ids = BTreeSet::new();
    let mut after = None;
    loop {
        let Some(Outcome::Keys(page)) = token.ask(&Work::Scan(after)).await else {
            return None;
        };
        let last = page.keys.iter().map(|key| key.id).max();
        ids.extend(page.keys.iter().map(|key| key.id));
        match page.more && last > after {
            true => after = last,
            false => return Some(ids),
        }
    }
}

/// Gives one file back; `None` if the token can't be asked now, or the log has no room.
async fn one(
    agent: &Agent,
    token: &Token,
    key: &Key,
    id: VersionId,
) -> Option<(Reservation, Placed)> {
    // Before anything is changed.
    let room = agent.audit.reserve().ok()?;
    // Others were waited for.
    let now = agent.registry.borrow().key(&key.id.to_string());
    let key = now.filter(|key| is_still(agent, key))?;
    let blob = copy(&key, id, token)?;
    let place = Work::Place(Place {
        id,
        blob: blob.clone().into(),
    });
    let why = match token.ask(&place).await {
        Some(Outcome::Key(Some(report))) if is_key(&key, id, &report) => {
            return Some((room, Placed::Done));
        }
        Some(Outcome::Key(_)) => "it is another key than the registry's".to_owned(),
        Some(Outcome::Failed(error)) => match error {
            BackendError::Refused(why)
            | BackendError::Invalid(why)
            | BackendError::MechanismInvalid(why) => {
                return Some((room, Placed::Refused(why)));
            }
            BackendError::TokenFull => {
                let why = "there is no room for it".to_owned();
                return Some((room, Placed::Refused(why)));
            }
            _ => return None,
        },
        _ => return None,
    };
    // Nobody had it there before.
    match token.ask(&Work::Destroy(id)).await {
        Some(Outcome::Done | Outcome::Overwritten) => Some((room, Placed::Refused(why))),
        _ => None,
    }
}

/// Whether a key is what the registry says; of a secret key the type alone can be seen.
fn is_key(key: &Key, id: VersionId, report: &KeyReport) -> bool {
    let version = key.versions.iter().find(|version| version.id == id);
    report.key_type == Some(key.key_type)
        && version.is_some_and(|version| version.public == report.public)
}

async fn tell(
    agent: &Agent,
    room: Reservation,
    token: &Token,
    key: &Key,
    id: VersionId,
    became: &Placed,
) -> Result<(), AuditError> {
    let mut record = Record::new(Kind::ManageOutcome, "place-key");
    record.key = Some(key.id);
    record.version = Some(id);
    record.token = Some(token.name());
    record.registry = Some(mark(agent));
    match became {
        Placed::Done => {
            record.outcome = Some(Ending::Ok);
            record.detail = Some("its file was lost, and is put back");
            tracing::info!(token = token.name(), key = %key.id, version = %id, "put the file of a key back");
        }
        Placed::Refused(why) => {
            record.outcome = Some(Ending::Failed(ErrorCode::TokenFailed));
            record.detail = Some(why);
            tracing::warn!(token = token.name(), key = %key.id, version = %id, why, "can't put the file of a key back");
        }
    }
    agent.audit.append(room, &record)?;
    agent.audit.sync().await.map(|_| ())
}
