//! What a worker may say. Its words are shown to people, logged and kept, so they are bounded,
//! whatever its module has made of it.

use keyward_backend::message::Outcome;
use keyward_backend::{BackendError, TokenReport};

/// The most characters of a worker's words.
const MOST_WORDS: usize = 1000;
/// The longest name by which a token is pinned, in bytes; PKCS#11's have 32 at the most.
const MOST_NAME: usize = 256;
/// The longest place of a key, in bytes.
const MOST_LOCATOR: usize = 1024;
/// The longest list in a token's report.
const MOST_ITEMS: usize = 64;

/// Shortens what may be shortened; false if something else is longer than anything real.
pub(super) fn bound(outcome: &mut Outcome) -> bool {
    match outcome {
        Outcome::Failed(error) => {
            if let Some(text) = words(error) {
                shorten(text);
            }
            true
        }
        Outcome::Token(report) => bound_report(report),
        Outcome::Key(Some(key)) => key.locator.len() <= MOST_LOCATOR,
        _ => true,
    }
}

fn bound_report(report: &mut TokenReport) -> bool {
    let TokenReport {
        identity,
        label,
        algorithms,
        key_types,
        protections,
        warnings,
        ..
    } = report;
    shorten(label);
    protections.truncate(MOST_ITEMS);
    for protection in protections {
        shorten(&mut protection.name);
        if let Some(detail) = &mut protection.detail {
            shorten(detail);
        }
    }
    warnings.truncate(MOST_ITEMS);
    warnings.iter_mut().for_each(shorten);
    let names = [&identity.manufacturer, &identity.model, &identity.serial];
    names.iter().all(|name| name.len() <= MOST_NAME)
        && algorithms.len() <= MOST_ITEMS
        && key_types.len() <= MOST_ITEMS
}

fn words(error: &mut BackendError) -> Option<&mut String> {
    use BackendError as E;
    match error {
        E::PinSource(text)
        | E::TokenAbsent(text)
        | E::TokenChanged(text)
        | E::KeyChanged(text)
        | E::KeyUnsafe(text)
        | E::PlaceTaken(text)
        | E::Held(text)
        | E::MechanismInvalid(text)
        | E::Invalid(text)
        | E::Busy(text)
        | E::DeviceFailed(text)
        | E::Interrupted(text)
        | E::Refused(text) => Some(text),
        _ => None,
    }
}

fn shorten(text: &mut String) {
    if text.len() > MOST_WORDS || text.contains(char::is_control) {
        let plain = text.chars().filter(|c| !c.is_control());
        *text = plain.take(MOST_WORDS).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_worker_are_short_and_plain() {
        let text = format!("\u{1b}[2J{}", "é".repeat(100_000));
        let mut outcome = Outcome::Failed(BackendError::Refused(text));
        assert!(bound(&mut outcome));
        let expected = format!("[2J{}", "é".repeat(MOST_WORDS.saturating_sub(3)));
        assert_eq!(outcome, Outcome::Failed(BackendError::Refused(expected)));
    }
}
