//! The keys that are on a token.

use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session as RawSession;
use keyward_backend::message::{SCAN_PAGE, ScanPage, ScannedKey};
use keyward_backend::{BackendError, Result, VersionId};
use uuid::Uuid;

use super::error::{Attempt, Failure};
use super::session::{Session, attribute};

/// The longest label that is told, in bytes.
const MOST_LABEL: usize = 256;

impl Session<'_> {
    pub(super) fn scan_keys(&mut self, after: Option<VersionId>) -> Result<ScanPage> {
        let found = self.token.found()?;
        self.with_session(|session| {
            // Without a login there are private objects that can't be seen.
            if let failure @ Failure::Answer(BackendError::LoginRequired) = found.not_found(session)
            {
                return Err(failure);
            }
            let (mut keys, foreign) = all(session)?;
            keys.sort_unstable_by_key(|(id, _)| *id);
            keys.dedup_by_key(|(id, _)| *id);
            keys.retain(|(id, _)| after.is_none_or(|after| *id > after));
            let more = keys.len() > SCAN_PAGE;
            keys.truncate(SCAN_PAGE);
            let keys = keys.into_iter().map(|(id, object)| {
                let label = match attribute(session, object, AttributeType::Label)? {
                    Some(Attribute::Label(label)) => clean(&label),
                    _ => String::new(),
                };
                Ok(ScannedKey { id, label })
            });
            Ok(ScanPage {
                keys: keys.collect::<Attempt<_>>()?,
                more,
                foreign,
            })
        })
    }
}

/// The private and secret keys with an id like ours, and how many have another.
fn all(session: &RawSession) -> Attempt<(Vec<(VersionId, ObjectHandle)>, u32)> {
    let mut keys = Vec::new();
    let mut foreign = 0u32;
    for class in [ObjectClass::PRIVATE_KEY, ObjectClass::SECRET_KEY] {
        for object in session.find_objects(&[Attribute::Class(class), Attribute::Token(true)])? {
            let id = match attribute(session, object, AttributeType::Id)? {
                Some(Attribute::Id(id)) => <[u8; 16]>::try_from(id).ok(),
                _ => None,
            };
            match id {
                Some(id) => keys.push((VersionId::from(Uuid::from_bytes(id)), object)),
                None => foreign = foreign.saturating_add(1),
            }
        }
    }
    Ok((keys, foreign))
}

/// A label as text that can be shown, cut at a character.
fn clean(label: &[u8]) -> String {
    let mut text: String = String::from_utf8_lossy(label)
        .chars()
        .map(|letter| {
            if letter.is_control() {
                '\u{fffd}'
            } else {
                letter
            }
        })
        .collect();
    let mut length = text.len().min(MOST_LABEL);
    while !text.is_char_boundary(length) {
        length = length.saturating_sub(1);
    }
    text.truncate(length);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_bounded_text_that_can_be_shown() {
        assert_eq!(clean(b"keyward 1"), "keyward 1");
        assert_eq!(clean("é\u{202}".as_bytes()), "é\u{202}");
        assert_eq!(clean(b"a\x1b[2Jb\0\xffc"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c");
        assert_eq!(clean(&[b'a'; 300]).len(), 256);
        let long = clean("aé".repeat(200).as_bytes());
        assert!((254..=256).contains(&long.len()) && long.starts_with("aéaé"));
        assert_eq!(clean(b""), "");
    }
}
