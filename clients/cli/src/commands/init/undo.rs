//! `keyward init --undo`

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags, flock};

use super::places::{Owner, Places};
use super::record::{Made, Record, Thing, digest};
use super::tpm::STORAGE_ROOT;
use crate::arguments::Init;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::{plain, print};
use crate::pin;

/// Takes back what the last init made.
pub(super) fn undo(init: &Init, places: &Places) -> Result<(), Error> {
    let path = places.record();
    let mut record = Record::read(&path)?;
    let Some(made) = record.made.pop() else {
        return Err(Error::new(Exit::NotFound, "there is nothing to take back")
            .cause(format!("{} is not there", path.display())));
    };
    let config = unchanged(&made)?;
    refuse_running(places)?;
    print(&what(&made))?;
    if init.dry_run {
        return Ok(());
    }
    agree(init, &made)?;
    // In the order that leaves something to go on with, wherever it ends.
    let back = match (made.config.kept, config) {
        (_, None) => Ok(()),
        (None, Some(_)) => std::fs::remove_file(&made.config.path),
        (Some(kept), Some(bytes)) => {
            let kept = bytes.get(..kept).unwrap_or_default();
            return_to(&made.config.path, kept)
        }
    };
    let shown = made.config.path.display();
    back.map_err(|e| Error::usage(format!("can't take {shown} back")).cause(e))?;
    let mut left = Vec::new();
    let (folders, others): (Vec<&Thing>, Vec<&Thing>) =
        (made.things.iter().rev()).partition(|thing| matches!(thing, Thing::Folder(_)));
    for thing in others {
        left.extend(remove(thing, places.owner).err());
    }
    match record.made.is_empty() {
        true => std::fs::remove_file(&path)
            .map_err(|e| Error::usage(format!("can't remove {}", path.display())).cause(e))?,
        false => record.write(&path)?,
    }
    for thing in folders {
        left.extend(remove(thing, places.owner).err());
    }
    // Folders above one that stays stay, too, which is no news.
    match left.first() {
        Some(left) => print(&format!("left: {}\n", plain(left))),
        None => Ok(()),
    }
}

/// The configuration's bytes, if it is there; it must be as init left it.
fn unchanged(made: &Made) -> Result<Option<Vec<u8>>, Error> {
    let path = &made.config.path;
    match std::fs::read(path) {
        Ok(bytes) if digest(&bytes) == made.config.sha256 => Ok(Some(bytes)),
        Ok(bytes) if made.config.before == Some(digest(&bytes)) => Ok(None),
        Ok(_) => Err(Error::new(
            Exit::Refused,
            format!(
                "{} was changed since `keyward init`; nothing was removed",
                path.display()
            ),
        )
        .hint(format!(
            "remove [token.{}] and what it names by hand, or bring the file back as it was",
            made.token
        ))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::usage(format!("can't read {}", path.display())).cause(e)),
    }
}

/// An agent that runs has the token open, and would lose its keys under its feet.
fn refuse_running(places: &Places) -> Result<(), Error> {
    // In system mode the folder is the agent's user's, who could put anything there: nothing is
    // waited for, and no link is followed.
    let mut plain = OpenOptions::new();
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    plain.read(true).custom_flags(flags.bits().cast_signed());
    let lock = match plain.open(places.lock()) {
        Ok(lock) if lock.metadata().is_ok_and(|found| found.is_file()) => lock,
        _ => return Ok(()),
    };
    match flock(&lock, FlockOperation::NonBlockingLockShared) {
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let hint = match places.owner {
                None => "systemctl --user stop keyward.socket keyward.service, or end keywardd",
                Some(_) => "systemctl stop keyward.socket keyward.service",
            };
            Err(Error::new(Exit::Refused, "the agent runs; nothing was removed").hint(hint))
        }
        _ => Ok(()),
    }
}

