//! A card within one transaction, with its PIV application selected.
//!
//! Nobody else gets at the card until the transaction ends, so what was checked stays true.

use keyward_backend::{BackendError, TokenIdentity};
use keyward_protocol::SecretBytes;
use pcsc::{Disposition, Protocol, Transaction};
use zeroize::Zeroizing;

use super::apdu::{self, Answer, Command, MOST_PIECE};
use super::failure::{Failure, Progress, malformed};
use super::identity::{self, Version};
use super::status::Status;
use super::tlv;

/// The application of SP 800-73-4, whatever its version.
const PIV: &[u8] = &[0xa0, 0x00, 0x00, 0x03, 0x08, 0x00, 0x00, 0x10, 0x00];
/// The application of one-time passwords, which tells the serial number of a YubiKey 4.
const OTP: &[u8] = &[0xa0, 0x00, 0x00, 0x05, 0x27, 0x20, 0x01];
/// The management application of a YubiKey: selected to leave nothing of PIV behind.
const MANAGEMENT: &[u8] = &[0xa0, 0x00, 0x00, 0x05, 0x27, 0x47, 0x11, 0x17];
/// The Cardholder Unique Identifier.
const CHUID: u32 = 0x5f_c102;
/// The PIN of the PIV application, as a key reference.
pub(super) const PIN: u8 = 0x80;
/// Its PUK.
pub(super) const PUK: u8 = 0x81;

/// The instructions that are sent (SP 800-73-4 Part 2 Table 2, and Yubico's).
#[allow(missing_docs, reason = "the names of the specifications")]
pub(super) mod instruction {
    pub(in crate::piv) const VERIFY: u8 = 0x20;
    pub(in crate::piv) const CHANGE_REFERENCE_DATA: u8 = 0x24;
    pub(in crate::piv) const RESET_RETRY_COUNTER: u8 = 0x2c;
    pub(in crate::piv) const GENERATE_ASYMMETRIC_KEY_PAIR: u8 = 0x47;
    pub(in crate::piv) const GENERAL_AUTHENTICATE: u8 = 0x87;
    pub(in crate::piv) const SELECT: u8 = 0xa4;
    pub(in crate::piv) const GET_DATA: u8 = 0xcb;
    pub(in crate::piv) const PUT_DATA: u8 = 0xdb;
    pub(in crate::piv) const MOVE_KEY: u8 = 0xf6;
    pub(in crate::piv) const GET_METADATA: u8 = 0xf7;
    pub(in crate::piv) const GET_SERIAL: u8 = 0xf8;
    pub(in crate::piv) const ATTEST: u8 = 0xf9;
    pub(in crate::piv) const RESET: u8 = 0xfb;
    pub(in crate::piv) const GET_VERSION: u8 = 0xfd;
    pub(in crate::piv) const IMPORT_ASYMMETRIC_KEY: u8 = 0xfe;
    pub(in crate::piv) const SET_MANAGEMENT_KEY: u8 = 0xff;
}
use instruction as ins;

/// What does not change as long as a card stays in its reader.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// T=0 takes no Le behind data.
    t0: bool,
    version: Option<Version>,
    identity: TokenIdentity,
}

/// A card within one transaction.
pub(super) struct Card<'t> {
    transaction: Transaction<'t>,
    /// T=0 takes no Le behind data.
    t0: bool,
    /// Of a YubiKey; `None` for another card.
    pub(super) version: Option<Version>,
    /// Which card it is.
    pub(super) identity: TokenIdentity,
    /// How far it got.
    pub(super) progress: Progress,
    /// Whether the PIN is verified by us.
    verified: bool,
    /// Whether the management key is authenticated.
    pub(super) managed: bool,
    /// How many tries the card said are left, when it refused a PIN or PUK last.
    pub(super) refused_with: Option<u8>,
}

