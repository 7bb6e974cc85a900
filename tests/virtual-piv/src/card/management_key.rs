//! The card management key 9B: authentication by it, and its change.

use aes::cipher::{Array, BlockCipherEncrypt, BlockSizeUser, KeyInit};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::Reply;
use super::chain::Whole;
use super::piv::Piv;
use super::random::fill;
use super::status::Status;
use super::tlv;

/// The key that every card has from the factory, as 3DES or as AES-192.
const FACTORY: [u8; 24] = [
    1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8,
];

/// A cipher, with its identifier of SP 800-78-4 Table 6-2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cipher {
    TripleDes = 0x03,
    Aes128 = 0x08,
    Aes192 = 0x0a,
    Aes256 = 0x0c,
}

impl Cipher {
    fn from_identifier(identifier: u8) -> Option<Self> {
        match identifier {
            // 00 is another name of it in SP 800-78-4.
            0x00 | 0x03 => Some(Self::TripleDes),
            0x08 => Some(Self::Aes128),
            0x0a => Some(Self::Aes192),
            0x0c => Some(Self::Aes256),
            _ => None,
        }
    }

    fn key_length(self) -> usize {
        match self {
            Self::TripleDes | Self::Aes192 => 24,
            Self::Aes128 => 16,
            Self::Aes256 => 32,
        }
    }

    fn block_length(self) -> usize {
        match self {
            Self::TripleDes => 8,
            _ => 16,
        }
    }
}

pub(super) struct ManagementKey {
    pub(super) cipher: Cipher,
    key: Zeroizing<Vec<u8>>,
    pub(super) touch: bool,
}

/// What the card has asked and waits for the answer to.
pub(super) enum Challenge {
    /// The host is to decrypt this.
    Witness(Vec<u8>),
    /// The host is to encrypt this.
    Challenge(Vec<u8>),
}

impl ManagementKey {
    pub(super) fn factory(cipher: Cipher) -> Self {
        Self {
            cipher,
            key: Zeroizing::new(FACTORY.to_vec()),
            touch: false,
        }
    }

    pub(super) fn is_factory(&self) -> bool {
        self.key.as_slice() == FACTORY
    }

    fn encrypt(&self, block: &[u8]) -> Reply {
        match self.cipher {
            Cipher::TripleDes => encrypt::<des::TdesEde3>(&self.key, block),
            Cipher::Aes128 => encrypt::<aes::Aes128>(&self.key, block),
            Cipher::Aes192 => encrypt::<aes::Aes192>(&self.key, block),
            Cipher::Aes256 => encrypt::<aes::Aes256>(&self.key, block),
        }
    }
}

impl Piv {
    /// GENERAL AUTHENTICATE with 9B: SP 800-73-4 Part 2 §3.2.4, Appendix A.1 and A.2.
    pub(super) fn authenticate_management(&mut self, command: &Whole) -> Reply {
        let template = tlv::only(&command.data, 0x7c).ok_or(Status::WRONG_DATA)?;
        let objects = tlv::parse(template).ok_or(Status::WRONG_DATA)?;
        if Cipher::from_identifier(command.p1) != Some(self.management.cipher) {
            return Err(Status::WRONG_DATA);
        }
        let asked = self.challenge.take();
        let length = self.management.cipher.block_length();
        let part = |tag| tlv::find(&objects, tag);
        match (part(0x80), part(0x81), part(0x82)) {
            (Some([]), None, None) => {
                let witness = random_block(length)?;
                let encrypted = self.management.encrypt(&witness)?;
                self.challenge = Some(Challenge::Witness(witness));
                Ok(tlv::object(0x7c, &tlv::object(0x80, &encrypted)))
            }
            (None, Some([]), None) => {
                let challenge = random_block(length)?;
                let answer = tlv::object(0x7c, &tlv::object(0x81, &challenge));
                self.challenge = Some(Challenge::Challenge(challenge));
                Ok(answer)
            }
            (Some(witness), Some(challenge), None | Some([])) if challenge.len() == length => {
                match asked {
                    Some(Challenge::Witness(asked)) if same(&asked, witness) => {}
                    _ => return Err(Status::SECURITY_STATUS_NOT_SATISFIED),
                }
                self.managed = true;
                let answer = self.management.encrypt(challenge)?;
                Ok(tlv::object(0x7c, &tlv::object(0x82, &answer)))
            }
            (None, None, Some(answer)) if answer.len() == length => {
                let Some(Challenge::Challenge(asked)) = asked else {
                    return Err(Status::SECURITY_STATUS_NOT_SATISFIED);
                };
                if !same(&self.management.encrypt(&asked)?, answer) {
                    return Err(Status::SECURITY_STATUS_NOT_SATISFIED);
                }
                self.managed = true;
                Ok(vec![])
            }
            _ => Err(Status::WRONG_DATA),
        }
    }

    /// Whether a step of the authentication is the one that a touch is asked for: the last.
    pub(super) fn is_last_step(data: &[u8]) -> bool {
        let objects = tlv::only(data, 0x7c).and_then(tlv::parse);
        objects.is_some_and(|objects| {
            let filled = |tag| tlv::find(&objects, tag).is_some_and(|value| !value.is_empty());
            filled(0x80) || filled(0x82)
        })
    }

    /// SET MANAGEMENT KEY.
    pub(super) fn set_management_key(&mut self, command: &Whole) -> Reply {
        let touch = match (command.p1, command.p2) {
            (0xff, 0xff) => false,
            (0xff, 0xfe) => true,
            _ => return Err(Status::WRONG_PARAMETERS),
        };
        if !self.managed {
            return Err(Status::SECURITY_STATUS_NOT_SATISFIED);
        }
        let [cipher, 0x9b, length, key @ ..] = command.data.as_slice() else {
            return Err(Status::WRONG_DATA);
        };
        let cipher = Cipher::from_identifier(*cipher)
            .filter(|cipher| *cipher == Cipher::TripleDes || self.model.has_aes_management_keys())
            .ok_or(Status::WRONG_DATA)?;
        if usize::from(*length) != key.len() || key.len() != cipher.key_length() {
            return Err(Status::WRONG_DATA);
        }
        self.management = ManagementKey {
            cipher,
            key: Zeroizing::new(key.to_vec()),
            touch,
        };
        Ok(vec![])
    }
}

fn random_block(length: usize) -> Reply {
    let mut block = vec![0; length];
    fill(&mut block)?;
    Ok(block)
}

fn same(left: &[u8], right: &[u8]) -> bool {
    bool::from(left.ct_eq(right))
}

fn encrypt<C: KeyInit + BlockCipherEncrypt>(key: &[u8], block: &[u8]) -> Reply {
    let cipher = C::new_from_slice(key).map_err(|_| Status::FAILED)?;
    let mut block = array::<C>(block)?;
    cipher.encrypt_block(&mut block);
    Ok(block.to_vec())
}

fn array<C: BlockSizeUser>(block: &[u8]) -> Reply<Array<u8, C::BlockSize>> {
    Array::try_from(block).map_err(|_| Status::WRONG_LENGTH)
}
