//! `keyward encrypt`

use keyward_client::age::Encryptor;
use keyward_client::age::agent::{Context, SealError, new_file_key};

use crate::agent::connect;
use crate::arguments::{Bound, EncryptFile};
use crate::destination::{Content, Destination};
use crate::error::Error;
use crate::exit::Exit;
use crate::io;
use crate::output::plain;
use crate::progress::Progress;

pub(super) fn encrypt(encrypt: EncryptFile) -> Result<(), Error> {
    let context = context(encrypt.bound)?;
    let target = &encrypt.target;
    let destination = Destination::check(target.file.as_deref(), target.force, Content::Binary)?;
    let file = encrypt.file.as_deref();
    let (input, name) = (io::open(file)?, io::name(file));
    let (file_key, stanzas) = new_file_key(&mut connect()?, &encrypt.keys, context.as_ref())
        .map_err(|error| unsealed(error, encrypt.keys.len()))?;
    let encryptor = Encryptor::new(&file_key, stanzas)
        .map_err(|e| Error::new(Exit::Fault, "the file can't be begun").cause(e))?;
    let mut progress = Progress::new("encrypting", io::size(&input));
    let mut output = destination.open()?;
    encryptor
        .encrypt(&input, &mut output, |done| progress.show(done))
        .map_err(|error| output.explain(error, &name))?;
    drop(progress);
    output.finish()
}

/// What the file is bound to, if to anything.
pub(super) fn context(bound: Bound) -> Result<Option<Context>, Error> {
    let mut context = Context::new();
    for (name, value) in bound.context {
        if context.contains_key(&name) {
            return Err(Error::usage(format!("--context says {name} twice")));
        }
        context.insert(name, value);
    }
    Ok((!context.is_empty()).then_some(context))
}

fn unsealed(error: SealError, keys: usize) -> Error {
    match error {
        // Which of several keys it is, the agent's words need not say.
        SealError::Agent { key, error } if keys > 1 => {
            Error::from(error).cause(format!("asked for the key {}", plain(&key)))
        }
        SealError::Agent { error, .. } => error.into(),
        error => Error::new(Exit::Fault, error.to_string()),
    }
}
