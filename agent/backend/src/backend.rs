//! The code of one kind of hardware.

use keyward_protocol::SecretBytes;
use keyward_protocol::attestation::{Identity, Statement};

use crate::error::{BackendError, Result};
use crate::message::{
    Activate, Adopt, Attest, ChangePin, ChangePuk, Derive, Expected, Generate, Import, Mac, Place,
    ScanPage, Seal, Sealed, Sign, UnblockPin, Unseal, Unwrap, Work, Wrap, WriteCertificate,
};
use crate::pcr::{Approve, BoundReport, MakeBound, PcrValue};
use crate::token::{Destroyed, KeyReport, TokenIdentity, TokenReport, VersionId};

/// A token, reached through its hardware's own interface.
///
/// A worker process has one. Its threads each ask for a [`Session`] and use only that; what
/// belongs to the token as a whole is here. A backend decides nothing about who may do what.
pub trait Backend: Send + Sync {
    /// What one thread works with.
    type Session<'a>: Session
    where
        Self: 'a;

    /// Finds the token and says how it is; a token other than the pinned one is refused.
    ///
    /// # Errors
    /// [`TokenAbsent`](crate::BackendError::TokenAbsent),
    /// [`TokenChanged`](crate::BackendError::TokenChanged).
    fn open(&self, pinned: Option<&TokenIdentity>) -> Result<TokenReport>;

    /// Logs in. Being logged in already is success.
    ///
    /// # Errors
    /// [`PinIncorrect`](crate::BackendError::PinIncorrect),
    /// [`PinBlocked`](crate::BackendError::PinBlocked).
    fn login(&self, pin: &SecretBytes) -> Result<TokenReport>;

    /// Logs out. Being logged out already is success.
    ///
    /// # Errors
    /// The token could not be asked.
    fn logout(&self) -> Result<()>;

    /// Changes the PIN of a token that is open; a login stays in force.
    ///
    /// # Errors
    /// [`PinIncorrect`](crate::BackendError::PinIncorrect),
    /// [`PinBlocked`](crate::BackendError::PinBlocked),
    /// [`Invalid`](crate::BackendError::Invalid) for a new one that the token does not take.
    fn change_pin(&self, change: &ChangePin) -> Result<TokenReport>;

    /// Something for one thread to work with.
    ///
    /// # Errors
    /// [`Busy`](crate::BackendError::Busy) where the token has no session left.
    fn session(&self) -> Result<Self::Session<'_>>;

    /// Begins to look whether the token comes and goes, from a thread of its own, and says so by
    /// the notice. It is asked once, when the worker begins to serve.
    fn watch(&'static self, _notice: Notice) {}

    /// Changes a card's PUK.
    ///
    /// # Errors
    /// As [`change_pin`](Self::change_pin), of the PUK.
    fn change_puk(&self, _change: &ChangePuk) -> Result<TokenReport> {
        no_card()
    }

    /// Gives a blocked PIN a new value.
    ///
    /// # Errors
    /// As [`change_pin`](Self::change_pin), of the PUK.
    fn unblock_pin(&self, _unblock: &UnblockPin) -> Result<TokenReport> {
        no_card()
    }

    /// Gives a card a new random management key, which it keeps behind its PIN.
    ///
    /// # Errors
    /// [`LoginRequired`](crate::BackendError::LoginRequired).
    fn new_management_key(&self) -> Result<TokenReport> {
        no_card()
    }

    /// Brings a card back to how it left the factory: all its keys are lost.
    ///
    /// # Errors
    /// The card could not be asked.
    fn reset(&self) -> Result<TokenReport> {
        no_card()
    }
}

/// By which a backend says, unasked, that its token is not as it was.
pub struct Notice(Box<dyn Fn() + Send + Sync>);

impl Notice {
    /// A notice that does this when something has changed.
    #[must_use]
    pub fn new(changed: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Box::new(changed))
    }

    /// The token has come, has gone, or has lost its login: the agent looks at it again.
    pub fn changed(&self) {
        (self.0)();
    }
}

impl std::fmt::Debug for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notice").finish_non_exhaustive()
    }
}

/// What one thread works with. After an error other than about the input it is dropped and made
/// anew, and nothing that was looked up through it is used again.
pub trait Session {
    /// What the registry has of the key that the next call is about. Where a key can be exchanged for
    /// another behind the token's back, one that is not the expected is refused.
    fn expect(&mut self, _expected: Option<&Expected>) {}

