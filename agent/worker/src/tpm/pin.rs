//! The PIN of a token.
//!
//! A TPM has no PIN, but objects with an authorization value, and it counts wrong tries at those
//! that are not `noDA`. So the folder of a token with a PIN has an object of that kind: 32 random
//! bytes, sealed under the PIN. They are the authorization value of every key of the token, which is
//! `noDA`: nobody guesses it, and keys that were unlocked go on during a lockout.

use std::time::{Duration, Instant};

use keyward_backend::message::ChangePin;
use keyward_backend::token::PinTries;
use keyward_backend::{BackendError, Result, TokenReport, VersionId};
use keyward_protocol::{Purpose, SecretBytes};
use sha2::{Digest, Sha256};
use tss_esapi::constants::{CapabilityType, PropertyTag};
use tss_esapi::handles::KeyHandle;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Auth, CapabilityData, Private, Public, SensitiveData};
use tss_esapi::{Context, Error};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::device::{Device, Secrecy};
use super::error::{Next, answer, next};
use super::key_file::{KeyFile, Kind};
use super::make::public_of;
use super::store::{Entry, Held, Made};
use super::{Failure, Repeat, Tpm, template};

/// The id of the file with what is sealed under the PIN: the nil UUID, which no key has.
pub(super) fn id() -> VersionId {
    VersionId::from(Uuid::nil())
}
/// The length of what is sealed under the PIN.
const SECRET: usize = 32;
/// The longest PIN; it is hashed, so nothing but sense limits it.
const MOST_PIN: usize = 1024;
/// TPMA_PERMANENT.inLockout (TPM 2.0 Library Part 2 §8.6).
const IN_LOCKOUT: u32 = 1 << 9;

/// The dictionary attack lockout, while it is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lockout {
    seen: Instant,
    /// TPM_PT_LOCKOUT_INTERVAL: after so long without a wrong try it forgets one.
    interval: Duration,
}

impl Lockout {
    /// What is known, after the TPM was asked again.
    ///
    /// # Errors
    /// The TPM does not say.
    pub(super) fn look(
        known: Option<Self>,
        tries: PinTries,
        context: &mut Context,
    ) -> std::result::Result<Option<Self>, Error> {
        if tries != PinTries::Blocked {
            return Ok(None);
        }
        let interval = variable(context, PropertyTag::LockoutInterval)?.unwrap_or_default();
        let interval = Duration::from_secs(interval.into());
        let now = Instant::now();
        let goes_on = known.filter(|known| {
            known.interval == interval && now.duration_since(known.seen) < interval
        });
        // One that lasts longer is another.
        Ok(Some(goes_on.unwrap_or(Self {
            seen: now,
            interval,
        })))
    }

    /// How long it lasts at the most. The TPM does not say when it began, only that it is in force:
    /// it may have begun before it was seen. `None` if it does not end by itself.
    pub(super) fn seconds_left(&self) -> Option<u64> {
        let left = self.interval.saturating_sub(self.seen.elapsed());
        let whole = left.as_millis().div_ceil(1000);
        (!self.interval.is_zero()).then(|| u64::try_from(whole).unwrap_or(u64::MAX).max(1))
    }
}

/// What the TPM says about wrong tries. The count is that of all its objects, also of others.
pub(super) fn tries(context: &mut Context) -> std::result::Result<PinTries, Error> {
    let permanent = variable(context, PropertyTag::Permanent)?;
    let wrong = variable(context, PropertyTag::LockoutCounter)?;
    let most = variable(context, PropertyTag::MaxAuthFail)?;
    Ok(judge(permanent, wrong, most))
}

/// What the three numbers mean. One that the TPM does not give says nothing good.
fn judge(permanent: Option<u32>, wrong: Option<u32>, most: Option<u32>) -> PinTries {
    match (permanent, wrong, most) {
        (Some(permanent), _, _) if permanent & IN_LOCKOUT != 0 => PinTries::Blocked,
        (Some(_), Some(wrong), Some(most)) => match most.saturating_sub(wrong) {
            0 | 1 => PinTries::Final,
            _ if wrong == 0 => PinTries::Unknown,
            _ => PinTries::Low,
        },
        _ => PinTries::Low,
    }
}

/// A property that changes.
fn variable(context: &mut Context, tag: PropertyTag) -> std::result::Result<Option<u32>, Error> {
    let (data, _) = context.get_capability(CapabilityType::TpmProperties, tag.into(), 1)?;
    let CapabilityData::TpmProperties(list) = data else {
        return Ok(None);
    };
    Ok(list.find(tag).map(|property| property.value()))
}

