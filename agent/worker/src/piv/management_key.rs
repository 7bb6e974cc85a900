//! The card's management key, which writes keys and objects: proving it, and keeping it where
//! Yubico's tools keep it, so that they go on working.
//!
//! ykman and yubico-piv-tool can put a random management key into the object of printed information,
//! which the card shows only with the PIN, and say so in an object of their own ("admin data").

use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use keyward_backend::BackendError;
use keyward_protocol::SecretBytes;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::Piv;
use super::apdu::Command;
use super::card::{Card, instruction as ins};
use super::failure::{Failure, Progress, malformed};
use super::metadata::{ManagementMetadata, MetadataError};
use super::status::Status;
use super::tlv;
use crate::emsa::fill;

/// The key reference of the management key.
const MANAGEMENT: u8 = 0x9b;
/// Printed information, which the card shows with the PIN.
pub(super) const PRINTED: u32 = 0x5f_c109;
/// What Yubico's tools write about the management key.
pub(super) const ADMIN_DATA: u32 = 0x5f_ff00;
/// The flag in it that the key is in the printed information.
const IS_PROTECTED: u8 = 0x02;

/// The management key of the factory.
const FACTORY: [u8; 24] = [
    1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8,
];

/// The cipher of a management key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of SP 800-78-4")]
pub enum Cipher {
    TripleDes,
    Aes128,
    Aes192,
    Aes256,
}

impl Cipher {
    /// The cipher of its number (SP 800-78-4 Table 6-2).
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        match number {
            0x00 | 0x03 => Some(Self::TripleDes),
            0x08 => Some(Self::Aes128),
            0x0a => Some(Self::Aes192),
            0x0c => Some(Self::Aes256),
            _ => None,
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::TripleDes => 0x03,
            Self::Aes128 => 0x08,
            Self::Aes192 => 0x0a,
            Self::Aes256 => 0x0c,
        }
    }

    const fn key_length(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::TripleDes | Self::Aes192 => 24,
            Self::Aes256 => 32,
        }
    }

    /// The length of a challenge.
    pub(super) const fn block_length(self) -> usize {
        match self {
            Self::TripleDes => 8,
            _ => 16,
        }
    }

    /// One block; `None` for a key or a block of another length.
    fn block(self, key: &SecretBytes, block: &[u8], direction: Direction) -> Option<Vec<u8>> {
        macro_rules! with {
            ($cipher:ty) => {{
                let cipher = <$cipher>::new_from_slice(key.expose()).ok()?;
                let mut block = Array::try_from(block).ok()?;
                match direction {
                    Direction::Encrypt => cipher.encrypt_block(&mut block),
                    Direction::Decrypt => cipher.decrypt_block(&mut block),
                }
                Some(block.to_vec())
            }};
        }
        match self {
            Self::TripleDes => with!(des::TdesEde3),
            Self::Aes128 => with!(aes::Aes128),
            Self::Aes192 => with!(aes::Aes192),
            Self::Aes256 => with!(aes::Aes256),
        }
    }
}

#[derive(Clone, Copy)]
enum Direction {
    Encrypt,
    Decrypt,
}

/// What Yubico's tools say about the management key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdminData {
    /// What is kept as it is, beside the flags.
    others: Vec<(u32, Vec<u8>)>,
    flags: u8,
}

impl AdminData {
    /// Parses the content of the object.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(object: &[u8]) -> Result<Self, MetadataError> {
        let mut data = Self::default();
        for one in tlv::list(tlv::only(object, 0x80)?)? {
            match (one.tag, one.value) {
                (0x81, [flags]) => data.flags = *flags,
                (0x81, _) => return Err(MetadataError::Value(0x81)),
                (tag, value) => data.others.push((tag, value.to_vec())),
            }
        }
        Ok(data)
    }

    fn to_object(&self) -> Vec<u8> {
        let mut data = tlv::of(0x81, &[self.flags]);
        for (tag, value) in &self.others {
            tlv::put(*tag, value, &mut data);
        }
        tlv::of(0x80, &data)
    }

    /// Whether the management key is in the printed information.
    #[must_use]
    pub const fn is_protected(&self) -> bool {
        self.flags & IS_PROTECTED != 0
    }

    /// Whether it is made from the PIN: what ykman did before it kept it.
    #[must_use]
    pub fn is_derived(&self) -> bool {
        self.others.iter().any(|(tag, _)| *tag == 0x82)
    }

    fn protect(&mut self) {
        self.flags |= IS_PROTECTED;
        self.others.retain(|(tag, _)| *tag != 0x82);
    }
}

/// The management key in the content of the printed information.
const IN_FORCE: u32 = 0x89;
/// The one that is to follow it. Yubico's tools pass over what they don't know.
const NEXT: u32 = 0x8a;

/// The management key in the content of the printed information.
///
/// # Errors
/// There is none.
pub fn protected_key(object: &[u8]) -> Result<SecretBytes, MetadataError> {
    key_in(object, IN_FORCE)
}

