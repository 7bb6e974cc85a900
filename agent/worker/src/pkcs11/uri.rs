//! Which token: the part of RFC 7512 URIs that names one.

use percent_encoding::percent_decode_str;

/// A token's description. Everything that is named must be equal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenUri {
    /// CK_TOKEN_INFO.label.
    pub token: Option<String>,
    /// CK_TOKEN_INFO.manufacturerID.
    pub manufacturer: Option<String>,
    /// CK_TOKEN_INFO.model.
    pub model: Option<String>,
    /// CK_TOKEN_INFO.serialNumber.
    pub serial: Option<String>,
    /// The slot's number.
    pub slot_id: Option<u64>,
    /// CK_SLOT_INFO.manufacturerID.
    pub slot_manufacturer: Option<String>,
    /// CK_SLOT_INFO.slotDescription.
    pub slot_description: Option<String>,
    /// CK_INFO.manufacturerID.
    pub library_manufacturer: Option<String>,
    /// CK_INFO.libraryDescription.
    pub library_description: Option<String>,
    /// CK_INFO.libraryVersion.
    pub library_version: Option<(u8, u8)>,
}

/// Why a string is no URI of a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UriError {
    /// Another scheme, or none.
    #[error("a token's URI starts with `pkcs11:`")]
    Scheme,
    /// Nothing is named.
    #[error("the URI names nothing: add `token=` and the token's label")]
    Empty,
    /// A part is not `name=value`.
    #[error("`{0}` is not NAME=VALUE")]
    NotAPair(String),
    /// An attribute that is not known.
    #[error(
        "`{0}` names no token; known are token, manufacturer, model, serial, slot-id, slot-manufacturer, \
             slot-description, library-manufacturer, library-description and library-version"
    )]
    Unknown(String),
    /// An attribute that names objects.
    #[error("`{0}` names an object; the URI of a token can't have it")]
    Object(String),
    /// An attribute is there twice.
    #[error("`{0}` is there twice")]
    Repeated(String),
    /// A value can't be read.
    #[error("the value of `{0}` is not right: {1}")]
    Value(String, &'static str),
    /// A query attribute.
    #[error("`{0}` can't be in the URI: {1}")]
    Query(String, &'static str),
}

impl TokenUri {
    /// Reads a URI. It must name something, and nothing that this type does not hold.
    ///
    /// # Errors
    /// See [`UriError`].
    pub fn parse(uri: &str) -> Result<Self, UriError> {
        let rest = match uri.split_at_checked(7) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("pkcs11:") => rest,
            _ => return Err(UriError::Scheme),
        };
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        if let Some(query) = query {
            return Err(refuse_query(query));
        }
        let mut parsed = Self::default();
        for part in path.split(';').filter(|_| !path.is_empty()) {
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| UriError::NotAPair(part.to_owned()))?;
            parsed.set(name, value)?;
        }
        if parsed == Self::default() {
            return Err(UriError::Empty);
        }
        Ok(parsed)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), UriError> {
        let text = match name {
            "token" => &mut self.token,
            "manufacturer" => &mut self.manufacturer,
            "model" => &mut self.model,
            "serial" => &mut self.serial,
            "slot-manufacturer" => &mut self.slot_manufacturer,
            "slot-description" => &mut self.slot_description,
            "library-manufacturer" => &mut self.library_manufacturer,
            "library-description" => &mut self.library_description,
            "slot-id" => {
                let number = decode(name, value)?;
                let digits = number.bytes().all(|byte| byte.is_ascii_digit());
                let number = number.parse().ok().filter(|_| digits);
                let number = number.ok_or(wrong(name, "it is not a decimal number"))?;
                return once(name, &mut self.slot_id, number);
            }
            "library-version" => {
                let version = version(&decode(name, value)?)
                    .ok_or(wrong(name, "it is not MAJOR or MAJOR.MINOR"))?;
                return once(name, &mut self.library_version, version);
            }
            "object" | "type" | "id" => return Err(UriError::Object(name.to_owned())),
            _ => return Err(UriError::Unknown(name.to_owned())),
        };
        let value = decode(name, value)?;
        if value.is_empty() {
            return Err(wrong(name, "it is empty"));
        }
        once(name, text, value)
    }
}

