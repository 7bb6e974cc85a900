//! `keyward seal`, `keyward unseal`

use keyward_protocol::operation::{self, KeyMaterial};
use keyward_protocol::{KeyType, Purpose};

use super::blob::not_empty;
use crate::agent::connect;
use crate::arguments::{Seal, Unseal};
use crate::destination::{self, Content};
use crate::error::Error;
use crate::io;

pub(super) fn seal(seal: Seal) -> Result<(), Error> {
    let file = seal.file.as_deref();
    let data = io::read_secret_bytes(file, KeyType::MOST_DATA)
        .map_err(|e| e.or_hint("keyward encrypt takes files of any size"))?;
    let data = not_empty(data, file)?;
    let sealed = connect()?.call(operation::Import {
        purpose: Purpose::Seal,
        material: KeyMaterial::Secret(KeyType::Data, data),
        alias: Some(seal.alias),
        tokens: (!seal.token.is_empty()).then_some(seal.token),
        formats: None,
        tags: (!seal.tags.is_empty()).then(|| seal.tags.into_iter().collect()),
        existing: None,
        bind: seal.pcrs.bind(),
        piv: None,
    })?;
    super::key::show(sealed, &seal.json)
}

pub(super) fn unseal(unseal: Unseal) -> Result<(), Error> {
    let output = unseal.output.file.as_deref();
    destination::check(output, Content::Plaintext)?;
    let opened = connect()?.call(operation::Unseal { key: unseal.key })?;
    destination::write(output, Content::Plaintext, opened.data.expose())
}
