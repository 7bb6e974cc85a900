//! The part of RFC 7512 that names a token.

use super::worker::Found;

/// A URI that fits this token and, as far as tokens tell themselves apart, no other.
pub(in crate::commands) fn of(found: &Found) -> String {
    let fields = [
        ("token", &found.label),
        ("manufacturer", &found.manufacturer),
        ("model", &found.model),
        ("serial", &found.serial),
    ];
    let mut attributes: Vec<String> = fields
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .collect();
    if attributes.is_empty() {
        attributes.push(format!("slot-id={}", found.slot));
    }
    format!("pkcs11:{}", attributes.join(";"))
}

/// Whether a URI describes this token. What it says of anything but the token is for others to judge.
pub(in crate::commands) fn fits(uri: &str, found: &Found) -> bool {
    let Some(rest) = uri.strip_prefix("pkcs11:") else {
        return false;
    };
    let path = rest.split_once('?').map_or(rest, |(path, _)| path);
    path.split(';').filter(|part| !part.is_empty()).all(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let own = match name {
            "token" => &found.label,
            "manufacturer" => &found.manufacturer,
            "model" => &found.model,
            "serial" => &found.serial,
            "slot-id" => return value == found.slot.to_string(),
            _ => return false,
        };
        decode(value).is_some_and(|value| value.trim_end_matches(' ') == own)
    })
}

fn encode(value: &str) -> String {
    let mut text = String::new();
    for byte in value.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' => text.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        let (code, plain) = part.split_at_checked(2)?;
        let hex = code.bytes().all(|b| b.is_ascii_hexdigit());
        hex.then_some(())?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend_from_slice(plain.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tokens_uri_fits_it_and_no_other() {
        let token = Found {
            label: "Ada's token; 100% é".to_owned(),
            serial: "00 12".to_owned(),
            ..Found::default()
        };
        let uri = of(&token);
        assert_eq!(
            uri,
            "pkcs11:token=Ada%27s%20token%3B%20100%25%20%C3%A9;serial=00%2012"
        );
        assert!(fits(&uri, &token) && fits("pkcs11:serial=00%2012", &token));
        let other = Found {
            serial: "0013".to_owned(),
            ..token.clone()
        };
        assert!(!fits(&uri, &other));
        for wrong in [
            "serial=0012",
            "pkcs11:id=%01",
            "pkcs11:serial=%0",
            "pkcs11:serial=%+1",
        ] {
            assert!(!fits(wrong, &token), "{wrong}");
        }
    }

    #[test]
    fn a_token_that_says_nothing_is_named_by_its_slot() {
        assert_eq!(of(&Found::default()), "pkcs11:slot-id=0");
    }
}