fn once<T>(name: &str, field: &mut Option<T>, value: T) -> Result<(), UriError> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(UriError::Repeated(name.to_owned())),
    }
}

/// A value without its percent-encoding: what RFC 7512 allows bare, and whole `%XX`.
fn decode(name: &str, value: &str) -> Result<String, UriError> {
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        let allowed = match byte {
            b'%' => {
                let mut hex = || bytes.next().is_some_and(|b| b.is_ascii_hexdigit());
                hex() && hex()
            }
            // unreserved and pk11-res-avail (RFC 7512 §2.3)
            b'-' | b'.' | b'_' | b'~' | b':' | b'[' | b']' | b'@' | b'!' | b'$' | b'\'' | b'('
            | b')' | b'*' | b'+' | b',' | b'=' | b'&' => true,
            byte => byte.is_ascii_alphanumeric(),
        };
        if !allowed {
            return Err(wrong(
                name,
                "write characters other than letters and digits as %XX",
            ));
        }
    }
    let text = percent_decode_str(value)
        .decode_utf8()
        .map_err(|_| wrong(name, "it is not UTF-8"))?;
    if text.contains('\0') {
        return Err(wrong(name, "it has a NUL in it"));
    }
    Ok(text.into_owned())
}

fn version(text: &str) -> Option<(u8, u8)> {
    let number = |digits: &str| -> Option<u8> {
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|_| plain)
    };
    match text.split_once('.') {
        Some((major, minor)) => Some((number(major)?, number(minor)?)),
        None => Some((number(text)?, 0)),
    }
}

fn wrong(name: &str, what: &'static str) -> UriError {
    UriError::Value(name.to_owned(), what)
}

