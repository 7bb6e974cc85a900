//! Distinguished names as text (RFC 4514).

use der::asn1::{Ia5StringRef, ObjectIdentifier, PrintableStringRef, SetOfVec, Utf8StringRef};
use der::{Any, Decode, Encode};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};

use super::Wrong;

/// The longest subject, in bytes.
const MOST: usize = 1024;

/// How the value of an attribute is encoded.
#[derive(Clone, Copy)]
enum Form {
    Utf8,
    Ia5,
    /// Two letters.
    Country,
}

/// The attributes of RFC 4514 §3, with the upper bounds of RFC 5280 appendix A.1 in characters.
const ATTRIBUTES: [(&str, &str, Form, usize); 9] = [
    ("CN", "2.5.4.3", Form::Utf8, 64),
    ("L", "2.5.4.7", Form::Utf8, 128),
    ("ST", "2.5.4.8", Form::Utf8, 128),
    ("O", "2.5.4.10", Form::Utf8, 64),
    ("OU", "2.5.4.11", Form::Utf8, 64),
    ("C", "2.5.4.6", Form::Country, 2),
    ("STREET", "2.5.4.9", Form::Utf8, 128),
    ("DC", "0.9.2342.19200300.100.1.25", Form::Ia5, 63),
    ("UID", "0.9.2342.19200300.100.1.1", Form::Utf8, 256),
];

/// The name that the text says; the first in the text is the last in the name (RFC 4514 §2.1).
pub(super) fn parse(text: &str) -> Result<Name, Wrong> {
    if text.len() > MOST {
        return Err(Wrong::new(format!(
            "a subject of {} bytes, where {MOST} are the most",
            text.len()
        )));
    }
    let mut rdns = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (rdn, after) = relative(rest)?;
        rdns.push(rdn);
        rest = match after {
            None => "",
            Some("") => return Err(Wrong::new("the subject ends with a comma")),
            Some(after) => after,
        };
    }
    let mut sequence = RdnSequence::default();
    for rdn in rdns.into_iter().rev() {
        sequence.push(rdn);
    }
    Ok(Name::from_der(&sequence.to_der()?)?)
}

/// One relative distinguished name, and what is behind its comma.
fn relative(text: &str) -> Result<(RelativeDistinguishedName, Option<&str>), Wrong> {
    let mut attributes = SetOfVec::new();
    let mut rest = text;
    loop {
        let (name, value) = rest.split_once('=').ok_or_else(|| {
            let shown: String = rest.chars().filter(|c| !c.is_control()).take(64).collect();
            Wrong::new(format!(
                "{shown:?} in the subject has no '='; write CN=example.org,O=Example"
            ))
        })?;
        let (value, end) = unescape(value)?;
        let attribute = attribute(name.trim(), &value)?;
        let known = |other: &AttributeTypeAndValue| other.oid == attribute.oid;
        if attributes.iter().any(known) {
            let name = name.trim();
            return Err(Wrong::new(format!(
                "{name} twice in one part of the subject"
            )));
        }
        attributes.insert(attribute)?;
        match end {
            Some(('+', after)) => rest = after,
            Some((_, after)) => return Ok((attributes.into(), Some(after))),
            None => return Ok((attributes.into(), None)),
        }
    }
}

/// A separator, and what is behind it.
type Separator<'t> = (char, &'t str);

/// A value without its escapes, the separator behind it, and what is behind that.
fn unescape(text: &str) -> Result<(String, Option<Separator<'_>>), Wrong> {
    let text = text.trim_start_matches(' ');
    if text.starts_with('#') {
        return Err(Wrong::new(
            "a value of the subject in hexadecimal is not taken",
        ));
    }
    let mut value = Vec::new();
    // How much of it stays when the spaces at the end go, which are escaped if they are meant.
    let mut kept = 0;
    let mut characters = text.char_indices();
    let mut end = None;
    while let Some((index, character)) = characters.next() {
        match character {
            ',' | '+' => {
                let after = text.get(index.saturating_add(1)..).unwrap_or_default();
                end = Some((character, after));
                break;
            }
            '\\' => {
                value.extend_from_slice(escaped(&mut characters)?.as_slice());
                kept = value.len();
            }
            '"' | ';' | '<' | '>' | '\0' => {
                return Err(Wrong::new(format!(
                    "{character:?} in the subject needs a \\ before it"
                )));
            }
            other => {
                value.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes());
                if other != ' ' {
                    kept = value.len();
                }
            }
        }
    }
    value.truncate(kept);
    let value = String::from_utf8(value).map_err(|_| Wrong::new("the subject is not UTF-8"))?;
    Ok((value, end))
}