impl<'t> Card<'t> {
    /// The card that was asked before, with its PIV application selected still by who had it last; else
    /// the transaction.
    ///
    /// GET SERIAL is an instruction of Yubico's PIV application alone: the right number proves both,
    /// for one command where selecting and asking takes two. Any other answer proves nothing.
    pub(super) fn selected(
        transaction: Transaction<'t>,
        asked: &Asked,
    ) -> Result<std::result::Result<Self, Transaction<'t>>, Failure> {
        let Some(version) = asked.version.filter(|version| version.tells_serial()) else {
            return Ok(Err(transaction));
        };
        let mut card = Self::new(transaction, asked.t0, Some(version));
        let answer = card.send(&Command::new(ins::GET_SERIAL, 0, 0))?;
        let serial = identity::serial(&answer.data).filter(|_| answer.status.is_success());
        if serial.is_none_or(|serial| identity::yubikey(version, serial) != asked.identity) {
            return Ok(Err(card.transaction));
        }
        card.identity = asked.identity.clone();
        Ok(Ok(card))
    }

    /// Selects the PIV application and asks which card it is; `None` for a card without one.
    ///
    /// What was asked since it was inserted is not asked again: its serial number is, each time.
    pub(super) fn select(
        transaction: Transaction<'t>,
        asked: Option<&Asked>,
    ) -> Result<Option<Self>, Failure> {
        let mut card = match asked {
            Some(asked) => Self::new(transaction, asked.t0, asked.version),
            None => {
                let protocol = transaction.status2_owned()?.protocol2();
                Self::new(transaction, matches!(protocol, Some(Protocol::T0)), None)
            }
        };
        if !card.select_application(PIV)? {
            return Ok(None);
        }
        if asked.is_none() {
            card.version = card.ask_version()?;
            if card.is_no_yubikey()? {
                card.version = None;
            }
        }
        card.identity = card.ask_identity()?;
        Ok(Some(card))
    }

    fn new(transaction: Transaction<'t>, t0: bool, version: Option<Version>) -> Self {
        let nobody = TokenIdentity {
            manufacturer: String::new(),
            model: String::new(),
            serial: String::new(),
        };
        Self {
            transaction,
            t0,
            version,
            identity: nobody,
            progress: Progress::Nothing,
            verified: false,
            managed: false,
            refused_with: None,
        }
    }

    /// What need not be asked again as long as the card stays where it is.
    pub(super) fn asked(&self) -> Asked {
        Asked {
            t0: self.t0,
            version: self.version,
            identity: self.identity.clone(),
        }
    }

    /// Sends a command.
    pub(super) fn send(&mut self, command: &Command) -> Result<Answer, Failure> {
        let (transaction, t0) = (&self.transaction, self.t0);
        Ok(apdu::exchange(command, |piece| {
            let piece = match piece {
                [0, .., last] if t0 && piece.len() > 5 => {
                    debug_assert_eq!(*last, 0, "the last piece ends in Le");
                    piece.get(..piece.len().saturating_sub(1)).unwrap_or(piece)
                }
                piece => piece,
            };
            let mut buffer = Zeroizing::new([0; MOST_PIECE]);
            let answer = transaction.transmit(piece, buffer.as_mut_slice())?;
            // What a driver gives of a card that was pulled meanwhile.
            if answer.is_empty() {
                return Err(pcsc::Error::NotTransacted);
            }
            Ok(Zeroizing::new(answer.to_vec()))
        })?)
    }

    /// Sends a command that must be done.
    pub(super) fn done(&mut self, command: &Command, what: &str) -> Result<Answer, Failure> {
        let answer = self.send(command)?;
        match answer.status.is_success() {
            true => Ok(answer),
            false => Err(answer.status.error(what).into()),
        }
    }

    /// The content of an object; `None` where there is none.
    pub(super) fn object(&mut self, tag: u32) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
        let command = Command::with(ins::GET_DATA, 0x3f, 0xff, tag_list(tag));
        let answer = self.send(&command)?;
        match answer.status {
            Status::SUCCESS => {
                let content = tlv::only(&answer.data, 0x53)?;
                let content = Zeroizing::new(content.to_vec());
                Ok(Some(content).filter(|content| !content.is_empty()))
            }
            Status::NOT_FOUND | Status::REFERENCE_NOT_FOUND => Ok(None),
            status => Err(status.error("show a data object").into()),
        }
    }

    /// Writes the content of an object, over what was there; nothing removes it.
    pub(super) fn put_object(&mut self, tag: u32, content: &[u8]) -> Result<(), Failure> {
        let mut data = tag_list(tag);
        // Room beforehand: what is copied while it grows would be left behind.
        data.reserve(content.len().saturating_add(8));
        tlv::put(0x53, content, &mut data);
        let command = Command::with(ins::PUT_DATA, 0x3f, 0xff, data);
        self.done(&command, "keep a data object").map(drop)
    }

    /// How many tries at the PIN are left; `None` where it is verified, which shows no number.
    pub(super) fn tries(&mut self) -> Result<Option<u8>, Failure> {
        let answer = self.send(&Command::new(ins::VERIFY, 0, PIN))?;
        match (answer.status, answer.status.tries()) {
            (_, Some(tries)) => Ok(Some(tries)),
            (Status::SUCCESS, None) => Ok(None),
            (status, None) => Err(status
                .error("say how many tries at its PIN are left")
                .into()),
        }
    }

    /// Verifies the PIN. To be called for the card that the PIN is for, and once with each PIN.
    pub(super) fn verify(&mut self, pin: &SecretBytes) -> Result<(), Failure> {
        let padded = super::pin::padded(pin)?;
        self.progress = self.progress.max(Progress::Pin);
        let command = Command::with(ins::VERIFY, 0, PIN, padded.to_vec());
        // Whatever becomes of the answer: it is taken back.
        self.verified = true;
        let status = self.send(&command)?.status;
        match (status, status.tries()) {
            (Status::SUCCESS, _) => Ok(()),
            (_, Some(0)) => Err(BackendError::PinBlocked.into()),
            (_, Some(_)) => Err(BackendError::PinIncorrect.into()),
            (status, None) => Err(status.error("take a PIN").into()),
        }
    }

    /// What is sent may leave the PIN verified: it is taken back with the rest.
    pub(super) fn may_be_verified(&mut self) {
        self.verified = true;
    }

    /// Takes back what this transaction proved, so that no other program can use it, and ends it.
    pub(super) fn leave(mut self) {
        if !self.take_back() {
            // At the end of the transaction, and not behind it: others wait for the card.
            let _ = self.transaction.end(Disposition::ResetCard);
        }
    }

    /// Takes back what this transaction proved. Says whether that is so; it is, where there is no card
    /// any more.
    fn take_back(&mut self) -> bool {
        if !self.managed && !self.verified {
            return true;
        }
        // Selecting another application ends everything (SP 800-73-4 Part 2 §3.1.1); it is not done
        // for each use, since the next program may have PIV selected, too.
        let unverify = Command::new(ins::VERIFY, 0xff, PIN);
        if !self.managed
            && let Ok(answer) = self.send(&unverify)
            && answer.status.is_success()
        {
            return true;
        }
        match self.select_application(MANAGEMENT) {
            Ok(selected) => selected,
            // Resetting a card that is not there confuses pcscd about the next one.
            Err(Failure::Pcsc(_)) => true,
            Err(Failure::Answer(_)) => false,
        }
    }

    fn select_application(&mut self, aid: &[u8]) -> Result<bool, Failure> {
        let command = Command::with(ins::SELECT, 0x04, 0, aid.to_vec());
        Ok(self.send(&command)?.status.is_success())
    }

    /// Whether it only looks like a YubiKey: other cards answer some of Yubico's instructions, with a
    /// serial number that all of them have.
    fn is_no_yubikey(&mut self) -> Result<bool, Failure> {
        if !self.version.is_some_and(Version::has_metadata) {
            return Ok(false);
        }
        let answer = self.send(&Command::new(ins::GET_METADATA, 0, PIN))?;
        Ok(answer.status.is_unknown_command())
    }

    fn ask_version(&mut self) -> Result<Option<Version>, Failure> {
        let answer = self.send(&Command::new(ins::GET_VERSION, 0, 0))?;
        match answer.status.is_success() {
            true => match Version::parse(&answer.data) {
                Some(version) => Ok(Some(version)),
                None => Err(malformed("its version has no known form")),
            },
            // What is not understood is no YubiKey's; anything else is no answer to be believed.
            false if answer.status.is_unknown_command() => Ok(None),
            false => Err(answer.status.error("tell its version").into()),
        }
    }

    fn ask_identity(&mut self) -> Result<TokenIdentity, Failure> {
        let Some(version) = self.version else {
            let chuid = self.object(CHUID)?.unwrap_or_default();
            return identity::by_chuid(&chuid).ok_or_else(|| {
                BackendError::Refused(
                    "the card has neither a serial number nor a CHUID, so it can't be told from others; \
                     `yubico-piv-tool -a set-chuid` or the card's issuer writes one"
                        .to_owned(),
                )
                .into()
            });
        };
        let answer = match version.tells_serial() {
            true => self.send(&Command::new(ins::GET_SERIAL, 0, 0))?,
            false => self.serial_of_otp()?,
        };
        let serial = identity::serial(&answer.data).filter(|_| answer.status.is_success());
        match serial {
            Some(serial) => Ok(identity::yubikey(version, serial)),
            None => Err(malformed("it does not tell its serial number")),
        }
    }

    /// A YubiKey 4 tells its serial number in another application.
    fn serial_of_otp(&mut self) -> Result<Answer, Failure> {
        if !self.select_application(OTP)? {
            return Err(malformed("it does not tell its serial number"));
        }
        let answer = self.send(&Command::new(0x01, 0x10, 0));
        match self.select_application(PIV)? {
            true => answer,
            false => Err(malformed("its PIV application was there, and is not")),
        }
    }
}

/// The tag list that names one object (SP 800-73-4 Part 2 Table 7).
fn tag_list(tag: u32) -> Vec<u8> {
    let bytes = tag.to_be_bytes();
    tlv::of(0x5c, bytes.get(1..).unwrap_or_default())
}
