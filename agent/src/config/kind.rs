//! What a token's kind decides: what it needs, and what is not for it to say.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use keyward_backend::Tcti;
use keyward_backend::start::SocketKinds;
use keyward_backend::tcti;
use toml::Spanned;

use super::error::Wrong;
use super::file::{KindField, SocketsField, TokenTable};
use super::value::{DAY, duration_within, number_within};
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
        KindField::Piv => piv(table),
    }
}

fn pkcs11(span: Range<usize>, table: &TokenTable) -> Result<TokenKind, Wrong> {
    foreign("pkcs11", "tcti", table.tcti.as_ref(), "tpm")?;
    not_piv("pkcs11", table)?;
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
    not_piv("tpm", table)?;
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

/// That the card is there is not asked here: it comes and goes.
fn piv(table: &TokenTable) -> Result<TokenKind, Wrong> {
    foreign("piv", "module", table.module.as_ref(), "pkcs11")?;
    foreign("piv", "uri", table.uri.as_ref(), "pkcs11")?;
    foreign("piv", "tcti", table.tcti.as_ref(), "tpm")?;
    let pin_timeout = match &table.pin_timeout {
        None => None,
        field => Some(duration_within(
            field.as_ref(),
            Duration::ZERO,
            Duration::from_secs(1),
            DAY,
        )?),
    };
    Ok(TokenKind::Piv {
        serial: table.serial.as_ref().map(|field| *field.get_ref()),
        pin_timeout,
    })
}

fn not_piv(kind: &str, table: &TokenTable) -> Result<(), Wrong> {
    foreign(kind, "serial", table.serial.as_ref(), "piv")?;
    foreign(kind, "pin_timeout", table.pin_timeout.as_ref(), "piv")
}

/// A field that belongs to another kind.
fn foreign<T>(
    kind: &str,
    name: &str,
    field: Option<&Spanned<T>>,
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
        (TokenKind::Piv { .. }, Some(field)) if *field.get_ref() != 1 => Err(Wrong::new(
            field.span(),
            "a card does one thing at a time: one thread serves it",
        )
        .hint("remove it")),
        (TokenKind::Tpm { .. } | TokenKind::Piv { .. }, _) => Ok(1),
    }
}

/// After how long a call to a token of that kind is taken for hung.
pub(super) const fn default_timeout(kind: &TokenKind) -> Duration {
    match kind {
        TokenKind::Pkcs11 { .. } | TokenKind::Tpm { .. } => Duration::from_secs(30),
        // A card takes its time to make an RSA key, and waits 15 s for a touch.
        TokenKind::Piv { .. } => Duration::from_secs(180),
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
    let needed = match kind {
        TokenKind::Tpm { tcti, .. } => tcti.sockets(),
        TokenKind::Piv { .. } => return card_sockets(field, said),
        TokenKind::Pkcs11 { .. } => return Ok(said.unwrap_or(SocketKinds::None)),
    };
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

/// A card is behind the socket of the PC/SC service.
fn card_sockets(
    field: Option<&Spanned<SocketsField>>,
    said: Option<SocketKinds>,
) -> Result<SocketKinds, Wrong> {
    match field {
        Some(field) if said != Some(SocketKinds::Unix) => Err(Wrong::new(
            field.span(),
            "a card is reached through the Unix socket of pcscd, and nothing else",
        )
        .hint("remove it")),
        _ => Ok(SocketKinds::Unix),
    }
}
