//! `keyward decrypt`

use std::io::BufReader;

use keyward_client::Error as ClientError;
use keyward_client::age::agent::{Attempt, OpenError, open_file_key};
use keyward_client::age::{Decryptor, HeaderError};
use keyward_protocol::ErrorCode;

use super::encrypt::context;
use crate::agent::connect;
use crate::arguments::DecryptFile;
use crate::destination::{Content, Destination};
use crate::error::Error;
use crate::exit::Exit;
use crate::io;
use crate::progress::Progress;

pub(super) fn decrypt(decrypt: DecryptFile) -> Result<(), Error> {
    let context = context(decrypt.bound)?;
    let target = &decrypt.target;
    let destination = Destination::check(target.file.as_deref(), target.force, Content::Plaintext)?;
    let file = decrypt.file.as_deref();
    let (input, name) = (io::open(file)?, io::name(file));
    let unreadable = |error| header(error, &name, "keyward decrypt");
    let decryptor = Decryptor::read(BufReader::new(&input)).map_err(unreadable)?;
    let mut agent = connect()?;
    let file_key = open_file_key(&mut agent, decryptor.stanzas(), context.as_ref())
        .map_err(|error| closed(error, &name))?;
    let payload = decryptor.open(&file_key).map_err(unreadable)?;
    let mut progress = Progress::new("decrypting", io::size(&input));
    let mut output = destination.open()?;
    payload
        .write_to(&mut output, |done| progress.show(done))
        .map_err(|error| output.explain(error, &name))?;
    drop(progress);
    output.finish()
}

/// Why a header can't be read; `command` would read it without armor.
pub(super) fn header(error: HeaderError, name: &str, command: &str) -> Error {
    let exit = match error {
        HeaderError::Changed => Exit::Negative,
        _ => Exit::Usage,
    };
    let message = match &error {
        HeaderError::Io(error) => {
            return Error::usage(format!("can't read {name}")).cause(error);
        }
        HeaderError::Changed => format!("{name} is not as it was encrypted"),
        _ => format!("{name} is no file that keyward encrypted"),
    };
    let told = Error::new(exit, message).cause(&error);
    match error {
        HeaderError::Armored => told.hint(format!(
            "sed '/^-----/d' FILE | base64 --decode | {command}"
        )),
        HeaderError::NotAge => told.hint("keyward blob decrypt opens what `keyward blob` made"),
        _ => told,
    }
}

fn closed(error: OpenError, name: &str) -> Error {
    match error {
        OpenError::Agent(error) => error.into(),
        OpenError::Closed { attempts } => refused(attempts, name),
        OpenError::NoStanza { types } => {
            let told = Error::new(
                Exit::Usage,
                format!("{name} was not encrypted for a key of an agent"),
            )
            .cause(format!("it is an age file for: {}", types.join(", ")));
            told.hint("age --decrypt")
        }
        error => Error::new(
            Exit::Usage,
            format!("{name} is no file that keyward encrypted"),
        )
        .cause(error),
    }
}

/// One key speaks for itself; of several, the one that a person can help most easily says what to do.
fn refused(mut attempts: Vec<Attempt>, name: &str) -> Error {
    attempts.sort_by_key(|attempt| rank(Exit::of(attempt.failure.code)));
    let Some(first) = attempts.first() else {
        return Error::new(Exit::Fault, format!("no key opens {name}"));
    };
    let told = Error::from(ClientError::Refused(first.failure.clone()));
    let several = attempts.len() > 1;
    let mut error = Error::new(
        told.exit,
        match several {
            true => format!("none of the {} keys of {name} opens it", attempts.len()),
            false => format!("the key of {name} does not open it"),
        },
    );
    for attempt in &attempts {
        let key = format!("{} version {}", attempt.key, attempt.version);
        error = error.cause(format!("{key}: {}", attempt.failure.message));
    }
    let wrong = first.failure.code == ErrorCode::UnwrapFailed;
    if wrong && first.failure.hint.is_none() {
        return error.hint("the same --context NAME=VALUE that `keyward encrypt` was given");
    }
    error.hinted_as(told)
}

/// How much a person has to do until it works.
fn rank(exit: Exit) -> u8 {
    match exit {
        Exit::TryAgain => 0,
        Exit::Token => 1,
        Exit::Refused => 2,
        Exit::Denied => 3,
        Exit::Negative => 4,
        _ => 5,
    }
}