/// Why nothing may follow the question mark. The value may be a PIN, so it is not shown.
fn refuse_query(query: &str) -> UriError {
    let part = query.split('&').next().unwrap_or_default();
    let name = part.split('=').next().unwrap_or_default();
    let why = match name {
        "pin-value" => "a PIN has no place in a configuration; use `pin_file` or `keyward unlock`",
        "pin-source" => "name the file with `pin_file` instead",
        "module-path" | "module-name" => "name the module with `module` instead",
        _ => "query attributes name no token",
    };
    UriError::Query(name.to_owned(), why)
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn named(token: &str) -> TokenUri {
        TokenUri {
            token: Some(token.to_owned()),
            ..TokenUri::default()
        }
    }

    #[test]
    fn what_names_a_token_is_read() {
        let vectors = [
            (
                "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken",
                named("The Software PKCS#11 Softtoken"),
            ),
            ("PKCS11:token=a", named("a")),
            ("pkcs11:token=%C3%A9t%c3%a9", named("été")),
            ("pkcs11:token=a=b", named("a=b")),
            // RFC 7512 §3
            (
                "pkcs11:token=Software%20PKCS%2311%20softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0",
                TokenUri {
                    manufacturer: Some("Snake Oil, Inc.".to_owned()),
                    model: Some("1.0".to_owned()),
                    ..named("Software PKCS#11 softtoken")
                },
            ),
            (
                "pkcs11:slot-description=Sun%20Metaslot",
                TokenUri {
                    slot_description: Some("Sun Metaslot".to_owned()),
                    ..TokenUri::default()
                },
            ),
            (
                "pkcs11:library-manufacturer=Snake%20Oil,%20Inc.;library-description=Soft%20Token%20Library;library-version=1.23",
                TokenUri {
                    library_manufacturer: Some("Snake Oil, Inc.".to_owned()),
                    library_description: Some("Soft Token Library".to_owned()),
                    library_version: Some((1, 23)),
                    ..TokenUri::default()
                },
            ),
            (
                "pkcs11:serial=0123;slot-id=327;library-version=3",
                TokenUri {
                    serial: Some("0123".to_owned()),
                    slot_id: Some(327),
                    library_version: Some((3, 0)),
                    ..TokenUri::default()
                },
            ),
        ];
        for (uri, expected) in vectors {
            assert_eq!(TokenUri::parse(uri), Ok(expected), "{uri}");
        }
    }

    #[test]
    fn what_names_no_token_is_refused() {
        let value = |name: &str| matches!(TokenUri::parse(name), Err(UriError::Value(..)));
        assert_eq!(TokenUri::parse(""), Err(UriError::Scheme));
        assert_eq!(TokenUri::parse("token=a"), Err(UriError::Scheme));
        assert_eq!(TokenUri::parse("pkcs1é:token=a"), Err(UriError::Scheme));
        assert_eq!(TokenUri::parse("pkcs11:"), Err(UriError::Empty));
        assert_eq!(
            TokenUri::parse("pkcs11:token=a;"),
            Err(UriError::NotAPair(String::new()))
        );
        assert_eq!(
            TokenUri::parse("pkcs11:token"),
            Err(UriError::NotAPair("token".to_owned()))
        );
        assert_eq!(
            TokenUri::parse("pkcs11:token=a;token=a"),
            Err(UriError::Repeated("token".to_owned()))
        );
        assert_eq!(
            TokenUri::parse("pkcs11:object=k"),
            Err(UriError::Object("object".to_owned()))
        );
        assert_eq!(
            TokenUri::parse("pkcs11:token=a;id=%01"),
            Err(UriError::Object("id".to_owned()))
        );
        assert_eq!(
            TokenUri::parse("pkcs11:x-vendor=1"),
            Err(UriError::Unknown("x-vendor".to_owned()))
        );
        assert_eq!(
            TokenUri::parse("pkcs11:Token=a"),
            Err(UriError::Unknown("Token".to_owned()))
        );
        for uri in [
            "pkcs11:token=",
            "pkcs11:token=a b",
            "pkcs11:token=%",
            "pkcs11:token=%2",
            "pkcs11:token=%zz",
            "pkcs11:token=%00",
            "pkcs11:token=%ff",
            "pkcs11:token=é",
            "pkcs11:slot-id=+1",
            "pkcs11:slot-id=",
            "pkcs11:slot-id=18446744073709551616",
            "pkcs11:library-version=1.",
            "pkcs11:library-version=256",
            "pkcs11:library-version=1.2.3",
            "pkcs11:token=a/b",
        ] {
            assert!(value(uri), "{uri}");
        }
    }

    #[test]
    fn a_pin_in_a_uri_is_refused_and_not_shown() {
        let error = TokenUri::parse("pkcs11:token=a?pin-value=1234").unwrap_err();
        assert!(matches!(&error, UriError::Query(name, _) if name == "pin-value"));
        assert!(!error.to_string().contains("1234"));
        for query in [
            "pin-source=file:/etc/token",
            "module-path=/lib/m.so",
            "module-name=m",
            "",
        ] {
            let error = TokenUri::parse(&format!("pkcs11:token=a?{query}"));
            assert!(matches!(error, Err(UriError::Query(..))), "{query}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_the_parser_panic(uri in "(pkcs11:)?.{0,80}") {
            let _ = TokenUri::parse(&uri);
        }

        #[test]
        fn an_encoded_label_is_read_back(label in "[^\0]{1,32}") {
            let encoded = percent_encoding::utf8_percent_encode(&label, percent_encoding::NON_ALPHANUMERIC);
            prop_assert_eq!(TokenUri::parse(&format!("pkcs11:token={encoded}")), Ok(named(&label)));
        }
    }
}
