//! What a token's kind decides: what it needs, and what is not for it to say.

use std::ops::Range;
use std::path::Path;

use keyward_backend::Tcti;
use keyward_backend::start::SocketKinds;
use keyward_backend::tcti;
use toml::Spanned;

use super::error::Wrong;
use super::file::{KindField, SocketsField, TokenTable};
use super::value::number_within;
use super::{Environment, TokenKind, uri, value};

/// The folder inside the state folder that has one folder for each TPM.
const TPM_FOLDER: &str = "tpm";

/// Checks what the kind of a token needs.
pub(super) fn check(
    span: Range<usize>,
    name: &str,
    table: &TokenTable,
    state: &Path,
) -> Result<TokenKind, Wrong> {
    match table.kind {
        KindField::Pkcs11 => pkcs11(span, table),
        KindField::Tpm => tpm(name, table, state),
    }
}

fn pkcs11(span: Range<usize>, table: &TokenTable) -> Result<TokenKind, Wrong> {
    foreign("pkcs11", "tcti", table.tcti.as_ref(), "tpm")?;
    let missing = |what: &str, example: &str| {
        Wrong::new(
            span.clone(),
            format!("a token of kind pkcs11 needs `{what}`"),
        )
        .hint(example)
    };
    let module = table
        .module
        .as_ref()
        .ok_or_else(|| missing("module", "module = \"/usr/lib/softhsm/libsofthsm2.so\""))?;
    let uri_field = table
        .uri
        .as_ref()
        .ok_or_else(|| missing("uri", "uri = \"pkcs11:token=LABEL\""))?;
    uri::check(uri_field)?;
    Ok(TokenKind::Pkcs11 {
        module: value::existing_file(module)?,
        uri: uri_field.get_ref().clone(),
    })
}

/// That the TPM is there is not asked here: the agent starts without it.
fn tpm(name: &str, table: &TokenTable, state: &Path) -> Result<TokenKind, Wrong> {
    foreign("tpm", "module", table.module.as_ref(), "pkcs11")?;
    foreign("tpm", "uri", table.uri.as_ref(), "pkcs11")?;
    let text = table
        .tcti
        .as_ref()
        .map_or(tcti::DEFAULT, |field| field.get_ref());
    let tcti = Tcti::parse(text).map_err(|error| {
        let span = table.tcti.as_ref().map_or(0..0, Spanned::span);
        Wrong::new(span, error.what).hint(error.hint)
    })?;
    Ok(TokenKind::Tpm {
        tcti,
        keys: state.join(TPM_FOLDER).join(name),
    })
}

/// A field that belongs to another kind.
fn foreign(
    kind: &str,
    name: &str,
    field: Option<&Spanned<String>>,
    other: &str,
) -> Result<(), Wrong> {
    match field {
        None => Ok(()),
        Some(field) => Err(Wrong::new(
            field.span(),
            format!("a token of kind {kind} has no `{name}`"),
        )
        .hint(format!("remove it; it is for kind = \"{other}\""))),
    }
}

/// How many threads serve a token of that kind.
pub(super) fn threads(
    kind: &TokenKind,
    field: Option<&Spanned<u32>>,
    environment: &Environment,
) -> Result<u32, Wrong> {
    let processors = u32::try_from(environment.processors).unwrap_or(u32::MAX);
    match (kind, field) {
        (TokenKind::Pkcs11 { .. }, field) => number_within(field, processors.clamp(1, 4), 1, 64),
        (TokenKind::Tpm { .. }, Some(field)) if *field.get_ref() != 1 => Err(Wrong::new(
            field.span(),
            "a TPM does one thing at a time: one thread serves it",
        )
        .hint("remove it")),
        (TokenKind::Tpm { .. }, _) => Ok(1),
    }
}

/// The sockets that the worker of a token may make.
pub(super) fn sockets(
    kind: &TokenKind,
    field: Option<&Spanned<SocketsField>>,
) -> Result<SocketKinds, Wrong> {
    let said = field.map(|field| match field.get_ref() {
        SocketsField::None => SocketKinds::None,
        SocketsField::Unix => SocketKinds::Unix,
        SocketsField::Inet => SocketKinds::Inet,
    });
    let TokenKind::Tpm { tcti, .. } = kind else {
        return Ok(said.unwrap_or(SocketKinds::None));
    };
    let needed = tcti.sockets();
    match field {
        Some(field) if said != Some(needed) => {
            let needs = match needed {
                SocketKinds::None => "no socket: it is a device",
                SocketKinds::Unix => "Unix sockets: it is behind a message bus",
                SocketKinds::Inet => "TCP: it is an swtpm",
            };
            Err(
                Wrong::new(field.span(), format!("the way to this TPM takes {needs}"))
                    .hint("remove it: for a TPM, `tcti` decides the sockets"),
            )
        }
        _ => Ok(needed),
    }
}
