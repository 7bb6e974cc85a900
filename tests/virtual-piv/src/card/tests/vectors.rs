//! The parsers on the vectors in `vectors/`.

use std::path::Path;

use serde::Deserialize;

use super::super::apdu::Command;
use super::*;

#[derive(Deserialize)]
struct File {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    hex: String,
    outcome: Outcome,
    data: Option<String>,
    expected: Option<usize>,
    objects: Option<Vec<(String, String)>>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Accept,
    Reject,
}

/// The vectors of a file, of which at least half must be refused.
fn vectors(file: &str) -> Vec<Vector> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    let vectors = serde_json::from_str::<File>(&text).unwrap().vectors;
    let rejects = vectors.iter().filter(|v| v.outcome == Outcome::Reject);
    assert!(rejects.count() * 2 >= vectors.len());
    vectors
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "an odd number of digits");
    let digits = |i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digits).collect()
}

#[test]
fn commands_are_taken_apart_as_the_vectors_say() {
    for vector in vectors("apdu.json") {
        let bytes = unhex(&vector.hex);
        let parsed = Command::parse(&bytes);
        let Some(command) = parsed else {
            assert_eq!(vector.outcome, Outcome::Reject, "{}", vector.name);
            continue;
        };
        assert_eq!(vector.outcome, Outcome::Accept, "{}", vector.name);
        assert_eq!(Some(hex(command.data)), vector.data, "{}", vector.name);
        assert_eq!(Some(command.expected), vector.expected, "{}", vector.name);
        let header = [command.class, command.instruction, command.p1, command.p2];
        assert_eq!(header, bytes[..4], "{}", vector.name);
    }
}

#[test]
fn a_card_refuses_the_commands_that_the_vectors_refuse() {
    let card = Terminal::of(Model::YubiKey5);
    for vector in vectors("apdu.json") {
        let answer = card.card.transmit(card.insertion, &unhex(&vector.hex));
        let refused = answer.unwrap() == [0x67, 0x00];
        assert_eq!(
            refused,
            vector.outcome == Outcome::Reject,
            "{}",
            vector.name
        );
    }
}

#[test]
fn data_objects_are_taken_apart_as_the_vectors_say() {
    for vector in vectors("tlv.json") {
        let bytes = unhex(&vector.hex);
        let Some(objects) = tlv::parse(&bytes) else {
            assert_eq!(vector.outcome, Outcome::Reject, "{}", vector.name);
            continue;
        };
        assert_eq!(vector.outcome, Outcome::Accept, "{}", vector.name);
        let objects = objects
            .iter()
            .map(|object| (format!("{:x}", object.tag), hex(object.value)));
        assert_eq!(Some(objects.collect()), vector.objects, "{}", vector.name);
    }
}
