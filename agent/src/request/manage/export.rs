//! `export`: the file of a TPM's key, for programs that use that TPM themselves.

use keyward_backend::KeyReport;
use keyward_backend::key_file::{KeyFile, Kind};
use keyward_backend::message::{Outcome, Work};
use keyward_protocol::operation::{Export, Exported};
use keyward_protocol::{ErrorCode, Failure};

use super::adopt::place_of;
use crate::registry::Key;
use crate::request::usage::{misbehaved, numbered};
use crate::request::{Entry, With};
use crate::worker::Token;

impl With<'_> {
    pub(in crate::request) async fn export(
        &self,
        key: &Key,
        op: Export,
        entry: &mut Entry,
    ) -> Result<Exported, Failure> {
        let version = numbered(key, op.version)?;
        entry.version = Some(version.id);
        let places = version.placements.iter();
        let places: Vec<_> = places
            .filter(|place| op.token.as_ref().is_none_or(|name| *name == place.token))
            .filter_map(|place| self.agent.token(Some(&place.token)).ok())
            .filter(|token| token.kind() == "tpm")
            .collect();
        let adopted = version.placements.iter().any(|place| {
            let wanted = op.token.as_ref().is_none_or(|name| *name == place.token);
            wanted && place_of(&place.locator).is_some()
        });
        if adopted {
            return Err(cannot(
                "it was adopted: no file has it, and whoever may use the TPM can use it where it is",
            ));
        }
        let token = match places.as_slice() {
            [one] => one.as_ref(),
            [] => {
                return Err(cannot(
                    "it is in no TPM: a key of a PKCS#11 token can't leave it",
                ));
            }
            [first, ..] => {
                let words = "the key is in several TPMs, and each has a file of its own";
                return Err(Failure::new(ErrorCode::Invalid, words)
                    .hint(format!("--token {}", first.name())));
            }
        };
        entry.token = Some(token.name().to_owned());
        let work = Work::Inspect(version.id);
        let report = match token.call(self.authorised, work, self.deadline).await? {
            Outcome::Key(Some(report)) => report,
            Outcome::Key(None) => {
                let words = format!("token {} does not have the key", token.name());
                return Err(Failure::new(ErrorCode::NotFound, words).hint("keyward status"));
            }
            _ => return Err(misbehaved(token)),
        };
        let (pem, parent) = pem(token, &report)?;
        entry.length = Some(pem.len());
        Ok(Exported {
            pem,
            token: token.name().to_owned(),
            version: version.number,
            parent,
        })
    }
}

/// The PEM alone, without what keyward notes before it.
fn pem(token: &Token, report: &KeyReport) -> Result<(String, u32), Failure> {
    if report.bound.is_some() {
        return Err(cannot(
            "it is bound to PCRs, and other programs don't know what was approved",
        ));
    }
    let blob = report.blob.as_ref();
    let blob = blob.ok_or_else(|| cannot("it has no file"))?;
    let (first, _) = KeyFile::split(blob);
    let file = KeyFile::from_pem(first).map_err(|_| misbehaved(token))?;
    if !file.empty_auth {
        return Err(cannot(
            "its token has a PIN, which opens a random value that no other program can be given",
        ));
    }
    if file.kind == Kind::Sealed {
        return Err(cannot("it is sealed data, and no key"));
    }
    if !file.policy.is_empty() {
        return Err(cannot("its file has a policy"));
    }
    let pem = file.to_pem().map_err(|_| misbehaved(token))?;
    Ok((pem, file.parent))
}

fn cannot(why: &str) -> Failure {
    let words = format!("the key can't be exported: {why}");
    Failure::new(ErrorCode::MechanismInvalid, words)
}
