//! Bundles as a PIV card would make them, and as somebody would who has none, or has one and wants
//! another key to pass for its key.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use keyward_protocol::CoseKey;
use keyward_protocol::attestation::piv::CertificateError;
use keyward_protocol::attestation::{Bundle, Document, PivStatement, Statement};
use keyward_virtual_piv::{Card, Model, Terminal};

use super::NONCE;
use crate::chain::{self, Roots};
use crate::piv;
use crate::verify::{Attested, Bound, Refused, Said, Unbound, Vouchers, verify};

/// A time at which all of them are valid.
const NOW: u64 = 1_800_000_000;
const FIRMWARE: u8 = 3;
const SERIAL: u8 = 7;
const POLICIES: u8 = 8;
const P256: u8 = 0x11;

/// A key of P-256, which signs certificates, and the name by which it does.
struct Key {
    pair: EcdsaKeyPair,
    name: &'static str,
}

impl Key {
    fn new(name: &'static str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        Self { pair, name }
    }

    fn public(&self) -> CoseKey {
        CoseKey::from_sec1(self.pair.public_key().as_ref()).unwrap()
    }

    /// A certificate of another key, with these extensions.
    fn certify(&self, spki: &[u8], name: &str, extensions: &[Vec<u8>]) -> Vec<u8> {
        let ecdsa = tlv(0x30, &[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]);
        let dates = [tlv(0x18, b"20160314000000Z"), tlv(0x18, b"20520417000000Z")];
        let mut tbs = [
            vec![0xa0, 3, 2, 1, 2],
            vec![2, 1, 7],
            ecdsa.clone(),
            common_name(self.name),
            tlv(0x30, &dates.concat()),
            common_name(name),
            spki.to_vec(),
        ]
        .concat();
        if !extensions.is_empty() {
            tbs.extend(tlv(0xa3, &tlv(0x30, &extensions.concat())));
        }
        let tbs = tlv(0x30, &tbs);
        let signature = self.pair.sign(&SystemRandom::new(), &tbs).unwrap();
        let signature = tlv(0x03, &[&[0], signature.as_ref()].concat());
        tlv(0x30, &[tbs, ecdsa, signature].concat())
    }

    fn of(&self, key: &Key, extensions: &[Vec<u8>]) -> Vec<u8> {
        self.certify(&key.public().to_spki().unwrap(), key.name, extensions)
    }
}

fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    let head = match value.len() {
        0..0x80 => vec![tag, length[1]],
        0x80..0x100 => vec![tag, 0x81, length[1]],
        _ => vec![tag, 0x82, length[0], length[1]],
    };
    [head, value.to_vec()].concat()
}

fn common_name(name: &str) -> Vec<u8> {
    let attribute = [vec![0x06, 3, 0x55, 4, 3], tlv(0x0c, name.as_bytes())].concat();
    tlv(0x30, &tlv(0x31, &tlv(0x30, &attribute)))
}

fn extension(oid: &[u8], value: &[u8]) -> Vec<u8> {
    tlv(0x30, &[tlv(0x06, oid), tlv(0x04, value)].concat())
}

fn yubico(number: u8, value: &[u8]) -> Vec<u8> {
    let arc = [0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0xc4, 0x0a, 0x03];
    extension(&[arc.as_slice(), &[number]].concat(), value)
}

fn authority() -> Vec<u8> {
    extension(&[0x55, 0x1d, 0x13], &[0x30, 3, 1, 1, 0xff])
}

/// What a card says of a key in a slot.
fn said() -> Vec<Vec<u8>> {
    vec![
        yubico(FIRMWARE, &[5, 2, 4]),
        yubico(SERIAL, &[2, 4, 0, 0x50, 0, 1]),
        yubico(POLICIES, &[2, 1]),
    ]
}

/// A manufacturer, a card of it, and a key that the card has made.
struct Made {
    root: Key,
    card: Key,
    key: Key,
}

impl Made {
    fn new() -> Self {
        Self {
            root: Key::new("Root"),
            card: Key::new("Yubico PIV Attestation"),
            key: Key::new("YubiKey PIV Attestation 9a"),
        }
    }

    fn roots(&self) -> Roots {
        Roots::only(&self.root.of(&self.root, &[authority()])).unwrap()
    }

    /// The certificate of the card, as firmware 5.2.4 has it.
    fn bare(&self) -> Vec<u8> {
        self.root.of(&self.card, &[yubico(FIRMWARE, &[5, 2, 4])])
    }

    /// The same of other ones.
    fn whole(&self) -> Vec<u8> {
        let extensions = [yubico(FIRMWARE, &[5, 4, 3]), authority()];
        self.root.of(&self.card, &extensions)
    }

    fn attestation(&self) -> Vec<u8> {
        self.card.of(&self.key, &said())
    }
}