fn key_in(object: &[u8], tag: u32) -> Result<SecretBytes, MetadataError> {
    let key = tlv::get(tlv::only(object, 0x88)?, tag)?;
    match key.len() {
        16 | 24 | 32 => Ok(SecretBytes::copy_from(key)),
        _ => Err(MetadataError::Value(tag)),
    }
}

/// The content of the printed information with keys in it.
fn printed(keys: &[(u32, &SecretBytes)]) -> Zeroizing<Vec<u8>> {
    // Room beforehand: what is copied while it grows would be left behind.
    let mut inner = Zeroizing::new(Vec::with_capacity(128));
    for (tag, key) in keys {
        tlv::put(*tag, key.expose(), &mut inner);
    }
    let mut object = Zeroizing::new(Vec::with_capacity(128));
    tlv::put(0x88, &inner, &mut object);
    object
}

impl Piv {
    /// Proves the management key, whichever it is: the one that the PIN opens, or the factory's. Says
    /// which it was.
    pub(super) fn manage(&self, card: &mut Card<'_>) -> Result<SecretBytes, Failure> {
        if card.version.is_none() {
            return Err(BackendError::MechanismInvalid(
                "a PIV card without Yubico's extensions is written to with the tools of its issuer"
                    .to_owned(),
            )
            .into());
        }
        let metadata = card.management_metadata()?;
        let cipher = cipher_of(metadata.as_ref())?;
        let is_factory = metadata.map(|metadata| metadata.is_default);
        if is_factory != Some(true)
            && let Some(key) = self.prove_protected(card, cipher)?
        {
            return Ok(key);
        }
        // Without metadata it is tried: wrong management keys are not counted.
        let factory = SecretBytes::copy_from(&FACTORY);
        if is_factory != Some(false)
            && cipher.key_length() == FACTORY.len()
            && card.prove(cipher, &factory)?
        {
            return Ok(factory);
        }
        let admin = card.admin_data()?;
        let why = match admin.is_some_and(|admin| admin.is_derived()) {
            true => "it is made from the PIN, as ykman did long ago",
            false => "it is none that keyward knows",
        };
        Err(BackendError::Refused(format!(
            "the card's management key is wanted, and {why}; \
             `ykman piv access change-management-key --generate --protect` puts one under the PIN"
        ))
        .into())
    }

    /// Proves the management key that the card shows with the PIN, if it is there.
    fn prove_protected(
        &self,
        card: &mut Card<'_>,
        cipher: Cipher,
    ) -> Result<Option<SecretBytes>, Failure> {
        self.verify_again(card)?;
        let Some(object) = card.object(PRINTED)? else {
            return Ok(None);
        };
        // Behind a change that was interrupted, either may be in force.
        let mut missed = None;
        for tag in [IN_FORCE, NEXT] {
            let Ok(key) = key_in(&object, tag) else {
                continue;
            };
            match card.prove(cipher, &key) {
                Ok(true) => return Ok(Some(key)),
                Ok(false) => {}
                // A wrong key and a touch that did not come have the same answer.
                Err(Failure::Answer(BackendError::TouchMissed)) => {
                    missed = Some(BackendError::TouchMissed);
                }
                Err(failure) => return Err(failure),
            }
        }
        match missed {
            Some(missed) => Err(missed.into()),
            None => Ok(None),
        }
    }

    /// Puts a new random management key into the place of the old one, which is proven, and under the
    /// PIN, which is verified.
    pub(super) fn protect(&self, card: &mut Card<'_>, old: &SecretBytes) -> Result<(), Failure> {
        let aes = card
            .version
            .is_some_and(|version| version.is_at_least(5, 4));
        // As long as the one of the factory: older tools read no other.
        let cipher = match aes {
            true => Cipher::Aes192,
            false => Cipher::TripleDes,
        };
        let touch = card
            .management_metadata()?
            .is_some_and(|metadata| metadata.touch);
        let mut key = SecretBytes::zeroed(cipher.key_length());
        fill(key.expose_mut())?;
        card.progress = Progress::Key;
        // Both where they can be read, until one is in force for sure: `manage` finds it in between.
        card.put_object(PRINTED, &printed(&[(IN_FORCE, old), (NEXT, &key)]))?;
        let mut data = Vec::with_capacity(40);
        data.push(cipher.number());
        tlv::put(u32::from(MANAGEMENT), key.expose(), &mut data);
        let policy = match touch {
            true => 0xfe,
            false => 0xff,
        };
        let command = Command::with(ins::SET_MANAGEMENT_KEY, 0xff, policy, data);
        card.done(&command, "take a new management key")?;
        card.put_object(PRINTED, &printed(&[(IN_FORCE, &key)]))?;
        card.say_protected()
    }

