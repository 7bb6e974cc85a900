//! Private keys as files have them, made into plain PKCS#8.

use der::asn1::ObjectIdentifier;
use der::{Decode, SecretDocument};
use keyward_protocol::SecretBytes;
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef};

use crate::error::Error;
use crate::exit::Exit;
use crate::output::plain;

/// More rounds of PBKDF2 than anybody uses: some seconds of work.
const MOST_ROUNDS: u32 = 10_000_000;
/// The most memory that scrypt may take, in bytes.
const MOST_MEMORY: u64 = 256 * 1024 * 1024;
/// How often scrypt may do that.
const MOST_PASSES: u16 = 16;

const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// How openssl makes PKCS#8 of what is not.
const CONVERT: &str = "openssl pkcs8 -topk8 -nocrypt -in FILE | keyward key import …";

/// Reads a private key in any form that is taken; asks for a passphrase if there is need of one.
pub(super) fn read(
    bytes: &[u8],
    passphrase: impl FnOnce() -> Result<SecretBytes, Error>,
) -> Result<SecretBytes, Error> {
    const BEGIN: &str = "-----BEGIN ";
    // What stands before the first line of PEM is a comment.
    let text = std::str::from_utf8(bytes).ok();
    let text = text.and_then(|text| text.find(BEGIN).and_then(|at| text.get(at..)));
    let Some(text) = text else {
        return from_der(bytes, passphrase);
    };
    let label = text
        .strip_prefix(BEGIN)
        .and_then(|rest| rest.split_once("-----"));
    let label = label.map(|(label, _)| label).unwrap_or_default();
    if !matches!(label, "PRIVATE KEY" | "ENCRYPTED PRIVATE KEY") {
        return Err(other_pem(label));
    }
    let (_, document) = SecretDocument::from_pem(text.trim_end())
        .map_err(|e| Error::usage("stdin has broken PEM").cause(e))?;
    from_der(document.as_bytes(), passphrase)
}

/// What to do with PEM of something else.
fn other_pem(label: &str) -> Error {
    let error = Error::usage(format!(
        "stdin has the PEM block {}, and PRIVATE KEY (PKCS#8) is wanted",
        plain(label)
    ));
    match label {
        "EC PRIVATE KEY" | "EC PARAMETERS" | "RSA PRIVATE KEY" | "DSA PRIVATE KEY" => {
            error.hint(CONVERT)
        }
        "OPENSSH PRIVATE KEY" => error.hint(
            "cp FILE COPY && ssh-keygen -p -m PKCS8 -f COPY  (then import COPY and destroy it)",
        ),
        _ => error,
    }
}

fn from_der(
    der: &[u8],
    passphrase: impl FnOnce() -> Result<SecretBytes, Error>,
) -> Result<SecretBytes, Error> {
    if let Ok(key) = PrivateKeyInfoRef::from_der(der) {
        check(&key)?;
        return Ok(SecretBytes::copy_from(der));
    }
    let Ok(encrypted) = EncryptedPrivateKeyInfoRef::from_der(der) else {
        return Err(Error::usage("stdin has no private key")
            .cause("neither PKCS#8 in PEM or DER, nor encrypted PKCS#8 with PBES2")
            .hint(CONVERT));
    };
    check_cost(&encrypted)?;
    let passphrase = passphrase()?;
    let document = encrypted.decrypt(passphrase.expose()).map_err(|error| {
        match error {
            pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::DecryptFailed)
            | pkcs8::Error::Asn1(_) => wrong_passphrase(),
            other => Error::usage("the key is encrypted in a way that is not taken")
                .cause(other)
                .hint("openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA256 -in FILE | keyward key import …"),
        }
    })?;
    let key = PrivateKeyInfoRef::from_der(document.as_bytes()).map_err(|_| wrong_passphrase())?;
    check(&key)?;
    Ok(SecretBytes::copy_from(document.as_bytes()))
}

/// A wrong one shows by its padding, or by what comes out.
fn wrong_passphrase() -> Error {
    Error::new(Exit::Negative, "the passphrase does not open the key")
}

/// Refuses what would take hours or all the memory: the file says how much work it makes.
fn check_cost(encrypted: &EncryptedPrivateKeyInfoRef<'_>) -> Result<(), Error> {
    let Some(parameters) = encrypted.encryption_algorithm.pbes2() else {
        return Err(
            Error::usage("the key is encrypted by PBES1, which is broken")
                .hint("openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE | keyward key import …"),
        );
    };
    let rounds = parameters.kdf.pbkdf2().map(|p| p.iteration_count);
    let too_much = rounds.is_some_and(|rounds| rounds > MOST_ROUNDS)
        || parameters.kdf.scrypt().is_some_and(|p| {
            let block = u64::from(p.block_size).saturating_mul(128);
            p.cost_parameter.saturating_mul(block) > MOST_MEMORY || p.parallelization > MOST_PASSES
        });
    if too_much {
        return Err(Error::usage(
            "the key's passphrase would take too much time or memory to try",
        )
        .cause(format!(
            "at most {MOST_ROUNDS} rounds of PBKDF2, or {} MiB and {MOST_PASSES} passes of scrypt, are taken",
            MOST_MEMORY / 1024 / 1024
        )));
    }
    Ok(())
}

/// Says early what no token would take.
fn check(key: &PrivateKeyInfoRef<'_>) -> Result<(), Error> {
    let curve = || key.algorithm.parameters_oid().ok();
    let known = match key.algorithm.oid {
        RSA | ED25519 => true,
        EC => matches!(curve(), Some(P256 | P384)),
        _ => false,
    };
    if known {
        return Ok(());
    }
    let what = match (key.algorithm.oid, curve()) {
        (EC, Some(curve)) => format!("on the curve {curve}"),
        (other, _) => format!("of the algorithm {other}"),
    };
    Err(Error::usage(format!("stdin has a private key {what}"))
        .cause("EC keys on P-256 and P-384, Ed25519 and RSA are taken"))
}