fn verdict(
    key: &CoseKey,
    certificate: Vec<u8>,
    chain: &[Vec<u8>],
    roots: Option<&Roots>,
) -> Result<Attested, Refused> {
    let statement = Statement::Piv(PivStatement {
        certificate: certificate.into(),
        chain: chain.iter().cloned().map(Into::into).collect(),
    });
    let bundle = Bundle::new(statement, NONCE.to_vec(), key.clone());
    // As it comes from a file.
    let bundle = Bundle::from_document(&bundle.to_document().unwrap()).unwrap();
    let vouchers = Vouchers {
        piv_roots: roots,
        now: NOW,
        ..Vouchers::default()
    };
    verify(&bundle, NONCE, &vouchers)
}

#[test]
fn a_key_that_a_virtual_card_made_is_in_a_card() {
    let roots = Roots::only(&Card::attestation_root()).unwrap();
    for (model, firmware, form_factor) in [
        (Model::YubiKey4, [4, 3, 5], None),
        (Model::YubiKey5, [5, 4, 3], Some(1)),
        (Model::YubiKey57, [5, 7, 1], Some(1)),
    ] {
        let (certificate, issuer) = attested(&Terminal::new(&Card::new(model, 12_345_678)));
        let key = chain::key_of(&certificate).unwrap();
        let attested = verdict(&key, certificate, &[issuer], Some(&roots)).unwrap();
        assert_eq!(attested.bound, Ok(Bound::Certificate));
        assert!(attested.key == key && !attested.is_fresh());
        let card = piv::Card {
            firmware,
            serial: Some(12_345_678),
            pin_policy: 3,
            touch_policy: 2,
            form_factor,
        };
        assert_eq!(attested.said, Said::Piv(card));
    }
}

#[test]
fn another_card_has_not_signed() {
    let roots = Roots::only(&Card::attestation_root()).unwrap();
    let [one, other] = [1, 2].map(|serial| {
        let card = Card::new(Model::YubiKey57, serial);
        attested(&Terminal::new(&card))
    });
    let key = chain::key_of(&one.0).unwrap();
    let refused = verdict(&key, one.0, &[other.1], Some(&roots)).unwrap_err();
    assert!(matches!(refused, Refused::CardSignature(_)), "{refused:?}");
}

/// A key is made in slot 9a, with a PIN and a touch each time. Its certificate, and the card's.
fn attested(terminal: &Terminal) -> (Vec<u8>, Vec<u8>) {
    terminal.manage().unwrap();
    let template = [0xac, 9, 0x80, 1, P256, 0xaa, 1, 3, 0xab, 1, 2];
    terminal.send(0x47, 0, 0x9a, &template).unwrap();
    let (certificate, _) = terminal.send(0xf9, 0x9a, 0, &[]).unwrap();
    let (object, _) = terminal
        .send(0xcb, 0x3f, 0xff, &[0x5c, 3, 0x5f, 0xff, 0x01])
        .unwrap();
    // 53 LL LL 70 LL LL, the certificate, and what is said about it.
    let start = object
        .windows(2)
        .skip(4)
        .position(|two| two == [0x30, 0x82]);
    let start = start.unwrap() + 4;
    let length = usize::from(u16::from_be_bytes([object[start + 2], object[start + 3]]));
    (certificate, object[start..start + 4 + length].to_vec())
}

#[test]
fn a_card_whose_certificate_is_of_no_authority_is_believed_right_below_a_root() {
    let made = Made::new();
    let (key, roots) = (made.key.public(), made.roots());
    let verdict = |chain: &[Vec<u8>]| verdict(&key, made.attestation(), chain, Some(&roots));
    let whole = verdict(&[made.whole()]).unwrap();
    assert_eq!(whole.bound, Ok(Bound::Certificate));
    let bare = verdict(&[made.bare()]).unwrap();
    assert_eq!(bare.bound, Ok(Bound::Certificate));

    // Further below, none is known.
    let between = Key::new("Intermediate");
    let lower = between.of(&made.card, &[yubico(FIRMWARE, &[5, 2, 4])]);
    let upper = made.root.of(&between, &[authority()]);
    let bound = verdict(&[lower, upper.clone()]).unwrap().bound;
    assert!(matches!(bound, Err(Unbound::CardChain(_))), "{bound:?}");
    // One of an authority may stand there.
    let lower = between.of(&made.card, &[authority()]);
    let bound = verdict(&[lower, upper]).unwrap().bound;
    assert_eq!(bound, Ok(Bound::Certificate));
}

