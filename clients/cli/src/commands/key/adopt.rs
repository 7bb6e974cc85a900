//! `keyward key adopt`

use keyward_protocol::{Format, operation};

use crate::agent::connect;
use crate::arguments::Adopt;
use crate::error::Error;

pub(super) fn adopt(adopt: Adopt) -> Result<(), Error> {
    let mut formats: Vec<Format> = adopt.formats;
    formats.sort_unstable();
    formats.dedup();
    let adopted = connect()?.call(operation::Adopt {
        purpose: adopt.purpose,
        place: adopt.at,
        alias: Some(adopt.alias),
        token: adopt.token,
        formats: (!formats.is_empty()).then_some(formats),
        key_type: adopt.key_type,
        tags: (!adopt.tags.is_empty()).then(|| adopt.tags.into_iter().collect()),
    })?;
    super::show(adopted, &adopt.json)
}
