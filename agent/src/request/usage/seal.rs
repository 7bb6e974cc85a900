//! `unseal`: what a token has sealed is given back.

use std::rc::Rc;

use keyward_backend::message::{Outcome, Work};
use keyward_protocol::operation::Unsealed;
use keyward_protocol::{Failure, KeyType, Purpose};

use super::place::Repeat;
use super::{Use, check_state, current, has_purpose, misbehaved};
use crate::registry::Key;
use crate::request::{Entry, With};
use crate::worker::Token;

impl With<'_> {
    pub(in crate::request) async fn unseal_data(
        &self,
        key: &Key,
        entry: &mut Entry,
    ) -> Result<Unsealed, Failure> {
        has_purpose(key, Purpose::Seal)?;
        check_state(key, key.state, Use::Process)?;
        let version = current(key)?;
        check_state(key, version.state, Use::Process)?;
        let work = Rc::new(Work::UnsealData(version.id));
        let check = |token: &Token, outcome| match outcome {
            Outcome::Secret(data) if (1..=KeyType::MOST_DATA).contains(&data.len()) => Ok(data),
            _ => Err(misbehaved(token)),
        };
        let data = self
            .on_token(version, Repeat::Always, entry, || Ok(work.clone()), check)
            .await?;
        entry.length = Some(data.len());
        Ok(Unsealed {
            data,
            key: key.id_text.clone(),
            version: version.number,
        })
    }
}