#[test]
fn a_key_in_a_slot_attests_no_other_key() {
    let made = Made::new();
    let (forged, pinned) = (Key::new("YubiKey PIV Attestation 9c"), made.whole());
    // The key of slot 9a signs what it is told: a certificate of a key in software.
    let certificate = made.key.of(&forged, &said());
    for card in [made.whole(), made.bare()] {
        for roots in [made.roots(), Roots::only(&pinned).unwrap()] {
            let chain = [made.attestation(), card.clone()];
            let verdict = verdict(&forged.public(), certificate.clone(), &chain, Some(&roots));
            let bound = verdict.unwrap().bound;
            assert!(matches!(bound, Err(Unbound::CardChain(_))), "{bound:?}");
        }
    }
}

#[test]
fn a_certificate_right_below_a_root_that_is_of_no_card_attests_nothing() {
    let made = Made::new();
    let (key, roots) = (made.key.public(), made.roots());
    let no = extension(&[0x55, 0x1d, 0x13], &[0x30, 0]);
    for extensions in [vec![], vec![yubico(FIRMWARE, &[5, 2, 4]), no]] {
        let other = made.root.of(&made.card, &extensions);
        let bound = verdict(&key, made.attestation(), &[other], Some(&roots));
        let bound = bound.unwrap().bound;
        assert!(matches!(bound, Err(Unbound::CardChain(_))), "{bound:?}");
    }
}

#[test]
fn without_roots_or_the_certificate_of_the_card_nothing_is_bound() {
    let made = Made::new();
    let (key, roots) = (made.key.public(), made.roots());
    let bound = |chain: &[Vec<u8>], roots| {
        let attested = verdict(&key, made.attestation(), chain, roots);
        attested.unwrap().bound
    };
    assert_eq!(bound(&[made.whole()], None), Err(Unbound::NoCardRoots));
    assert_eq!(bound(&[], Some(&roots)), Err(Unbound::NoCardCertificate));
    let other = Made::new().roots();
    let bound = bound(&[made.whole()], Some(&other));
    assert!(matches!(bound, Err(Unbound::CardChain(_))), "{bound:?}");
}

#[test]
fn what_was_changed_or_is_about_another_key_is_refused() {
    let made = Made::new();
    let (key, roots, chain) = (made.key.public(), made.roots(), [made.whole()]);
    let other = Key::new("Other").public();
    let swapped = verdict(&other, made.attestation(), &chain, Some(&roots));
    assert_eq!(swapped.unwrap_err(), Refused::OtherKey);
    // Another serial number, behind the card's signature, with roots and without.
    let mut changed = made.attestation();
    let serial = changed.windows(6).position(|w| w == [2, 4, 0, 0x50, 0, 1]);
    changed[serial.unwrap() + 5] ^= 3;
    for roots in [Some(&roots), None] {
        let changed = verdict(&key, changed.clone(), &chain, roots).unwrap_err();
        assert!(matches!(changed, Refused::CardSignature(_)), "{changed:?}");
    }
    // The certificate of a card by which another one has signed.
    let impostor = Key::new(made.card.name);
    let signed = verdict(&key, impostor.of(&made.key, &said()), &chain, Some(&roots));
    let signed = signed.unwrap_err();
    assert!(matches!(signed, Refused::CardSignature(_)), "{signed:?}");
}

#[test]
fn a_certificate_that_says_nothing_of_a_slot_is_no_attestation() {
    let made = Made::new();
    let (key, roots, chain) = (made.key.public(), made.roots(), [made.whole()]);
    let refused = |extensions: &[Vec<u8>]| {
        let certificate = made.card.of(&made.key, extensions);
        verdict(&key, certificate, &chain, Some(&roots)).unwrap_err()
    };
    assert!(matches!(refused(&[]), Refused::NotOfCard(_)));
    assert!(matches!(refused(&said()[..1]), Refused::NotOfCard(_)));
    assert!(matches!(refused(&said()[1..]), Refused::NotOfCard(_)));
    let twice = refused(&[said(), said()].concat());
    let Refused::Certificate { error, .. } = twice else {
        panic!("{twice:?}");
    };
    assert_eq!(error, CertificateError::Twice("the firmware"));
}

#[test]
fn rsa_keys_of_a_firmware_that_makes_weak_ones_are_refused() {
    let made = Made::new();
    let chain = [made.whole()];
    let modulus = [&[0xc5; 255][..], &[1]].concat();
    let rsa = CoseKey::rsa(&modulus, &[1, 0, 1]).unwrap();
    let spki = rsa.to_spki().unwrap();
    for (firmware, weak) in [([4, 3, 4], true), ([4, 3, 5], false), ([5, 2, 4], false)] {
        let extensions = [yubico(FIRMWARE, &firmware), yubico(POLICIES, &[2, 1])];
        let certificate = made.card.certify(&spki, "RSA", &extensions);
        let verdict = verdict(&rsa, certificate, &chain, Some(&made.roots()));
        match weak {
            true => assert_eq!(verdict.unwrap_err(), Refused::Weak(firmware)),
            false => assert_eq!(verdict.unwrap().bound, Ok(Bound::Certificate)),
        }
    }
}