/// What goes, for people.
fn what(made: &Made) -> String {
    let mut text = format!("This takes token {} back:\n", made.token);
    let config = made.config.path.display();
    text.push_str(&match made.config.kept {
        None => format!("  remove  {config}\n"),
        Some(_) => format!("  remove  [token.{}] from {config}\n", made.token),
    });
    let (mut software, mut tpm) = (false, false);
    for thing in made.things.iter().rev() {
        text.push_str(&match thing {
            Thing::File(path) => format!("  remove  {}\n", path.display()),
            Thing::Folder(path) => format!("  remove  {}, if it is empty\n", path.display()),
            Thing::Token(path) | Thing::TpmKeys(path) => {
                software |= matches!(thing, Thing::Token(_));
                tpm |= matches!(thing, Thing::TpmKeys(_));
                format!("  DESTROY {}, with all keys in it\n", path.display())
            }
            Thing::Card(card) => format!(
                "  leave   {card}: its keys, and its PIN, PUK and management key as they are now\n"
            ),
        });
    }
    if tpm {
        text.push_str(&format!(
            "The keys of this token are destroyed; there is no way back but copies of that folder.\n\
             The TPM's storage root key at {STORAGE_ROOT} stays in the TPM: others may use it.\n"
        ));
    }
    text.push_str(match (software, tpm) {
        (true, _) => "The keys of this software token are destroyed; there is no way back.\n",
        (false, false) => "The hardware token and its keys are not touched.\n",
        (false, true) => "",
    });
    plain_lines(&text)
}

fn agree(init: &Init, made: &Made) -> Result<(), Error> {
    let nothing = || Error::new(Exit::Negative, "nothing was removed");
    let keys =
        (made.things.iter()).any(|thing| matches!(thing, Thing::Token(_) | Thing::TpmKeys(_)));
    if keys && !init.yes_destroy_keys {
        let prompt = format!(
            "Type the token's name, {}, to destroy its keys: ",
            made.token
        );
        let typed =
            pin::ask_line(&prompt).map_err(|e| e.hint("--yes-destroy-keys does not ask"))?;
        return (typed == made.token).then_some(()).ok_or_else(nothing);
    }
    if !keys && !init.yes {
        return super::confirm("Take it back?")?
            .then_some(())
            .ok_or_else(nothing);
    }
    Ok(())
}

fn return_to(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let permissions = std::fs::metadata(path)?.permissions();
    let beside = path.with_extension(format!("toml.{}.new", std::process::id()));
    let written = std::fs::write(&beside, bytes)
        .and_then(|()| std::fs::set_permissions(&beside, permissions))
        .and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}

/// Removes a thing; says what is left and why.
pub(super) fn remove(thing: &Thing, owner: Option<Owner>) -> Result<(), String> {
    let (path, removed) = match (thing, owner) {
        (Thing::Card(_), _) => return Ok(()),
        (Thing::Folder(path), _) => (path, std::fs::remove_dir(path)),
        (Thing::File(path), _) => (path, std::fs::remove_file(path)),
        (Thing::Token(path) | Thing::TpmKeys(path), None) => (path, std::fs::remove_dir_all(path)),
        (Thing::Token(path) | Thing::TpmKeys(path), Some(owner)) => {
            // By the agent's user, so that root follows none of its links.
            let status = super::as_agent("rm", owner)
                .args(["-rf", "--"])
                .arg(path)
                .status();
            let done = status.and_then(|status| match status.success() {
                true => Ok(()),
                false => Err(std::io::Error::other("rm failed")),
            });
            (path, done)
        }
    };
    match removed {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            let why = match e.kind() {
                std::io::ErrorKind::DirectoryNotEmpty => {
                    "what is in it `keyward init` did not make, such as the agent's log".to_owned()
                }
                _ => e.to_string(),
            };
            Err(format!("{}: {why}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Lines without what would move a terminal's cursor.
fn plain_lines(text: &str) -> String {
    text.lines().map(|line| plain(line) + "\n").collect()
}
