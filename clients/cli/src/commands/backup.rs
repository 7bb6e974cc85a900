//! `keyward backup`, `keyward restore`

use std::fs::File;
use std::io::{IsTerminal, Read, Seek};

use keyward_protocol::operation::{self, Restored};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::agent::{Agent, connect};
use crate::arguments::{Backup, Restore};
use crate::destination::{self, Content};
use crate::error::Error;
use crate::exit::Exit;
use crate::io;
use crate::output::{plain, print, print_json};
use crate::pin;

/// How much of a copy goes into a frame.
const PART: usize = 60 * 1024;

pub(super) fn backup(backup: &Backup) -> Result<(), Error> {
    let output = Some(backup.file.as_path());
    destination::check(output, Content::SecretBinary)?;
    let mut agent = connect()?;
    let mut bytes = Vec::new();
    let mut offset = 0_u64;
    loop {
        let part = agent.call(operation::Backup { offset })?;
        bytes.extend_from_slice(&part.bytes);
        let end = offset.saturating_add(u64::try_from(part.bytes.len()).unwrap_or(u64::MAX));
        match part.next {
            None if end == part.total => break,
            Some(next) if next == end && next > offset && next < part.total => offset = next,
            _ => {
                return Err(Error::new(
                    Exit::Fault,
                    "the agent's copy does not fit together",
                ));
            }
        }
    }
    destination::write(output, Content::SecretBinary, &bytes)
}

pub(super) fn restore(restore: &Restore) -> Result<(), Error> {
    let name = plain(&restore.file.display().to_string());
    if !restore.dry_run && !restore.yes && !std::io::stdin().is_terminal() {
        return Err(
            Error::usage("restoring wants a word from a person, and stdin is no terminal")
                .hint(format!("keyward restore {name} --dry-run, then --yes")),
        );
    }
    let mut copy = Copy::open(restore)?;
    let mut agent = connect()?;
    let would = copy.give(&mut agent, true)?;
    if restore.dry_run {
        return tell(&would, restore.json.json, true);
    }
    if !restore.yes {
        let prompt = format!("{}Restore {name}? [y/N] ", text(&would, true));
        if !pin::agrees(&prompt)? {
            return Err(Error::new(
                Exit::Negative,
                "not restored: nothing was changed",
            ));
        }
    }
    let did = copy.give(&mut agent, false)?;
    tell(&did, restore.json.json, false)
}

/// A copy in a file, read once for its digest and once for each time it is given.
struct Copy {
    file: File,
    name: String,
    total: u64,
    digest: [u8; 32],
}

impl Copy {
    fn open(restore: &Restore) -> Result<Self, Error> {
        let name = io::name(Some(&restore.file));
        let unreadable = |e| Error::usage(format!("can't read {name}")).cause(e);
        let mut file = File::open(&restore.file).map_err(unreadable)?;
        if !file.metadata().map_err(unreadable)?.is_file() {
            return Err(Error::usage(format!(
                "{name} is no file, and it is read twice"
            )));
        }
        let mut digest = Sha256::new();
        let mut total = 0_u64;
        let mut part = vec![0; PART];
        loop {
            let count = file.read(&mut part).map_err(unreadable)?;
            if count == 0 {
                break;
            }
            digest.update(part.get(..count).unwrap_or_default());
            total = total.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        }
        if total == 0 {
            return Err(Error::usage(format!("{name} is empty")));
        }
        Ok(Self {
            file,
            name,
            total,
            digest: digest.finalize().into(),
        })
    }

    /// Gives all of it to the agent, part by part.
    fn give(&mut self, agent: &mut Agent, dry_run: bool) -> Result<Restored, Error> {
        let unreadable = |e| Error::usage(format!("can't read {}", self.name)).cause(e);
        self.file.rewind().map_err(unreadable)?;
        let mut offset = 0_u64;
        loop {
            let left = usize::try_from(self.total.saturating_sub(offset)).unwrap_or(usize::MAX);
            let mut bytes = vec![0; left.min(PART)];
            self.file.read_exact(&mut bytes).map_err(unreadable)?;
            let given = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            let answer = agent.call(operation::Restore {
                offset,
                bytes: bytes.into(),
                total: self.total,
                digest: self.digest.into(),
                dry_run,
            })?;
            offset = offset.saturating_add(given);
            match (answer.complete, offset >= self.total) {
                (true, true) => return Ok(answer),
                (false, false) => {}
                _ => return Err(Error::new(Exit::Fault, "the agent lost count of the copy")),
            }
        }
    }
}

fn tell(restored: &Restored, json: bool, dry_run: bool) -> Result<(), Error> {
    if !json {
        return print(&text(restored, dry_run));
    }
    print_json(&json!({
        "dry_run": dry_run,
        "added": restored.added,
        "merged": restored.merged,
        "kept": restored.kept,
        "bound": restored.bound.as_deref().unwrap_or_default(),
    }))
}

fn text(restored: &Restored, dry_run: bool) -> String {
    let would = if dry_run { "would be " } else { "" };
    let mut text = format!(
        "{} keys {would}added, {} {would}completed\n",
        restored.added, restored.merged
    );
    for bound in restored.bound.iter().flatten() {
        text.push_str(&format!("bound: {}\n", plain(bound)));
    }
    for why in &restored.kept {
        text.push_str(&format!("not taken over: {}\n", plain(why)));
    }
    text
}