    /// Whether a person has to touch the token before it does this.
    ///
    /// # Errors
    /// The token could not be asked.
    fn needs_touch(&mut self, _work: &Work) -> Result<bool> {
        Ok(false)
    }

    /// Makes a key pair or a secret key, reads its attributes back, and destroys it if they are not right.
    ///
    /// # Errors
    /// [`KeyUnsafe`](crate::BackendError::KeyUnsafe),
    /// [`MechanismInvalid`](crate::BackendError::MechanismInvalid),
    /// [`TokenFull`](crate::BackendError::TokenFull).
    fn generate(&mut self, generate: &Generate) -> Result<KeyReport>;

    /// Puts a key into the token, reads its attributes back, and destroys it if they are not right.
    ///
    /// # Errors
    /// As [`generate`](Self::generate), and [`Invalid`](crate::BackendError::Invalid) for material
    /// that is no key of the type.
    fn import(&mut self, import: &Import) -> Result<KeyReport>;

    /// The key as it is now, or `None` if the token has no such object.
    ///
    /// # Errors
    /// The token could not be asked.
    fn inspect(&mut self, id: VersionId) -> Result<Option<KeyReport>>;

    /// Destroys all objects with the id; done also if there are none.
    ///
    /// # Errors
    /// The token could not be asked.
    fn destroy(&mut self, id: VersionId) -> Result<Destroyed>;

    /// Signs, in COSE's form.
    ///
    /// # Errors
    /// [`KeyNotFound`](crate::BackendError::KeyNotFound),
    /// [`MechanismInvalid`](crate::BackendError::MechanismInvalid).
    fn sign(&mut self, sign: &Sign) -> Result<Vec<u8>>;

    /// Opens what was encrypted to the key, or wrapped by it.
    ///
    /// A token that unwraps objects of its own alone holds what an AES key unwrapped as a session
    /// object for that moment; it is destroyed before the answer.
    ///
    /// # Errors
    /// [`UnwrapFailed`](crate::BackendError::UnwrapFailed), whatever the reason.
    fn unwrap(&mut self, unwrap: &Unwrap) -> Result<SecretBytes>;

    /// The raw shared secret with a peer: the x coordinate at full width.
    ///
    /// # Errors
    /// [`Invalid`](crate::BackendError::Invalid) for a peer on another curve or on none.
    fn derive(&mut self, derive: &Derive) -> Result<SecretBytes>;

    /// Encrypts with AES-GCM.
    ///
    /// # Errors
    /// [`KeyNotFound`](crate::BackendError::KeyNotFound),
    /// [`MechanismInvalid`](crate::BackendError::MechanismInvalid).
    fn seal(&mut self, seal: &Seal) -> Result<Sealed>;

    /// Decrypts with AES-GCM.
    ///
    /// # Errors
    /// [`UnwrapFailed`](crate::BackendError::UnwrapFailed), whatever the reason.
    fn unseal(&mut self, unseal: &Unseal) -> Result<SecretBytes>;

    /// Wraps bytes.
    ///
    /// A token that wraps objects of its own alone holds them as an extractable session object for
    /// that moment; it is destroyed before the answer.
    ///
    /// # Errors
    /// [`Invalid`](crate::BackendError::Invalid) for a length that the algorithm or the
    /// token can't wrap.
    fn wrap(&mut self, wrap: &Wrap) -> Result<Vec<u8>>;

    /// Makes an HMAC, whole.
    ///
    /// # Errors
    /// [`KeyNotFound`](crate::BackendError::KeyNotFound),
    /// [`MechanismInvalid`](crate::BackendError::MechanismInvalid).
    fn mac(&mut self, mac: &Mac) -> Result<Vec<u8>>;

    /// The private and secret keys behind an id, at most
    /// [`SCAN_PAGE`](crate::message::SCAN_PAGE), in the order of their ids.
    ///
    /// # Errors
    /// The token could not be asked.
    fn scan(&mut self, after: Option<VersionId>) -> Result<ScanPage>;

    /// Says where a key is, signed by the token's attestation key.
    ///
    /// # Errors
    /// [`MechanismInvalid`](crate::BackendError::MechanismInvalid) where the token attests nothing, or not
    /// such a key.
    fn attest(&mut self, _attest: &Attest) -> Result<Statement> {
        Err(attests_nothing())
    }

