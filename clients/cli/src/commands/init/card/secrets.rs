//! The new PIN and PUK of a card: asked for, made up, shown.

use std::path::Path;

use keyward_protocol::SecretBytes;
use zeroize::Zeroizing;

use super::{Card, Steps};
use crate::arguments::Init;
use crate::commands::init::random;
use crate::commands::init::worker::CardSecrets;
use crate::destination::{self, Content};
use crate::error::Error;
use crate::output::plain;
use crate::{io, pin};

/// How many characters a PIN has (SP 800-73-4 Part 2 §2.4.3).
const LENGTHS: std::ops::RangeInclusive<usize> = 6..=8;
const HINT: &str = "--pin-file FILE, or `--pin-file -` for stdin";

/// Refuses options that this card has no use for.
pub(in crate::commands::init) fn check_wanted(init: &Init, steps: Steps) -> Result<(), Error> {
    let no_new = "the card has a PIN of its own, which is left as it is";
    if init.remember_pin_in_file && !steps.pin {
        return Err(Error::usage(no_new).hint(
            "leave --remember-pin-in-file out; keyward.toml(5) says how a PIN is read from a file",
        ));
    }
    if init.pin_file.is_some() && !steps.pin && !steps.management_key {
        return Err(Error::usage(no_new).hint("leave --pin-file out; keyward unlock"));
    }
    match &init.puk_file {
        Some(_) if !steps.puk => {
            let what = "the card has a PUK of its own, which is left as it is";
            Err(Error::usage(what).hint("leave --puk-file out"))
        }
        Some(file) if file.exists() => {
            let what = format!("{} is there already", file.display());
            Err(Error::usage(what).hint("--puk-file OTHER; it may have the PUK of another card"))
        }
        None if steps.puk && !init.dry_run && !pin::has_terminal() => {
            let what = "there is no terminal to show the new PUK on";
            Err(Error::usage(what).hint("--puk-file FILE"))
        }
        _ => Ok(()),
    }
}

/// What the card is set up with: a PIN that is asked for, a PUK that is made up.
pub(in crate::commands::init) fn ask(init: &Init, card: &Card) -> Result<CardSecrets, Error> {
    let steps = card.steps();
    let mut secrets = CardSecrets::default();
    if steps.pin {
        secrets.new_pin = Some(new_pin(init, card)?);
    } else if steps.management_key {
        let prompt = format!("PIN of {}, as it is: ", card.describe());
        secrets.pin = Some(match &init.pin_file {
            Some(file) => io::read_secret(file, pin::LONGEST)?,
            None => pin::ask(&plain(&prompt), HINT)?,
        });
    }
    if steps.puk {
        secrets.new_puk = Some(random::digits()?);
    }
    Ok(secrets)
}

/// Gives the new PUK to the person, before it is the card's: what comes after can be cut off.
pub(in crate::commands::init) fn show(init: &Init, secrets: &CardSecrets) -> Result<(), Error> {
    let Some(puk) = &secrets.new_puk else {
        return Ok(());
    };
    if let Some(file) = &init.puk_file {
        return write(file, puk);
    }
    let digits = String::from_utf8_lossy(puk.expose());
    let text = Zeroizing::new(format!(
        "The card's new PUK is  {}\n\
         It gives a blocked PIN back. Write it down: it is kept nowhere, and not shown again.\n",
        &*digits
    ));
    pin::show(&text)?;
    match init.yes {
        true => Ok(()),
        false => pin::ask_line("Enter, when it is written down: ").map(drop),
    }
}

fn write(file: &Path, puk: &SecretBytes) -> Result<(), Error> {
    let mut line = Zeroizing::new(Vec::with_capacity(puk.len().saturating_add(1)));
    line.extend_from_slice(puk.expose());
    line.push(b'\n');
    destination::write(Some(file), Content::SecretText, &line)
}

fn new_pin(init: &Init, card: &Card) -> Result<SecretBytes, Error> {
    if init.remember_pin_in_file {
        return random::digits();
    }
    if let Some(file) = &init.pin_file {
        let pin = io::read_secret(file, pin::LONGEST)?;
        return check(&pin).map(|()| pin);
    }
    for _ in 0..3 {
        let prompt = format!("New PIN for {} (6 to 8 characters): ", card.describe());
        let first = pin::ask(&plain(&prompt), HINT)?;
        if let Err(error) = check(&first) {
            error.print();
            continue;
        }
        if pin::ask("The same PIN again: ", HINT)? == first {
            return Ok(first);
        }
        eprintln!("keyward: the two are not the same");
    }
    Err(Error::usage("there is no PIN; nothing was changed"))
}

/// What a card takes as a PIN, and nobody tries first.
fn check(pin: &SecretBytes) -> Result<(), Error> {
    let pin = pin.expose();
    if !pin
        .iter()
        .all(|byte| byte.is_ascii_graphic() || *byte == b' ')
    {
        return Err(Error::usage(
            "the PIN has characters that are not ASCII, which readers with keys and other programs \
             would send in another form",
        ));
    }
    if !LENGTHS.contains(&pin.len()) {
        return Err(Error::usage("the PIN of a card has 6 to 8 characters"));
    }
    let by = |step: u8| {
        let mut pairs = pin.iter().zip(pin.iter().skip(1));
        pairs.all(|(one, next)| one.wrapping_add(step) == *next)
    };
    // 123456 and 12345678 are the factory's.
    match by(1) || by(0) || by(u8::MAX) {
        true => Err(Error::usage(
            "that PIN is one of those that are tried first, such as 123456",
        )),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_that_everybody_tries_or_no_card_takes_is_refused() {
        let of = |pin: &str| check(&SecretBytes::copy_from(pin.as_bytes()));
        for good in ["735192", "a-b c9", "12345679", "0123451"] {
            assert!(of(good).is_ok(), "{good}");
        }
        for bad in [
            "123456",
            "12345678",
            "000000",
            "11111111",
            "654321",
            "876543",
            "abcdef",
            "73519",
            "735192735",
            "blåb73",
            "7351\t92",
            "",
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
