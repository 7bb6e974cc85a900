//! What one thread works with.

use keyward_backend::message::{
    Adopt, Attest, Derive, Expected, Generate, Import, Mac, ScanPage, Seal, Sealed, Sign, Unseal,
    Unwrap, Work, Wrap, WriteCertificate,
};
use keyward_backend::{BackendError, Destroyed, KeyReport, Result, VersionId};
use keyward_protocol::attestation::Statement;
use keyward_protocol::piv::{PivLocator, TouchPolicy};
use keyward_protocol::{Purpose, SecretBytes};
use zeroize::Zeroizing;

use super::Piv;
use super::apdu::Command;
use super::card::{Card, instruction as ins};
use super::failure::{Failure, Progress, malformed};
use super::key::{Cache, Key, Place};
use super::metadata::algorithm;
use super::slot::Slot;
use super::status::Status;
use super::tlv;

/// What one thread works with.
pub struct Session<'a> {
    pub(super) piv: &'a Piv,
    /// Where the registry has the key of the next use.
    pub(super) place: Option<Place>,
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Session").field(self.piv).finish()
    }
}

impl<'a> Session<'a> {
    pub(super) fn new(piv: &'a Piv) -> Self {
        Self { piv, place: None }
    }

    /// Uses a private key. `plan` looks at the key first, refuses what it is not for, and gives the
    /// data objects that the card is to work on.
    pub(super) fn use_key(
        &self,
        id: VersionId,
        plan: impl Fn(&Key) -> Result<Input>,
    ) -> Result<(Zeroizing<Vec<u8>>, std::sync::Arc<Key>)> {
        let piv = self.piv;
        let (output, key) = piv.with_card(|card, cache| {
            if let Some(place) = &self.place {
                cache.doubt(card, place.slot)?;
            }
            let key = cache.key(card, id, self.place.as_ref())?;
            let input = plan(&key)?;
            piv.unlock(card, &key)?;
            let output = card.authenticate(&key, &input)?;
            Ok((output, key))
        })?;
        if key.touch_policy == Some(TouchPolicy::Cached) {
            piv.touched();
        }
        Ok((output, key))
    }

    /// Looks at a key without using it.
    pub(super) fn find(
        &self,
        card: &mut Card<'_>,
        cache: &mut Cache,
        id: VersionId,
    ) -> std::result::Result<std::sync::Arc<Key>, Failure> {
        cache.key(card, id, self.place.as_ref())
    }
}

/// What a private key works on: a challenge, or a point to agree with (SP 800-73-4 Part 2 Table 7).
#[derive(Debug)]
pub(super) enum Input {
    Challenge(Vec<u8>),
    Point(Vec<u8>),
}

impl Card<'_> {
    /// GENERAL AUTHENTICATE with a key: the private-key operation.
    fn authenticate(
        &mut self,
        key: &Key,
        input: &Input,
    ) -> std::result::Result<Zeroizing<Vec<u8>>, Failure> {
        let (tag, bytes) = match input {
            Input::Challenge(bytes) => (0x81, bytes),
            Input::Point(bytes) => (0x85, bytes),
        };
        let mut template = tlv::of(0x82, &[]);
        tlv::put(tag, bytes, &mut template);
        let number = algorithm(key.key_type).ok_or(BackendError::KeyNotFound)?;
        let command = Command::with(
            ins::GENERAL_AUTHENTICATE,
            number,
            key.slot.reference(),
            tlv::of(0x7c, &template),
        );
        self.progress = Progress::Key;
        let answer = self.send(&command)?;
        match answer.status {
            Status::SUCCESS => {
                let template = tlv::only(&answer.data, 0x7c)?;
                let output = tlv::only(template, 0x82)?;
                Ok(Zeroizing::new(output.to_vec()))
            }
            Status::SECURITY_STATUS_NOT_SATISFIED => Err(refused_use(key).into()),
            Status::REFERENCE_NOT_FOUND => Err(BackendError::KeyNotFound.into()),
            Status::WRONG_LENGTH => Err(BackendError::Invalid(
                "it is longer than what the card works on".to_owned(),
            )
            .into()),
            status => Err(status.error("use the key").into()),
        }
    }
}

/// What 6982 means: the PIN was verified right before, so it was the touch, if the key wants one.
fn refused_use(key: &Key) -> BackendError {
    match key.touch_policy {
        Some(TouchPolicy::Always | TouchPolicy::Cached) => BackendError::TouchMissed,
        Some(TouchPolicy::Never) => BackendError::Refused(
            "the card refuses to use the key, though its PIN was verified".to_owned(),
        ),
        None => BackendError::Refused(
            "the card wants a PIN or a touch that did not come; touch it when it blinks".to_owned(),
        ),
    }
}

