//! JSON Web Keys (RFC 7517; RFC 7518 §6, RFC 8037 §2).

use base64ct::{Base64UrlUnpadded, Encoding};
use keyward_protocol::CoseKey;
use serde_json::Value;

use super::{KeyFormatError, broken};

/// The key as a JWK in one line: the required members in the order of RFC 7638 §3.
#[must_use]
pub fn to_jwk(key: &CoseKey) -> String {
    let ec2 = |curve: &str, x: &[u8], y: &[u8]| {
        let (x, y) = (encode(x), encode(y));
        format!(r#"{{"crv":"{curve}","kty":"EC","x":"{x}","y":"{y}"}}"#)
    };
    match key {
        CoseKey::P256 { x, y } => ec2("P-256", x, y),
        CoseKey::P384 { x, y } => ec2("P-384", x, y),
        CoseKey::Ed25519 { x } => {
            format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, encode(x))
        }
        CoseKey::Rsa { n, e } => {
            let (n, e) = (encode(n), encode(e));
            format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#)
        }
        // CoseKey may learn a kind before this crate does; both are built together.
        _ => unreachable!("a kind of key without a JWK form"),
    }
}

/// Reads a JWK; members that are not the key's own are ignored, a private key is refused.
///
/// # Errors
/// It is no JWK of a public key of a known kind.
pub fn from_jwk(text: &str) -> Result<CoseKey, KeyFormatError> {
    let jwk: Value = serde_json::from_str(text).map_err(|e| broken("JWK", e))?;
    if jwk.get("d").is_some() {
        return Err(broken("JWK", "it is a private key"));
    }
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let number = |name: &str| {
        let text = text(name).ok_or_else(|| broken("JWK", format_args!("it has no {name:?}")))?;
        Base64UrlUnpadded::decode_vec(text)
            .map_err(|_| broken("JWK", format_args!("{name:?} is not base64url")))
    };
    let key = match (text("kty"), text("crv")) {
        (Some("EC"), Some(curve @ ("P-256" | "P-384"))) => {
            CoseKey::ec2(&number("x")?, &number("y")?).filter(|key| {
                matches!(
                    (curve, key),
                    ("P-256", CoseKey::P256 { .. }) | ("P-384", CoseKey::P384 { .. })
                )
            })
        }
        (Some("OKP"), Some("Ed25519")) => {
            let x = number("x")?.try_into();
            x.ok().map(|x| CoseKey::Ed25519 { x })
        }
        (Some("RSA"), _) => CoseKey::rsa(&number("n")?, &number("e")?),
        _ => return Err(KeyFormatError::Unknown),
    };
    key.ok_or_else(|| broken("JWK", "a number has the wrong size"))
}

fn encode(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}
