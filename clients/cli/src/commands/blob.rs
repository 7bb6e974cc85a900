//! `keyward blob …`

mod show;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use keyward_protocol::SecretBytes;
use keyward_protocol::ciphertext::{self, MAX_CIPHERTEXT};
use keyward_protocol::operation::{self, GenerateDataKey};

use crate::agent::connect;
use crate::arguments::{BlobCommand, DataKey, Decrypt, Encrypt, ReEncrypt};
use crate::destination::{self, Content};
use crate::error::Error;
use crate::exit::Exit;
use crate::io;

/// The longest plaintext that the agent encrypts, and the longest key that it wraps.
pub(super) const LONGEST_PLAINTEXT: usize = 4096;

pub(super) fn run(command: BlobCommand) -> Result<(), Error> {
    match command {
        BlobCommand::Encrypt(encrypt) => self::encrypt(encrypt),
        BlobCommand::Decrypt(decrypt) => self::decrypt(decrypt),
        BlobCommand::ReEncrypt(re_encrypt) => self::re_encrypt(re_encrypt),
        BlobCommand::DataKey(data_key) => self::data_key(data_key),
        BlobCommand::Show(show) => show::show(&show),
    }
}

fn encrypt(encrypt: Encrypt) -> Result<(), Error> {
    let output = encrypt.output.file.as_deref();
    destination::check(output, Content::Binary)?;
    let context = context(encrypt.context.context)?;
    let plaintext = io::read_secret_bytes(encrypt.input.file.as_deref(), LONGEST_PLAINTEXT)
        .map_err(|e| e.or_hint("keyward encrypt takes files of any size"))?;
    let made = connect()?.call(operation::Encrypt {
        key: encrypt.key,
        plaintext,
        context,
        algorithm: encrypt.algorithm,
    })?;
    destination::write(output, Content::Binary, &made.ciphertext)
}

fn decrypt(decrypt: Decrypt) -> Result<(), Error> {
    let output = decrypt.output.file.as_deref();
    destination::check(output, Content::Plaintext)?;
    let context = context(decrypt.context.context)?;
    let ciphertext = ciphertext(decrypt.input.file.as_deref())?;
    let opened = connect()?.call(operation::Decrypt {
        ciphertext: ciphertext.into(),
        key: decrypt.key,
        context,
    });
    let opened = opened.map_err(not_opened)?;
    destination::write(output, Content::Plaintext, opened.plaintext.expose())
}

fn re_encrypt(re_encrypt: ReEncrypt) -> Result<(), Error> {
    let output = re_encrypt.output.file.as_deref();
    destination::check(output, Content::Binary)?;
    let source_context = context(re_encrypt.source_context)?;
    let context = context(re_encrypt.context)?;
    let ciphertext = ciphertext(re_encrypt.input.file.as_deref())?;
    let made = connect()?.call(operation::ReEncrypt {
        ciphertext: ciphertext.into(),
        source_key: re_encrypt.source_key,
        source_context,
        key: re_encrypt.key,
        context,
    });
    let made = made.map_err(not_opened)?;
    destination::write(output, Content::Binary, &made.ciphertext)
}

/// The agent does not say why something does not open; this is what a person most often forgot.
fn not_opened(error: Error) -> Error {
    match error.exit {
        Exit::Negative => error
            .or_hint("the context that it was encrypted with; `keyward blob show` says the key"),
        _ => error,
    }
}

fn data_key(wanted: DataKey) -> Result<(), Error> {
    let plaintext_out = wanted.plaintext_out.as_deref();
    let ciphertext_out = wanted.ciphertext_out.as_deref();
    let stdout = Some(Path::new("-"));
    if plaintext_out == stdout && (ciphertext_out.is_none() || ciphertext_out == stdout) {
        return Err(
            Error::usage("stdout can't be both the data key and its ciphertext")
                .hint("add --ciphertext-out FILE"),
        );
    }
    destination::check(ciphertext_out, Content::Binary)?;
    if plaintext_out.is_some() {
        destination::check(plaintext_out, Content::SecretBinary)?;
    }
    let context = context(wanted.context.context)?;
    let made = connect()?.call(GenerateDataKey {
        key: wanted.key,
        context,
        length: wanted.length.or(wanted.aes128.then_some(16)),
        with_plaintext: !wanted.without_plaintext,
    })?;
    // First what is still worth something alone.
    destination::write(ciphertext_out, Content::Binary, &made.ciphertext)?;
    match (plaintext_out, made.plaintext) {
        (None, _) => Ok(()),
        (output, Some(plaintext)) => {
            destination::write(output, Content::SecretBinary, plaintext.expose())
        }
        (Some(_), None) => Err(Error::new(Exit::Fault, "the agent gave no data key")),
    }
}

/// A ciphertext that is at least one by its length.
fn ciphertext(file: Option<&Path>) -> Result<Vec<u8>, Error> {
    let name = io::name(file);
    let (bytes, _) = beginning(file)?;
    if bytes.is_empty() {
        return Err(Error::usage(format!(
            "{name} is empty: there is no ciphertext"
        )));
    }
    if show::age::is_one(&bytes) {
        return Err(Error::usage(format!("{name} is an age file")).hint("keyward decrypt"));
    }
    if bytes.len() > MAX_CIPHERTEXT {
        let long = format!("{name} has more than {MAX_CIPHERTEXT} bytes");
        return Err(Error::usage(long).cause("it is no age file either"));
    }
    Ok(bytes)
}

/// As many bytes as a ciphertext has, and one more if there is; then what is left.
fn beginning(file: Option<&Path>) -> Result<(Vec<u8>, File), Error> {
    let mut source = io::open(file)?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_CIPHERTEXT).unwrap_or(u64::MAX);
    let mut first = source.by_ref().take(limit.saturating_add(1));
    let read = first.read_to_end(&mut bytes);
    read.map_err(|e| Error::usage(format!("can't read {}", io::name(file))).cause(e))?;
    io::typed(file, bytes.len())?;
    Ok((bytes, source))
}

/// An encryption context of its parts; absent if there are none.
pub(super) fn context(
    parts: Vec<(String, String)>,
) -> Result<Option<BTreeMap<String, String>>, Error> {
    let mut context = BTreeMap::new();
    for (name, value) in parts {
        if context.contains_key(&name) {
            let twice = format!("the encryption context has the name {name} twice");
            return Err(Error::usage(twice));
        }
        context.insert(name, value);
    }
    if context.is_empty() {
        return Ok(None);
    }
    ciphertext::Context::new(context.clone())
        .map_err(|e| Error::usage("this is no encryption context").cause(e))?;
    Ok(Some(context))
}

/// A secret of at least one byte.
pub(super) fn not_empty(secret: SecretBytes, file: Option<&Path>) -> Result<SecretBytes, Error> {
    if secret.is_empty() {
        return Err(Error::usage(format!("{} is empty", io::name(file))));
    }
    Ok(secret)
}