/// The bytes behind a backslash: a special character, or two hexadecimal digits.
fn escaped(characters: &mut std::str::CharIndices<'_>) -> Result<Vec<u8>, Wrong> {
    let wrong = || Wrong::new("a \\ in the subject that escapes nothing");
    let (_, first) = characters.next().ok_or_else(wrong)?;
    if matches!(
        first,
        ' ' | '"' | '#' | '+' | ',' | ';' | '<' | '=' | '>' | '\\'
    ) {
        return Ok(first.to_string().into_bytes());
    }
    let (_, second) = characters.next().ok_or_else(wrong)?;
    let digits: String = [first, second].iter().collect();
    match (first.is_ascii_hexdigit(), second.is_ascii_hexdigit()) {
        (true, true) => Ok(vec![u8::from_str_radix(&digits, 16).map_err(|_| wrong())?]),
        _ => Err(wrong()),
    }
}

fn attribute(name: &str, value: &str) -> Result<AttributeTypeAndValue, Wrong> {
    let known = ATTRIBUTES
        .iter()
        .find(|(short, oid, ..)| short.eq_ignore_ascii_case(name) || *oid == name);
    let Some((short, oid, form, most)) = known else {
        let names: Vec<_> = ATTRIBUTES.iter().map(|(short, ..)| *short).collect();
        let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
        return Err(Wrong::new(format!(
            "{shown:?} is no attribute of a subject; there are {}",
            names.join(", ")
        )));
    };
    // A CA or a reader that stops at one of these would see another name.
    if value.chars().any(char::is_control) {
        return Err(Wrong::new(format!("{short} has a control character in it")));
    }
    if value.is_empty() || value.chars().count() > *most {
        return Err(Wrong::new(format!("{short} has 1 to {most} characters")));
    }
    let value = match form {
        Form::Utf8 => Any::encode_from(&Utf8StringRef::new(value)?)?,
        Form::Ia5 => {
            let text = Ia5StringRef::new(value);
            Any::encode_from(&text.map_err(|_| Wrong::new(format!("{short} is ASCII")))?)?
        }
        Form::Country => {
            if value.len() != 2 || !value.bytes().all(|byte| byte.is_ascii_alphabetic()) {
                return Err(Wrong::new("C is a country's code of two letters"));
            }
            Any::encode_from(&PrintableStringRef::new(value)?)?
        }
    };
    Ok(AttributeTypeAndValue {
        oid: ObjectIdentifier::new(oid).map_err(|_| Wrong::new("an attribute without a number"))?,
        value,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        parse(text).unwrap().to_string()
    }

    #[test]
    fn text_is_read_as_rfc_4514_says() {
        for (text, name) in [
            ("", ""),
            ("CN=example.org", "CN=example.org"),
            (
                "cn = example.org , o = Example ",
                "CN=example.org,O=Example",
            ),
            (
                "UID=jsmith,DC=example,DC=net",
                "UID=jsmith,DC=example,DC=net",
            ),
            (
                "OU=Sales+CN=J.  Smith,DC=net",
                "OU=Sales+CN=J.  Smith,DC=net",
            ),
            ("2.5.4.3=a/b", "CN=a/b"),
            ("CN=a=b", "CN=a=b"),
        ] {
            assert_eq!(shown(text), name, "{text}");
        }
        let values = |text: &str| {
            let name = parse(text).unwrap();
            let value = name.iter().next().unwrap().value.value().to_vec();
            String::from_utf8(value).unwrap()
        };
        assert_eq!(values(r"CN=a\,b\+c\\\ "), "a,b+c\\ ");
        assert_eq!(values(r"CN=Lu\C4\8Di\c4\87"), "Lučić");
        assert_eq!(values("CN=Bücher"), "Bücher");
        assert_eq!(values(r"CN=\#1"), "#1");
    }

    #[test]
    fn hostile_text_is_refused() {
        let long = format!("CN={}", "a".repeat(65));
        let huge = "OU=a,".repeat(300);
        for text in [
            "CN",
            "=",
            "=a",
            "CN=",
            "CN= ",
            "CN=a,",
            ",CN=a",
            "CN=a,,O=b",
            "CN=a+",
            "CN=a+CN=a",
            "X=a",
            "1.2.3=a",
            "CN=#0c0141",
            "CN=a;O=b",
            "CN=\"a\"",
            "CN=<a>",
            "CN=a\0b",
            "CN=a\nb",
            r"CN=a\00b",
            r"CN=a\0ab",
            r"CN=a\",
            r"CN=a\x",
            r"CN=a\zz",
            r"CN=\ff",
            "C=Germany",
            "C=1",
            "DC=bücher",
            &long,
            &huge,
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_or_refused(text in "\\PC{0,40}|[A-Z=,+\\\\ #0-9a-f]{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn what_is_read_is_shown_and_read_the_same(cn in "[ -~]{1,30}") {
            let escaped: String = cn.bytes().map(|byte| format!("\\{byte:02x}")).collect();
            let name = parse(&format!("CN={escaped}")).unwrap();
            prop_assert_eq!(parse(&name.to_string()).unwrap(), name);
        }
    }
}
