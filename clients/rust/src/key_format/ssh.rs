//! OpenSSH public key lines (RFC 4253 §6.6, RFC 5656 §3.1, RFC 8709 §4).

use base64ct::{Base64, Encoding};
use keyward_protocol::CoseKey;

use super::{KeyFormatError, broken};

const ED25519: &str = "ssh-ed25519";
const RSA: &str = "ssh-rsa";
const P256: [&str; 2] = ["ecdsa-sha2-nistp256", "nistp256"];
const P384: [&str; 2] = ["ecdsa-sha2-nistp384", "nistp384"];

/// The key as a line of `authorized_keys`, without a line feed; an empty comment is left out.
///
/// # Errors
/// The comment has a control character, or the key no SSH form.
pub fn to_ssh(key: &CoseKey, comment: &str) -> Result<String, KeyFormatError> {
    if comment.chars().any(char::is_control) {
        return Err(KeyFormatError::Comment);
    }
    let mut blob = Vec::with_capacity(600);
    let name = match key {
        CoseKey::Ed25519 { x } => {
            put(&mut blob, ED25519.as_bytes());
            put(&mut blob, x);
            ED25519
        }
        CoseKey::Rsa { n, e } => {
            put(&mut blob, RSA.as_bytes());
            put_mpint(&mut blob, e);
            put_mpint(&mut blob, n);
            RSA
        }
        CoseKey::P256 { .. } | CoseKey::P384 { .. } => {
            let [name, curve] = if matches!(key, CoseKey::P256 { .. }) {
                P256
            } else {
                P384
            };
            put(&mut blob, name.as_bytes());
            put(&mut blob, curve.as_bytes());
            put(&mut blob, &key.to_sec1().unwrap_or_default());
            name
        }
        _ => return Err(KeyFormatError::Unknown),
    };
    let blob = Base64::encode_string(&blob);
    Ok(match comment {
        "" => format!("{name} {blob}"),
        _ => format!("{name} {blob} {comment}"),
    })
}

/// Reads a line of `authorized_keys` or a `.pub` file; the comment is ignored.
///
/// # Errors
/// It is no public key of a known kind.
pub fn from_ssh(line: &str) -> Result<CoseKey, KeyFormatError> {
    let wrong = |problem: &str| broken("SSH", problem);
    let mut words = line.split_whitespace();
    let (Some(name), Some(blob)) = (words.next(), words.next()) else {
        return Err(wrong("it is not `TYPE BASE64 COMMENT`"));
    };
    let blob = Base64::decode_vec(blob).map_err(|_| wrong("its second word is not base64"))?;
    let cut = || wrong("its blob is cut short or has another type than its line");
    let mut rest = blob.as_slice();
    if take(&mut rest).ok_or_else(cut)? != name.as_bytes() {
        return Err(cut());
    }
    let key = match name {
        ED25519 => {
            let x = take(&mut rest).ok_or_else(cut)?.try_into();
            x.ok().map(|x| CoseKey::Ed25519 { x })
        }
        RSA => {
            let e = take(&mut rest).ok_or_else(cut)?;
            let n = take(&mut rest).ok_or_else(cut)?;
            CoseKey::rsa(n, e)
        }
        _ if name == P256[0] || name == P384[0] => {
            let curve = take(&mut rest).ok_or_else(cut)?;
            CoseKey::from_sec1(take(&mut rest).ok_or_else(cut)?).filter(|key| {
                let [wanted, its] = match key {
                    CoseKey::P256 { .. } => P256,
                    _ => P384,
                };
                name == wanted && curve == its.as_bytes()
            })
        }
        _ => return Err(KeyFormatError::Unknown),
    };
    key.filter(|_| rest.is_empty()).ok_or_else(cut)
}

/// A string (RFC 4251 §5).
fn put(blob: &mut Vec<u8>, bytes: &[u8]) {
    // What is put here has at most 1,025 bytes.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    blob.extend_from_slice(&length.to_be_bytes());
    blob.extend_from_slice(bytes);
}

/// A number (RFC 4251 §5): one whose first bit is set would be negative without a zero.
fn put_mpint(blob: &mut Vec<u8>, number: &[u8]) {
    if number.first().is_some_and(|first| first & 0x80 != 0) {
        put(blob, &[&[0], number].concat());
    } else {
        put(blob, number);
    }
}

fn take<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (bytes, after) = after.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}
