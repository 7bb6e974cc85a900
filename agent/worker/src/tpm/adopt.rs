//! Keys that another program has put into the TPM, at a persistent handle: they are used as they are.

use std::sync::Arc;

use keyward_backend::message::{Adopt, Generate};
use keyward_backend::token::PinTries;
use keyward_backend::{BackendError, KeyReport, Result};
use keyward_protocol::{CoseKey, KeyType, Purpose};
use tss_esapi::Error;
use tss_esapi::handles::ObjectHandle;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Data, Digest, Public, PublicKeyRsa, RsaDecryptionScheme};
use tss_esapi::traits::Marshall;

use super::device::{Device, Secrecy};
use super::error::{Next, next};
use super::foreign::check_public;
use super::loaded::Blob;
use super::persistent::{Tried, attempt, find, locked_out, without};
use super::report::{kind, name_of};
use super::session::{Session, parse};
use super::sign::{no_ticket, scheme};
use super::store::{Entry, Handle, Held, Made};
use super::z_gen::point;
use super::{Failure, Repeat, pin};

impl Session<'_> {
    /// Takes in what is at a handle. Its authorization value must be empty, which only a try shows;
    /// everything else its public area says.
    pub(super) fn adopt_at(&self, adopt: &Adopt) -> Result<KeyReport> {
        let at = Handle::parse(&adopt.place).ok_or_else(|| {
            BackendError::Invalid(format!(
                "{:?} is no persistent handle of a TPM, such as 0x81000010; tpm2_getcap handles-persistent lists them",
                adopt.place
            ))
        })?;
        let (tpm, id) = (self.tpm, adopt.generate.id);
        tpm.with(Repeat::No, |state, device| {
            tpm.check_login(state)?;
            tpm.is_free(&adopt.generate)?;
            let public = public_at(device, at)?;
            let (key_type, _) = kind(&public)?;
            let generate = Generate {
                key_type: key_type.ok_or_else(|| {
                    no_use(at, "it is of a kind or size that keyward does not use")
                })?,
                ..adopt.generate.clone()
            };
            if !generate.purpose.fits(generate.key_type) {
                let what = format!(
                    "a key of type {} can't {}",
                    generate.key_type, generate.purpose
                );
                return Err(no_use(at, &what).into());
            }
            check_public(&generate, &public).map_err(|why| no_use(at, &why))?;
            let entry = Entry {
                label: generate.label.clone(),
                made: Made::Adopted,
                purpose: generate.purpose,
                bound: None,
                key: Held::Handle(Handle {
                    handle: at,
                    name: name_of(&public)?,
                    public: public.marshall()?,
                }),
            };
            let blob = Arc::new(parse(id, &entry)?);
            is_open(device, at, &blob)?;
            tpm.store.put(id, &entry)?;
            let mut report = blob.report()?;
            report.blob = tpm.file_of(id)?;
            Ok(report)
        })
    }
}

/// The public area of what is at a handle.
fn public_at(device: &mut Device, at: u32) -> std::result::Result<Public, Failure> {
    let read = device.run(|device| {
        let Some((mut object, _)) = find(device, at)? else {
            return Ok(None);
        };
        let read = device.plain(|context| context.read_public(object.into()));
        let _ = device.context.tr_close(&mut object);
        read.map(|(public, ..)| Some(public))
    })?;
    read.ok_or_else(|| {
        BackendError::Invalid(format!(
            "the TPM has nothing at {at:#x}; tpm2_getcap handles-persistent lists what there is"
        ))
        .into()
    })
}

/// That an empty authorization value is enough: it is used once. A wrong try may count for the lockout,
/// so it is not made where it could be the last.
fn is_open(device: &mut Device, at: u32, blob: &Blob) -> std::result::Result<(), Failure> {
    let counts = !blob.public.object_attributes().no_da();
    let tries = device.run(|device| pin::tries(&mut device.context))?;
    match tries {
        PinTries::Blocked if counts => return Err(locked_out(at).into()),
        PinTries::Final if counts => {
            return Err(BackendError::Refused(format!(
                "whether the key at {at:#x} has an authorization value only a try shows, and one more wrong try would \
                 lock the TPM: tpm2_dictionarylockout -c, then again"
            ))
            .into());
        }
        _ => {}
    }
    let name = blob.name.as_slice();
    let secrecy = match blob.purpose {
        Purpose::Sign => Secrecy::None,
        _ => Secrecy::Answer,
    };
    match attempt(device, at, name, secrecy, |device, object, session| {
        once(device, object, session, blob)
    }) {
        Ok(Tried::Done(())) => Ok(()),
        Ok(_) => Err(BackendError::Busy(format!("what is at {at:#x} changes")).into()),
        Err(error) => Err(match next(error) {
            Next::WrongAuth => BackendError::Invalid(format!(
                "the key at {at:#x} has an authorization value of its own; {}",
                without(at)
            ))
            .into(),
            Next::Lockout => locked_out(at).into(),
            _ => error.into(),
        }),
    }
}

/// Uses the key once for what it is for, and forgets what comes out.
fn once(
    device: &mut Device,
    object: ObjectHandle,
    session: AuthSession,
    blob: &Blob,
) -> std::result::Result<(), Error> {
    let context = &mut device.context;
    context.execute_with_session(Some(session), |context| match (blob.purpose, &blob.key) {
        (Purpose::Sign, _) => {
            let algorithms = blob.purpose.algorithms(blob.key_type).iter();
            let mut how = algorithms.filter_map(|algorithm| scheme(*algorithm, blob.key_type).ok());
            let (scheme, _) = how.next().ok_or_else(no_way)?;
            let length = if blob.key_type == KeyType::P384 {
                48
            } else {
                32
            };
            let digest = Digest::try_from(vec![0; length])?;
            context
                .sign(object.into(), digest, scheme, no_ticket()?)
                .map(drop)
        }
        (_, Some(CoseKey::Rsa { n, .. })) => {
            // Some number below the modulus.
            let mut number = vec![0; n.len()];
            if let Some(last) = number.last_mut() {
                *last = 2;
            }
            let number = PublicKeyRsa::try_from(number)?;
            let scheme = RsaDecryptionScheme::Null;
            context
                .rsa_decrypt(object.into(), number, scheme, Data::default())
                .map(drop)
        }
        (_, Some(key)) => {
            let peer = point(key).map_err(|_| no_way())?;
            context.ecdh_z_gen(object.into(), peer).map(drop)
        }
        (_, None) => Err(no_way()),
    })
}

fn no_way() -> Error {
    Error::WrapperError(tss_esapi::WrapperErrorKind::InconsistentParams)
}

fn no_use(at: u32, why: &str) -> BackendError {
    BackendError::Invalid(format!(
        "what is at {at:#x} can't be adopted: {why}; tpm2_readpublic -c {at:#x} shows it"
    ))
}
