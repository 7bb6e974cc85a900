//! `random`.

use keyward_backend::message::{Outcome, Work};
use keyward_protocol::operation::{Random, RandomBytes};
use keyward_protocol::{ErrorCode, Failure};

use super::misbehaved;
use crate::request::{Entry, With};

/// The most random bytes of one request.
const MOST_RANDOM: u32 = 1024;

impl With<'_> {
    pub(in crate::request) async fn random(
        &self,
        op: &Random,
        entry: &mut Entry,
    ) -> Result<RandomBytes, Failure> {
        let token = self.agent.token(op.token.as_deref())?;
        entry.token = Some(token.name().to_owned());
        entry.length = Some(op.length as usize);
        if !(1..=MOST_RANDOM).contains(&op.length) {
            return Err(Failure::new(
                ErrorCode::Invalid,
                format!(
                    "{} random bytes, where 1 to {MOST_RANDOM} can be had",
                    op.length
                ),
            ));
        }
        let work = Work::Random(op.length);
        let Outcome::Secret(bytes) = token.call(self.authorised, work, self.deadline).await? else {
            return Err(misbehaved(token));
        };
        if bytes.len() != op.length as usize {
            return Err(misbehaved(token));
        }
        Ok(RandomBytes {
            bytes,
            token: token.name().to_owned(),
        })
    }
}