/// Has the TPM give what is sealed under the PIN. The PIN itself is only proved, in a session that
/// is salted to the storage root key, and the answer is encrypted.
pub(super) fn unseal(
    device: &mut Device,
    file: &KeyFile,
    pin: &SecretBytes,
) -> std::result::Result<SecretBytes, Failure> {
    let sealed = with_object(device, file, pin, Secrecy::Answer, |context, object| {
        context.unseal(object.into())
    })?;
    match sealed.value().len() {
        SECRET => Ok(SecretBytes::copy_from(sealed.value())),
        other => Err(BackendError::DeviceFailed(format!(
            "what is sealed under the PIN has {other} bytes instead of {SECRET}; was the file replaced?"
        ))
        .into()),
    }
}

/// Seals new random bytes under a PIN: what makes a token one with a PIN.
pub(super) fn create(
    device: &mut Device,
    pin: &SecretBytes,
) -> std::result::Result<Entry, Failure> {
    check_new(pin)?;
    let mut secret = SecretBytes::zeroed(SECRET);
    random(secret.expose_mut())?;
    never_short(secret.expose_mut());
    let public = template::sealed()?;
    let data = SensitiveData::try_from(secret.expose())?;
    let made = device.run(|device| {
        let srk = device.srk;
        let session = device.session(Secrecy::Question)?;
        let auth = auth_value(pin)?;
        device
            .context
            .execute_with_session(Some(session), |context| {
                context.create(
                    srk,
                    public.clone(),
                    Some(auth),
                    Some(data.clone()),
                    None,
                    None,
                )
            })
    })?;
    Ok(Entry {
        label: "what the PIN opens".to_owned(),
        made: Made::Generated,
        purpose: Purpose::Unwrap,
        bound: None,
        key: Held::File(key_file(&made.out_public, &made.out_private)?),
    })
}

impl Tpm {
    /// Has the TPM seal the same bytes under another PIN. Whoever kept the old file and knows the old
    /// PIN can still open that on this TPM.
    pub(super) fn set_pin(&self, change: &ChangePin) -> Result<TokenReport> {
        check_new(&change.new)?;
        self.check_same()?;
        self.with(Repeat::No, |state, device| {
            let mut entry = self.store.get(id())?.ok_or_else(|| {
                BackendError::MechanismInvalid(
                    "this token has no PIN; one with a PIN is made by `keyward init`".to_owned(),
                )
            })?;
            // What can fail comes before the change: after it nothing may say that it was not made.
            let file = file(&entry)?.clone();
            let secret = unseal(device, &file, &change.old)?;
            let report = self.report(state, device)?;
            let (srk, new) = (device.srk, auth_value(&change.new)?);
            let private = with_object(
                device,
                &file,
                &change.old,
                Secrecy::Question,
                |context, object| {
                    context.object_change_auth(object.into(), srk.into(), new.clone())
                },
            )?;
            entry.key = Held::File(key_file(&public_of(&file)?, &private)?);
            self.store.replace(id(), &entry).map_err(|error| {
                BackendError::DeviceFailed(format!(
                    "whether the PIN is the old one or the new one is not known: {error}"
                ))
            })?;
            state.secret = Some(secret);
            Ok(TokenReport {
                logged_in: true,
                ..report
            })
        })
    }
}

/// Does something with the object under the PIN. It is in the TPM for that moment only.
fn with_object<T>(
    device: &mut Device,
    file: &KeyFile,
    pin: &SecretBytes,
    secrecy: Secrecy,
    act: impl Fn(&mut Context, KeyHandle) -> std::result::Result<T, Error>,
) -> std::result::Result<T, Failure> {
    let public = public_of(file)?;
    check_file(file, &public)?;
    let private = Private::try_from(file.private.get(2..).unwrap_or_default())?;
    if device.run(|device| tries(&mut device.context))? == PinTries::Blocked {
        // The TPM would refuse the right one too.
        return Err(BackendError::PinBlocked.into());
    }
    let object = device.run(|device| {
        let srk = device.srk;
        device
            .context
            .execute_with_session(Some(AuthSession::Password), |context| {
                context.load(srk, private.clone(), public.clone())
            })
    })?;
    let done = proved(device, object, pin, secrecy, act);
    // What was wrong before is what counts, and an object that stays is put away with the rest.
    let _ = device.context.flush_context(object.into());
    done
}