    /// The token's attestation key, which is made if there is none.
    ///
    /// # Errors
    /// As [`attest`](Self::attest).
    fn attestation_key(&mut self) -> Result<Identity> {
        Err(attests_nothing())
    }

    /// Opens a challenge to the attestation key.
    ///
    /// # Errors
    /// As [`attest`](Self::attest), and [`UnwrapFailed`](crate::BackendError::UnwrapFailed) for one to
    /// another token or key.
    fn activate(&mut self, _activate: &Activate) -> Result<SecretBytes> {
        Err(attests_nothing())
    }

    /// Gives back what was imported with the purpose `seal`.
    ///
    /// # Errors
    /// [`KeyNotFound`](crate::BackendError::KeyNotFound),
    /// [`MechanismInvalid`](crate::BackendError::MechanismInvalid).
    fn unseal_data(&mut self, _: VersionId) -> Result<SecretBytes> {
        Err(BackendError::MechanismInvalid(
            "only a TPM seals data".to_owned(),
        ))
    }

    /// Random bytes of the token's generator.
    ///
    /// # Errors
    /// The token could not be asked.
    fn random(&mut self, length: u32) -> Result<SecretBytes>;

    /// Takes a key over that is in the token already, and changes nothing in it.
    ///
    /// # Errors
    /// [`KeyNotFound`](crate::BackendError::KeyNotFound) where there is none,
    /// [`Invalid`](crate::BackendError::Invalid) for one that is not of the type, or not for the
    /// purpose.
    fn adopt(&mut self, _: &Adopt) -> Result<KeyReport> {
        Err(BackendError::MechanismInvalid(
            "keys of such a token are taken over by a rescan".to_owned(),
        ))
    }

    /// The certificate that the token keeps beside a key, DER.
    ///
    /// # Errors
    /// [`KeyNotFound`](crate::BackendError::KeyNotFound).
    fn read_certificate(&mut self, _: VersionId) -> Result<Option<Vec<u8>>> {
        no_card()
    }

    /// Keeps a certificate beside a key; an empty one takes it away.
    ///
    /// # Errors
    /// [`Invalid`](crate::BackendError::Invalid) for one of another key.
    fn write_certificate(&mut self, _: &WriteCertificate) -> Result<()> {
        no_card()
    }

    /// Gives the token a key's own file back, which it has lost.
    ///
    /// # Errors
    /// [`Exists`](crate::BackendError::Exists) where the token has the key,
    /// [`Refused`](crate::BackendError::Refused) where the file is not of this token.
    fn place(&mut self, _: &Place) -> Result<KeyReport> {
        Err(BackendError::MechanismInvalid(
            "its keys are in no files".to_owned(),
        ))
    }

    /// Makes a key, or puts one into the token, that can be used only while PCRs have approved
    /// values.
    ///
    /// # Errors
    /// As [`generate`](Self::generate) and [`import`](Self::import), and
    /// [`Invalid`](crate::BackendError::Invalid) for an approval that is none.
    fn make_bound(&mut self, _: &MakeBound) -> Result<KeyReport> {
        no_pcrs()
    }

    /// The values of PCRs, in the order of the question.
    ///
    /// # Errors
    /// [`MechanismInvalid`](crate::BackendError::MechanismInvalid) for a token without.
    fn read_pcrs(&mut self, _: &[u8]) -> Result<Vec<PcrValue>> {
        no_pcrs()
    }

    /// What was approved for a bound key, and the values now; `None` for a key that is not bound.
    ///
    /// # Errors
    /// [`KeyNotFound`](crate::BackendError::KeyNotFound).
    fn bound(&mut self, _: VersionId) -> Result<Option<BoundReport>> {
        no_pcrs()
    }

    /// Keeps an approval of other values; the key as it is then.
    ///
    /// # Errors
    /// [`Invalid`](crate::BackendError::Invalid) for an approval that is none.
    fn approve(&mut self, _: &Approve) -> Result<KeyReport> {
        no_pcrs()
    }
}

fn no_pcrs<T>() -> Result<T> {
    Err(BackendError::MechanismInvalid(
        "only a TPM has PCRs that a key can be bound to".to_owned(),
    ))
}

fn no_card<T>() -> Result<T> {
    Err(BackendError::MechanismInvalid(
        "only PIV cards have this".to_owned(),
    ))
}

fn attests_nothing() -> BackendError {
    BackendError::MechanismInvalid("a token of this kind attests no keys".to_owned())
}
