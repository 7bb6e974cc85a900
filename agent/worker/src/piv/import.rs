//! Putting keys into slots (Yubico's IMPORT ASYMMETRIC KEY).

use keyward_backend::message::Import;
use keyward_backend::{BackendError, KeyReport, Result};
use keyward_protocol::operation::KeyMaterial;

use super::apdu::Command;
use super::card::{Card, instruction as ins};
use super::failure::{Failure, Progress};
use super::generate::{Choice, check_kind, choice, put_policies};
use super::metadata::algorithm;
use super::note::Origin;
use super::session::{Session, full_width};
use super::slot::Slot;
use super::{tlv, uses};
use crate::private_key::{PrivateKey, Secret};

/// Room for the numbers of an RSA-4096 key: what is copied while it grows would be left behind.
const ROOM: usize = 2048;

impl Session<'_> {
    pub(super) fn import_key(&self, import: &Import) -> Result<KeyReport> {
        let generate = &import.generate;
        let choice = choice(generate)?;
        let piv = self.piv;
        piv.pins.get()?;
        piv.with_card(|card, _| {
            Ok(check_kind(
                generate.purpose,
                generate.key_type,
                card.version,
                |version, key_type| version.is_some() && uses(version, key_type),
            )?)
        })?;
        let KeyMaterial::Pkcs8(der) = &import.material else {
            return Err(BackendError::Invalid(
                "a PIV card takes private keys in PKCS#8".to_owned(),
            ));
        };
        let key = PrivateKey::from_pkcs8(der.expose())?;
        if key.public.key_type() != Some(generate.key_type) {
            return Err(BackendError::Invalid(format!(
                "the key is not of type {}",
                generate.key_type
            )));
        }
        piv.with_card(|card, cache| {
            let slot = self.free_slot(card, cache, generate, choice)?;
            piv.manage(card)?;
            card.progress = Progress::Key;
            cache.forget(slot);
            card.import_key(slot, &key, choice)?;
            let public = key.public.clone();
            let finished = self.finish(
                card,
                cache,
                generate,
                slot,
                public,
                choice,
                Origin::Imported,
            );
            if finished.is_err() {
                // Not to be left behind. Why it is not right says more than why it can't go.
                let _ = card.clear_slot(slot, None);
            }
            finished
        })
    }
}

impl Card<'_> {
    fn import_key(
        &mut self,
        slot: Slot,
        key: &PrivateKey<'_>,
        choice: Choice,
    ) -> std::result::Result<(), Failure> {
        let number = key.public.key_type().and_then(algorithm);
        let number = number.ok_or_else(|| {
            BackendError::MechanismInvalid("the card has no keys of this type".to_owned())
        })?;
        let mut data = Vec::with_capacity(ROOM);
        match &key.secret {
            Secret::Scalar(scalar) => tlv::put(0x06, scalar, &mut data),
            Secret::Seed(seed) => tlv::put(0x07, *seed, &mut data),
            Secret::Rsa(numbers) => {
                // The card takes both primes at half the width of the modulus.
                let width = numbers.n.len().div_ceil(2);
                let all = [numbers.p, numbers.q, numbers.dp, numbers.dq, numbers.q_inv];
                for (tag, number) in (1..).zip(all) {
                    tlv::put(tag, &full_width(number, width)?, &mut data);
                }
            }
        }
        put_policies(choice, &mut data);
        let command = Command::with(ins::IMPORT_ASYMMETRIC_KEY, number, slot.reference(), data);
        self.done(&command, "take a key").map(drop)
    }
}
