//! What names, tags and formats may be.

use std::collections::BTreeMap;

use keyward_protocol::{Format, Purpose};
use uuid::Uuid;

use super::error::Invalid;

/// The longest alias, in bytes.
pub const MAX_ALIAS: usize = 256;
/// How many aliases a key can have: a description of it fits into a frame.
pub const MAX_ALIASES: usize = 50;
/// How many versions a key can have, for the same reason.
pub const MAX_VERSIONS: usize = 100;
/// How many tags a key can have.
pub const MAX_TAGS: usize = 50;
/// The longest name of a tag, in bytes.
pub const MAX_TAG_NAME: usize = 128;
/// The longest value of a tag, in bytes.
pub const MAX_TAG_VALUE: usize = 256;

/// Checks an alias.
///
/// # Errors
/// What is wrong with it.
pub fn check_alias(alias: &str) -> Result<(), Invalid> {
    let wrong = |words: &str| Err(Invalid::new(format!("the alias {alias:?} {words}")));
    if alias.is_empty() {
        return Err(Invalid::new("an alias can't be empty"));
    }
    if alias.len() > MAX_ALIAS {
        let length = alias.len();
        return Err(Invalid::new(format!(
            "an alias has at most {MAX_ALIAS} bytes, this one has {length}"
        )));
    }
    if alias.chars().any(hidden) {
        return wrong("has a control or an invisible character");
    }
    if alias.starts_with('-') {
        return wrong("begins with '-', as options do");
    }
    if alias.trim() != alias {
        return wrong("begins or ends with a space");
    }
    if alias.chars().all(|c| matches!(c, '/' | '.')) {
        return wrong("is no name");
    }
    if Uuid::try_parse(alias).is_ok() {
        return wrong("looks like a key's id");
    }
    Ok(())
}

/// Checks how many aliases a key has.
///
/// # Errors
/// They are too many.
pub(super) fn check_alias_count(count: usize) -> Result<(), Invalid> {
    if count > MAX_ALIASES {
        return Err(Invalid::new(format!(
            "a key has at most {MAX_ALIASES} aliases, not {count}"
        )));
    }
    Ok(())
}

/// Checks the tags of a key.
///
/// # Errors
/// What is wrong with them.
pub fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), Invalid> {
    if tags.len() > MAX_TAGS {
        return Err(Invalid::new(format!(
            "a key has at most {MAX_TAGS} tags, not {}",
            tags.len()
        )));
    }
    for (name, value) in tags {
        if name.is_empty() || name.len() > MAX_TAG_NAME {
            return Err(Invalid::new(format!(
                "the name of a tag has 1 to {MAX_TAG_NAME} bytes, not {}",
                name.len()
            )));
        }
        if value.len() > MAX_TAG_VALUE {
            return Err(Invalid::new(format!(
                "the value of the tag {name:?} has {} bytes; {MAX_TAG_VALUE} are the most",
                value.len()
            )));
        }
        if name.chars().chain(value.chars()).any(hidden) {
            return Err(Invalid::new(format!(
                "the tag {name:?} has a control or an invisible character"
            )));
        }
    }
    Ok(())
}

/// Checks what a key may sign: something for a sign key, nothing for others.
///
/// # Errors
/// What is wrong with it.
pub fn check_formats(purpose: Purpose, formats: &[Format]) -> Result<(), Invalid> {
    if purpose != Purpose::Sign {
        return if formats.is_empty() {
            Ok(())
        } else {
            Err(Invalid::new(format!(
                "formats belong to sign keys; this one's purpose is {purpose}"
            )))
        };
    }
    if formats.is_empty() {
        return Err(Invalid::new("a sign key needs a format that it may sign"));
    }
    if !formats.is_sorted_by(|a, b| a < b) {
        return Err(Invalid::new(
            "formats stand in ascending order, each only once",
        ));
    }
    Ok(())
}

/// Characters that hide, or reorder what a person reads in a prompt.
fn hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_a_name_that_a_person_can_read_and_type() {
        for good in [
            "a",
            "web",
            "ssh/github",
            "Schlüssel 1",
            "..a",
            &"x".repeat(256),
        ] {
            assert_eq!(check_alias(good), Ok(()), "{good}");
        }
        let uuid = Uuid::from_u128(1);
        let bad = [
            String::new(),
            "x".repeat(257),
            "a\nb".into(),
            "a\u{202e}b".into(),
            "-n".into(),
            " a".into(),
            "/".into(),
            "./..".into(),
            uuid.to_string(),
            uuid.simple().to_string(),
            uuid.urn().to_string(),
        ];
        for alias in bad {
            let words = check_alias(&alias).unwrap_err().to_string();
            assert!(words.contains("alias") && words.len() < 400, "{words}");
        }
    }

    #[test]
    fn tags_are_few_and_short() {
        let tag = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        assert_eq!(check_tags(&tag("team", "")), Ok(()));
        assert_eq!(check_tags(&tag(&"n".repeat(128), &"v".repeat(256))), Ok(()));
        assert!(check_tags(&tag("", "v")).is_err());
        assert!(check_tags(&tag(&"n".repeat(129), "v")).is_err());
        assert!(check_tags(&tag("n", &"v".repeat(257))).is_err());
        assert!(check_tags(&tag("n", "\u{7}")).is_err());
        let many = |n: u32| (0..n).map(|n| (n.to_string(), String::new())).collect();
        assert_eq!(check_tags(&many(50)), Ok(()));
        assert!(check_tags(&many(51)).is_err());
    }

    #[test]
    fn only_sign_keys_have_formats_in_order_and_without_repeats() {
        let check = |formats: &[Format]| check_formats(Purpose::Sign, formats).is_ok();
        assert!(check(&[Format::Raw]) && check(Format::ALL));
        assert!(!check(&[]) && !check(&[Format::Raw, Format::Raw]));
        assert!(!check(&[Format::Digest, Format::Raw]));
        assert!(check_formats(Purpose::Agree, &[]).is_ok());
        assert!(check_formats(Purpose::Unwrap, &[Format::Raw]).is_err());
    }
}