    /// Says that the management key is behind the PIN, where it is and nobody says it: a change was
    /// interrupted.
    pub(super) fn finish_protecting(&self, card: &mut Card<'_>) -> Result<(), Failure> {
        let cipher = card.management_cipher()?;
        let Some(key) = self.prove_protected(card, cipher)? else {
            return Ok(());
        };
        card.progress = Progress::Key;
        card.put_object(PRINTED, &printed(&[(IN_FORCE, &key)]))?;
        card.say_protected()
    }
}

fn cipher_of(metadata: Option<&ManagementMetadata>) -> Result<Cipher, Failure> {
    match metadata {
        None => Ok(Cipher::TripleDes),
        Some(metadata) => Cipher::new(metadata.algorithm)
            .ok_or_else(|| malformed("its management key has an unknown algorithm")),
    }
}

impl Card<'_> {
    /// What the card says about its management key; `None` from one that does not say it.
    pub(super) fn management_metadata(&mut self) -> Result<Option<ManagementMetadata>, Failure> {
        if !self.version.is_some_and(|version| version.has_metadata()) {
            return Ok(None);
        }
        let answer = self.send(&Command::new(ins::GET_METADATA, 0, MANAGEMENT))?;
        match answer.status {
            Status::SUCCESS => Ok(Some(ManagementMetadata::parse(&answer.data)?)),
            _ => Ok(None),
        }
    }

    /// Whether writing to the card wants a touch.
    pub(super) fn management_wants_touch(&mut self) -> Result<bool, Failure> {
        let metadata = self.management_metadata()?;
        Ok(metadata.is_some_and(|metadata| metadata.touch))
    }

    pub(super) fn management_cipher(&mut self) -> Result<Cipher, Failure> {
        cipher_of(self.management_metadata()?.as_ref())
    }

    /// Has Yubico's tools look for the management key behind the PIN.
    fn say_protected(&mut self) -> Result<(), Failure> {
        let mut admin = self.admin_data()?.unwrap_or_default();
        admin.protect();
        self.put_object(ADMIN_DATA, &admin.to_object())
    }

    fn admin_data(&mut self) -> Result<Option<AdminData>, Failure> {
        if self.version.is_none() {
            return Ok(None);
        }
        let object = self.object(ADMIN_DATA)?;
        Ok(object.and_then(|object| AdminData::parse(&object).ok()))
    }

    /// Proves the management key, and has the card prove it, too (SP 800-73-4 Part 2 §A.1.2);
    /// `false` where the card has another.
    fn prove(&mut self, cipher: Cipher, key: &SecretBytes) -> Result<bool, Failure> {
        if key.len() != cipher.key_length() {
            return Ok(false);
        }
        let answer = self.authenticate_management(cipher, &tlv::of(0x80, &[]))?;
        if !answer.status.is_success() {
            return Err(answer
                .status
                .error("begin to prove the management key")
                .into());
        }
        let witness = tlv::only(tlv::only(&answer.data, 0x7c)?, 0x80)?;
        let block = |bytes: &[u8], direction| {
            cipher
                .block(key, bytes, direction)
                .ok_or_else(|| malformed("its challenge has another length"))
        };
        let proof = Zeroizing::new(block(witness, Direction::Decrypt)?);
        let mut challenge = vec![0; cipher.block_length()];
        fill(&mut challenge)?;
        let mut template = tlv::of(0x80, &proof);
        tlv::put(0x81, &challenge, &mut template);
        // Whatever becomes of the answer: it is taken back.
        self.managed = true;
        let answer = self.authenticate_management(cipher, &template)?;
        if !answer.status.is_success() {
            self.managed = false;
            return match answer.status {
                Status::SECURITY_STATUS_NOT_SATISFIED if self.management_wants_touch()? => {
                    Err(BackendError::TouchMissed.into())
                }
                _ => Ok(false),
            };
        }
        let response = tlv::only(tlv::only(&answer.data, 0x7c)?, 0x82)?;
        let expected = Zeroizing::new(block(&challenge, Direction::Encrypt)?);
        match bool::from(expected.ct_eq(response)) {
            true => Ok(true),
            false => Err(malformed("it does not know its own management key")),
        }
    }

    fn authenticate_management(
        &mut self,
        cipher: Cipher,
        template: &[u8],
    ) -> Result<super::apdu::Answer, Failure> {
        self.send(&Command::with(
            ins::GENERAL_AUTHENTICATE,
            cipher.number(),
            MANAGEMENT,
            tlv::of(0x7c, template),
        ))
    }

    /// A challenge: random bytes of the card's.
    pub(super) fn challenge(&mut self, cipher: Cipher) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let answer = self.authenticate_management(cipher, &tlv::of(0x81, &[]))?;
        if !answer.status.is_success() {
            return Err(answer.status.error("make a challenge").into());
        }
        let challenge = tlv::only(tlv::only(&answer.data, 0x7c)?, 0x81)?;
        match challenge.len() == cipher.block_length() {
            true => Ok(Zeroizing::new(challenge.to_vec())),
            false => Err(malformed("its challenge has another length")),
        }
    }
}

#[cfg(test)]
mod tests;
