//! The parsers of what PIV cards answer, on vectors that `vectors/generate.py` writes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::HashMap;

use keyward_worker::piv::certificate::{self, attested_policies};
use keyward_worker::piv::identity::{Version, by_chuid, serial};
use keyward_worker::piv::management_key::{AdminData, protected_key};
use keyward_worker::piv::metadata::{
    ManagementMetadata, PinMetadata, SlotMetadata, pin_number, touch_number,
};
use keyward_worker::piv::note::Note;
use keyward_worker::piv::signature::ecdsa;

fn accepts(parser: &str, bytes: &[u8]) -> bool {
    match parser {
        "slot-metadata" => SlotMetadata::parse(bytes).is_ok(),
        "pin-metadata" => PinMetadata::parse(bytes).is_ok(),
        "management-metadata" => ManagementMetadata::parse(bytes).is_ok(),
        "certificate-object" => {
            let der = certificate::unpack(bytes);
            der.and_then(certificate::public_key).is_ok()
        }
        "certificate" => certificate::public_key(bytes).is_ok(),
        "chuid" => by_chuid(bytes).is_some(),
        "note" => Note::parse(bytes).is_ok_and(|note| note.to_object().starts_with(&bytes[..1])),
        "admin-data" => AdminData::parse(bytes).is_ok(),
        "protected-key" => protected_key(bytes).is_ok(),
        "ecdsa" => ecdsa(bytes).is_ok(),
        "version" => Version::parse(bytes).is_some(),
        "serial" => serial(bytes).is_some(),
        other => panic!("no parser {other}"),
    }
}

#[test]
fn every_vector_is_taken_or_refused_as_it_says() {
    let (mut taken, mut refused) = (HashMap::<String, u32>::new(), 0);
    for vector in vectors() {
        let text = |field: &str| vector[field].as_str().unwrap().to_owned();
        let (parser, name) = (text("parser"), text("name"));
        let accepted = accepts(&parser, &unhex(&text("hex")));
        assert_eq!(accepted, text("outcome") == "accept", "{parser} {name}");
        match accepted {
            true => *taken.entry(parser).or_default() += 1,
            false => refused += 1,
        }
    }
    assert!(refused >= taken.values().sum::<u32>());
    assert_eq!(taken.len(), 12, "each parser takes something");
}

#[test]
fn an_attestation_says_the_policies_of_its_key() {
    let of = |wanted: &str| {
        let vector = vectors()
            .into_iter()
            .find(|vector| vector["name"] == wanted)
            .unwrap();
        let der = unhex(vector["hex"].as_str().unwrap());
        let policies = attested_policies(&der).unwrap();
        policies.map(|(pin, touch)| (pin_number(pin), touch_number(touch)))
    };
    assert_eq!(of("attestation"), Some((2, 3)));
    assert_eq!(of("version-1"), None);
}

fn vectors() -> Vec<serde_json::Value> {
    serde_json::from_str(include_str!("vectors/piv.json")).unwrap()
}

fn unhex(hex: &str) -> Vec<u8> {
    let pairs = hex
        .as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).unwrap());
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}