/// Sends the proof of a PIN once: nothing here is tried again.
fn proved<T>(
    device: &mut Device,
    object: KeyHandle,
    pin: &SecretBytes,
    secrecy: Secrecy,
    act: impl Fn(&mut Context, KeyHandle) -> std::result::Result<T, Error>,
) -> std::result::Result<T, Failure> {
    // Nothing is proved in a session that the TPM has lost.
    device.end_session();
    let session = device.run(|device| device.session(secrecy))?;
    device
        .context
        .tr_set_auth(object.into(), auth_value(pin)?)?;
    let done = device
        .context
        .execute_with_session(Some(session), |context| act(context, object));
    done.map_err(|error| match next(error) {
        Next::WrongAuth => BackendError::PinIncorrect,
        Next::Lockout => BackendError::PinBlocked,
        // The TPM may have counted it: it must not look like a PIN that never got there.
        Next::Connect => BackendError::DeviceFailed(
            "the TPM's answer to the PIN did not come, and whether it was a try is not known"
                .to_owned(),
        ),
        _ => answer(error),
    })
    .map_err(Failure::from)
}

/// What the file of the PIN holds.
pub(super) fn file(entry: &Entry) -> Result<&KeyFile> {
    entry.key.file().ok_or_else(not_pin)
}

fn not_pin() -> BackendError {
    BackendError::Refused(
        "the file of the PIN holds something else; put back a copy of it".to_owned(),
    )
}

/// That a file is one of what a PIN opens: wrong tries at another object would not be counted, or
/// be taken for wrong PINs.
fn check_file(file: &KeyFile, public: &Public) -> Result<()> {
    let wanted = template::sealed()?.object_attributes();
    match file.kind == Kind::Sealed && public.object_attributes() == wanted {
        true => Ok(()),
        false => Err(not_pin()),
    }
}

fn check_new(pin: &SecretBytes) -> Result<()> {
    match (1..=MOST_PIN).contains(&pin.len()) {
        true => Ok(()),
        false => Err(BackendError::Invalid(format!(
            "a PIN has 1 to {MOST_PIN} bytes"
        ))),
    }
}

/// The authorization value of a PIN: its SHA-256, since a TPM takes 32 bytes at the most.
fn auth_value(pin: &SecretBytes) -> std::result::Result<Auth, Error> {
    let mut digest = Zeroizing::new([0; 32]);
    digest.copy_from_slice(&Sha256::digest(pin.expose()));
    never_short(digest.as_mut_slice());
    Auth::try_from(digest.as_slice())
}

/// An authorization value has no zeros at its end, for a TPM (TPM 2.0 Library Part 1 §17.6.4.3): the
/// two sides would have to agree on leaving them out.
fn never_short(value: &mut [u8]) {
    if let Some(last) = value.last_mut() {
        *last |= 1;
    }
}

/// Random bytes of the kernel.
pub(super) fn random(bytes: &mut [u8]) -> Result<()> {
    rustix::rand::getrandom(bytes, rustix::rand::GetRandomFlags::empty())
        .map(drop)
        .map_err(|errno| BackendError::DeviceFailed(std::io::Error::from(errno).to_string()))
}

fn key_file(public: &Public, private: &Private) -> Result<KeyFile> {
    Ok(KeyFile {
        kind: Kind::Sealed,
        ..super::make::key_file(public, private, false)?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_try_is_one_however_many_there_were() {
        for (permanent, wrong, most, wanted) in [
            (Some(0), Some(0), Some(32), PinTries::Unknown),
            (Some(0), Some(1), Some(32), PinTries::Low),
            (Some(0), Some(31), Some(32), PinTries::Final),
            (Some(0), Some(0), Some(1), PinTries::Final),
            (Some(0), Some(0), Some(0), PinTries::Final),
            (Some(0), Some(9), Some(3), PinTries::Final),
            (Some(IN_LOCKOUT), Some(0), Some(32), PinTries::Blocked),
            (Some(IN_LOCKOUT), None, None, PinTries::Blocked),
            (None, Some(0), Some(32), PinTries::Low),
            (Some(0), None, Some(32), PinTries::Low),
            (Some(0), Some(0), None, PinTries::Low),
        ] {
            assert_eq!(
                judge(permanent, wrong, most),
                wanted,
                "{wrong:?} of {most:?}"
            );
        }
    }
}
