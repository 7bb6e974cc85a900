//! `reseal`: approves the values that PCRs have now.

use keyward_backend::message::{Outcome, Work};
use keyward_backend::pcr::{Approve, BoundReport, PcrValue, selected};
use keyward_protocol::operation::{PcrChange, Reseal, Resealed, ResealedPlace};
use keyward_protocol::{ErrorCode, Failure, KeyState, cbor};
use sha2::{Digest, Sha256};

use super::{Changing, intend, mark, placement, registry_refused};
use crate::registry::{Key, Version};
use crate::request::usage::misbehaved;
use crate::request::{Entry, With};
use crate::worker::Token;

/// A placement that is bound, as its token says.
struct Place<'a> {
    version: &'a Version,
    token: &'a Token,
    report: BoundReport,
}

impl With<'_> {
    pub(in crate::request) async fn reseal(
        &self,
        key: &Key,
        op: &Reseal,
        entry: &mut Entry,
    ) -> Result<Resealed, Failure> {
        let invalid = |words: &str| Failure::new(ErrorCode::Invalid, words);
        let _changing = Changing::begin(self.agent, key.id)?;
        let again = format!("keyward key reseal {}", key.id_text);
        if key.state == KeyState::Destroyed {
            return Err(Failure::new(ErrorCode::WrongState, "the key is destroyed"));
        }
        let places = self.bound_places(key).await?;
        if places.is_empty() {
            return Err(invalid("the key is not bound to PCRs"));
        }
        let mut answer = self.answer(key, &places);
        let Some(agreed) = &op.state else {
            entry.detail = Some("looked".into());
            return Ok(answer);
        };
        if **agreed != *answer.state {
            return Err(invalid(
                "the PCRs, or what is approved, are not as they were when they were shown",
            )
            .hint(again));
        }
        let changes: Vec<_> = answer.places.iter().map(words).collect();
        entry.detail = Some(changes.join("; "));
        if op.drop_old {
            entry.note("what was approved before goes");
        }
        intend(self.agent, self.origin, "reseal", entry).await?;
        for place in places {
            let known = place.report.approved.last() == Some(&place.report.current);
            if known && (!op.drop_old || place.report.approved.len() == 1) {
                continue;
            }
            self.approve(key, place, op.drop_old).await?;
        }
        answer.done = true;
        entry.registry = Some(mark(self.agent));
        Ok(answer)
    }

    /// What the tokens say of the versions that are bound.
    async fn bound_places<'k>(&'k self, key: &'k Key) -> Result<Vec<Place<'k>>, Failure> {
        let mut places = Vec::new();
        for version in &key.versions {
            for place in &version.placements {
                let token = self.agent.token(Some(&place.token))?;
                if token.kind() != "tpm" {
                    continue;
                }
                let work = Work::Bound(version.id);
                match token.call(self.authorised, work, self.deadline).await? {
                    Outcome::Bound(Some(report)) => {
                        let pcrs = selected(&report.current);
                        let last = report.approved.last().map(|values| selected(values));
                        if last != Some(pcrs) {
                            return Err(misbehaved(token));
                        }
                        places.push(Place {
                            version,
                            token,
                            report,
                        });
                    }
                    Outcome::Bound(None) => {}
                    _ => return Err(misbehaved(token)),
                }
            }
        }
        Ok(places)
    }

    /// Has one placement's approval made and kept.
    async fn approve(&self, key: &Key, place: Place<'_>, drop_old: bool) -> Result<(), Failure> {
        let (version, token) = (place.version, place.token);
        let values = place.report.current;
        let authority = place.report.authority.ok_or_else(|| {
            Failure::new(
                ErrorCode::Invalid,
                "the key was made without a recovery key: what it is bound to can't change",
            )
        })?;
        let (recovery, signer) = self.holder(&authority)?;
        let signature = self
            .approval(&recovery, &signer, version.id, &values)
            .await?;
        let work = Work::Approve(Approve {
            id: version.id,
            values,
            signature,
            drop_old,
        });
        let report = match token.call(self.authorised, work, self.deadline).await? {
            Outcome::Key(Some(report)) if report.public == version.public => report,
            _ => return Err(misbehaved(token)),
        };
        let new = placement(token, report);
        let mut registry = self.agent.registry.borrow_mut();
        registry
            .replace_blob(key.id, version.id, &new)
            .map(drop)
            .map_err(|error| registry_refused(&error))
    }

    fn answer(&self, key: &Key, places: &[Place<'_>]) -> Resealed {
        let registry = self.agent.registry.borrow();
        let places: Vec<_> = places
            .iter()
            .map(|place| {
                let authority = place.report.authority.as_ref();
                let holder = authority.and_then(|public| registry.holder(public));
                ResealedPlace {
                    version: place.version.number,
                    token: place.token.name().to_owned(),
                    pcrs: changes(&place.report),
                    approvals: u32::try_from(place.report.approved.len()).unwrap_or(u32::MAX),
                    approved: place.report.approved.contains(&place.report.current),
                    recovery_key: holder.map(|(key, _)| key.id_text.clone()),
                }
            })
            .collect();
        Resealed {
            key: key.id_text.clone(),
            state: Sha256::digest(cbor::encode(&places)).to_vec().into(),
            places,
            done: false,
        }
    }
}

fn changes(report: &BoundReport) -> Vec<PcrChange> {
    let approved = report.approved.last().map_or(&[][..], Vec::as_slice);
    let change = |(old, new): (&PcrValue, &PcrValue)| PcrChange {
        pcr: new.pcr,
        approved: old.value,
        current: new.value,
    };
    approved.iter().zip(&report.current).map(change).collect()
}

/// What changes, for the log.
fn words(place: &ResealedPlace) -> String {
    let changed = place.pcrs.iter().filter(|pcr| pcr.approved != pcr.current);
    let changed: Vec<_> = changed.map(|pcr| pcr.pcr.to_string()).collect();
    let changed = match changed.as_slice() {
        [] => "as before".to_owned(),
        some => format!("PCRs {} changed", some.join(", ")),
    };
    format!("version {} on {}: {changed}", place.version, place.token)
}