/// That a key is for an operation at all. One whose purpose only the registry knows is.
pub(super) fn is_for(key: &Key, purposes: &[Purpose], what: &str) -> Result<()> {
    match key.purpose() {
        Some(purpose) if !purposes.contains(&purpose) => {
            Err(BackendError::MechanismInvalid(format!(
                "a key of type {} and purpose {purpose} does not {what}",
                key.key_type
            )))
        }
        _ => Ok(()),
    }
}

/// A number of a card at its full width: some leave leading zeros out.
pub(super) fn full_width(
    number: &[u8],
    width: usize,
) -> std::result::Result<Zeroizing<Vec<u8>>, Failure> {
    let zeros = width
        .checked_sub(number.len())
        .filter(|_| !number.is_empty())
        .ok_or_else(|| malformed("a number has another length than its key"))?;
    let mut full = Zeroizing::new(vec![0; width]);
    if let Some(place) = full.get_mut(zeros..) {
        place.copy_from_slice(number);
    }
    Ok(full)
}

fn no_secret_keys<T>() -> Result<T> {
    Err(BackendError::MechanismInvalid(
        "a PIV card has no secret keys of its user's".to_owned(),
    ))
}

impl keyward_backend::Session for Session<'_> {
    fn expect(&mut self, expected: Option<&Expected>) {
        self.place = expected.and_then(|expected| {
            let locator: PivLocator = expected.locator.parse().ok()?;
            let slot = Slot::new(locator.slot)?;
            let thumbprint = expected.thumbprint.as_ref().map(|thumbprint| **thumbprint);
            let adopted = locator.adopted;
            Some(Place {
                slot,
                adopted,
                thumbprint,
            })
        });
    }

    fn needs_touch(&mut self, work: &Work) -> Result<bool> {
        self.wants_touch(work)
    }

    fn generate(&mut self, generate: &Generate) -> Result<KeyReport> {
        self.generate_key(generate)
    }

    fn import(&mut self, import: &Import) -> Result<KeyReport> {
        self.import_key(import)
    }

    fn inspect(&mut self, id: VersionId) -> Result<Option<KeyReport>> {
        let piv = self.piv;
        piv.pins.get()?;
        let shown = piv.with_card(|card, cache| {
            // As it is now, and not as it was.
            cache.clear();
            let key = self.find(card, cache, id)?;
            Ok(key.report(card))
        });
        match shown {
            Err(BackendError::KeyNotFound) => Ok(None),
            shown => shown.map(Some),
        }
    }

    fn destroy(&mut self, id: VersionId) -> Result<Destroyed> {
        self.destroy_key(id)
    }

    fn sign(&mut self, sign: &Sign) -> Result<Vec<u8>> {
        self.sign_input(sign)
    }

    fn unwrap(&mut self, unwrap: &Unwrap) -> Result<SecretBytes> {
        self.unwrap_oaep(unwrap)
    }

    fn derive(&mut self, derive: &Derive) -> Result<SecretBytes> {
        self.derive_z(derive)
    }

    fn seal(&mut self, _: &Seal) -> Result<Sealed> {
        no_secret_keys()
    }

    fn unseal(&mut self, _: &Unseal) -> Result<SecretBytes> {
        no_secret_keys()
    }

    fn wrap(&mut self, _: &Wrap) -> Result<Vec<u8>> {
        no_secret_keys()
    }

    fn mac(&mut self, _: &Mac) -> Result<Vec<u8>> {
        no_secret_keys()
    }

    fn scan(&mut self, after: Option<VersionId>) -> Result<ScanPage> {
        self.scan_slots(after)
    }

    fn adopt(&mut self, adopt: &Adopt) -> Result<KeyReport> {
        self.adopt_key(adopt)
    }

    fn read_certificate(&mut self, id: VersionId) -> Result<Option<Vec<u8>>> {
        self.certificate_of(id)
    }

    fn write_certificate(&mut self, write: &WriteCertificate) -> Result<()> {
        self.keep_certificate(write)
    }

    fn attest(&mut self, attest: &Attest) -> Result<Statement> {
        self.attest_key(attest)
    }

    fn random(&mut self, length: u32) -> Result<SecretBytes> {
        self.random_bytes(length)
    }
}
