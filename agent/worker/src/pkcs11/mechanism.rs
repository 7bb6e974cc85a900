//! What a token can do, by its list of mechanisms.

use cryptoki::context::Pkcs11;
use cryptoki::mechanism::{MechanismInfo, MechanismType};
use cryptoki::slot::Slot;
use keyward_protocol::{Algorithm, KeyType};

use super::secret_key;

/// The mechanisms of a token that this backend uses.
#[derive(Clone, Debug, Default)]
pub(super) struct Mechanisms(Vec<(MechanismType, MechanismInfo)>);

const USED: &[MechanismType] = &[
    MechanismType::ECC_KEY_PAIR_GEN,
    MechanismType::ECC_EDWARDS_KEY_PAIR_GEN,
    MechanismType::RSA_PKCS_KEY_PAIR_GEN,
    MechanismType::ECDSA,
    MechanismType::EDDSA,
    MechanismType::RSA_PKCS,
    MechanismType::RSA_PKCS_PSS,
    MechanismType::RSA_PKCS_OAEP,
    MechanismType::RSA_X_509,
    MechanismType::ECDH1_DERIVE,
    MechanismType::AES_KEY_GEN,
    MechanismType::AES_GCM,
    MechanismType::AES_KEY_WRAP,
    MechanismType::AES_KEY_WRAP_PAD,
    MechanismType::GENERIC_SECRET_KEY_GEN,
    MechanismType::SHA256_KEY_GEN,
    MechanismType::SHA256_HMAC,
    MechanismType::SHA384_HMAC,
    MechanismType::SHA512_HMAC,
];

impl Mechanisms {
    /// Asks a token.
    pub(super) fn of(module: &Pkcs11, slot: Slot) -> cryptoki::error::Result<Self> {
        let list = module.get_mechanism_list(slot)?;
        let known = USED.iter().copied().filter(|used| list.contains(used));
        Ok(Self(
            known
                .filter_map(|kind| Some((kind, module.get_mechanism_info(slot, kind).ok()?)))
                .collect(),
        ))
    }

    /// Whether the token has a mechanism for something that its flags tell.
    pub(super) fn can(&self, kind: MechanismType, what: fn(&MechanismInfo) -> bool) -> bool {
        self.info(kind).is_some_and(what)
    }

    /// What the token's keys can do, as far as this worker supports it.
    pub(super) fn algorithms(&self) -> Vec<Algorithm> {
        use MechanismType as M;
        let oaep = self.can(M::RSA_PKCS_OAEP, MechanismInfo::decrypt)
            || self.can(M::RSA_X_509, MechanismInfo::decrypt);
        let ecdh = self.can(M::ECDH1_DERIVE, MechanismInfo::derive);
        let gcm = self.can(M::AES_GCM, |info| info.encrypt() && info.decrypt());
        let wraps = |kind| self.can(kind, |info| info.wrap() && info.unwrap());
        let (kw, kwp) = (wraps(M::AES_KEY_WRAP), wraps(M::AES_KEY_WRAP_PAD));
        Algorithm::ALL
            .into_iter()
            .filter(|algorithm| match algorithm {
                Algorithm::Esp256 => self.signs(M::ECDSA, 256),
                Algorithm::Esp384 => self.signs(M::ECDSA, 384),
                Algorithm::Ed25519 => self.can(M::EDDSA, MechanismInfo::sign),
                Algorithm::Ps256 => self.can(M::RSA_PKCS_PSS, MechanismInfo::sign),
                Algorithm::Rs256 => self.can(M::RSA_PKCS, MechanismInfo::sign),
                Algorithm::RsaOaepSha256 | Algorithm::RsaOaepSha1 => oaep,
                Algorithm::EcdhRaw | Algorithm::EcdhHkdfSha256 | Algorithm::EcdhHkdfSha384 => ecdh,
                // The agent's, with a Z of the token.
                Algorithm::Hpke0 | Algorithm::Hpke7 => ecdh,
                Algorithm::A128Gcm | Algorithm::A256Gcm => gcm,
                Algorithm::A128Kw | Algorithm::A256Kw => kw,
                Algorithm::A128Kwp | Algorithm::A256Kwp => kwp,
                Algorithm::HmacSha256 => self.can(M::SHA256_HMAC, MechanismInfo::sign),
                Algorithm::HmacSha384 => self.can(M::SHA384_HMAC, MechanismInfo::sign),
                Algorithm::HmacSha512 => self.can(M::SHA512_HMAC, MechanismInfo::sign),
                _ => false,
            })
            .collect()
    }

    /// The keys that the token can make.
    pub(super) fn key_types(&self) -> Vec<KeyType> {
        use MechanismType as M;
        let makes = |kind, size| {
            self.info(kind)
                .is_some_and(|info| info.generate_key_pair() && has_size(info, size))
        };
        KeyType::ALL
            .into_iter()
            .filter(|key_type| match key_type {
                KeyType::P256 => makes(M::ECC_KEY_PAIR_GEN, 256),
                KeyType::P384 => makes(M::ECC_KEY_PAIR_GEN, 384),
                KeyType::Ed25519 => {
                    self.can(
                        M::ECC_EDWARDS_KEY_PAIR_GEN,
                        MechanismInfo::generate_key_pair,
                    ) && self.can(M::EDDSA, MechanismInfo::sign)
                }
                KeyType::Aes128 | KeyType::Aes256 => self.makes_secret(*key_type),
                KeyType::HmacSha256 => {
                    self.can(M::SHA256_HMAC, MechanismInfo::sign) && self.makes_secret(*key_type)
                }
                KeyType::HmacSha384 => {
                    self.can(M::SHA384_HMAC, MechanismInfo::sign) && self.makes_secret(*key_type)
                }
                KeyType::HmacSha512 => {
                    self.can(M::SHA512_HMAC, MechanismInfo::sign) && self.makes_secret(*key_type)
                }
                rsa => rsa
                    .rsa_bits()
                    .is_some_and(|bits| makes(M::RSA_PKCS_KEY_PAIR_GEN, bits)),
            })
            .collect()
    }

    /// Whether some mechanism makes secret keys of the type's length.
    fn makes_secret(&self, key_type: KeyType) -> bool {
        let Some(length) = key_type.secret_length() else {
            return false;
        };
        secret_key::kinds(key_type)
            .iter()
            .flat_map(|kind| secret_key::generators(*kind))
            .filter_map(|generator| self.info(*generator))
            .any(|info| info.generate() && has_length(info, length))
    }

    fn signs(&self, kind: MechanismType, bits: u32) -> bool {
        self.info(kind)
            .is_some_and(|info| info.sign() && has_size(info, bits))
    }

    fn info(&self, kind: MechanismType) -> Option<&MechanismInfo> {
        let found = self.0.iter().find(|(known, _)| *known == kind);
        found.map(|(_, info)| info)
    }
}

/// Whether a size in bits is in a mechanism's range. Tokens that tell none tell 0.
fn has_size(info: &MechanismInfo, bits: u32) -> bool {
    let (least, most) = (info.min_key_size(), info.max_key_size());
    most == 0 || usize::try_from(bits).is_ok_and(|bits| (least..=most).contains(&bits))
}

/// Whether a length in bytes is in a mechanism's range, which some tokens tell in bits.
fn has_length(info: &MechanismInfo, bytes: usize) -> bool {
    let range = info.min_key_size()..=info.max_key_size();
    *range.end() == 0 || range.contains(&bytes) || range.contains(&bytes.saturating_mul(8))
}
