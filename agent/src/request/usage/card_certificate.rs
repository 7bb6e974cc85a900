//! `get-certificate`: what a card keeps beside a key.

use std::rc::Rc;

use keyward_backend::message::{Outcome, Work};
use keyward_protocol::operation::{Certificate, GetCertificate};
use keyward_protocol::{ErrorCode, Failure};

use super::place::Repeat;
use super::{misbehaved, numbered};
use crate::certificate::public_key_of;
use crate::registry::Key;
use crate::request::{Entry, With};
use crate::worker::Token;

impl With<'_> {
    pub(in crate::request) async fn get_certificate(
        &self,
        key: &Key,
        op: &GetCertificate,
        entry: &mut Entry,
    ) -> Result<Certificate, Failure> {
        let version = numbered(key, op.version)?;
        let work = Rc::new(Work::ReadCertificate(version.id));
        let check = |token: &Token, outcome| {
            let Outcome::Certificate(found) = outcome else {
                return Err(misbehaved(token));
            };
            let Some(der) = found else {
                let words = format!("token {} has no certificate of the key", token.name());
                let hint = format!("keyward key csr {}", key.id_text);
                return Err(Failure::new(ErrorCode::NotFound, words).hint(hint));
            };
            // One of another key would have programs trust the wrong one.
            match public_key_of(&der) {
                Ok(public) if public == version.spki => Ok((der, token.name().to_owned())),
                _ => {
                    let words = format!(
                        "the certificate that token {} keeps there is of another key",
                        token.name()
                    );
                    Err(Failure::new(ErrorCode::TokenFailed, words))
                }
            }
        };
        let found = self.on_token(version, Repeat::Always, entry, || Ok(work.clone()), check);
        let (der, token) = found.await?;
        Ok(Certificate {
            der,
            token,
            version: version.number,
        })
    }
}
