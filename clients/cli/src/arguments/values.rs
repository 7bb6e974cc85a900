//! Values on the command line: names that help can list and a typo can be held against.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use keyward_protocol::{Algorithm, Format, KeyState, KeyType, Purpose};

/// Bytes of hexadecimal digits: clap would take a plain `Vec` for many values.
pub(crate) type Hex = std::vec::Vec<u8>;

/// A parser of names that help can list and a typo can be held against.
fn named<T: Clone + Send + Sync + 'static>(
    names: Vec<String>,
    value: fn(&str) -> Option<T>,
) -> impl TypedValueParser<Value = T> {
    let names: Vec<&'static str> = names.into_iter().map(|name| &*name.leak()).collect();
    PossibleValuesParser::new(names).try_map(move |name| value(&name).ok_or("it has no value"))
}

/// The purposes of keys; data is sealed by a command of its own.
pub(super) fn purposes() -> impl TypedValueParser<Value = Purpose> {
    named(
        Purpose::ALL
            .iter()
            .filter(|purpose| **purpose != Purpose::Seal)
            .map(ToString::to_string)
            .collect(),
        Purpose::from_name,
    )
}

pub(super) fn formats() -> impl TypedValueParser<Value = Format> {
    named(
        Format::ALL.iter().map(ToString::to_string).collect(),
        Format::from_name,
    )
}

pub(super) fn states() -> impl TypedValueParser<Value = KeyState> {
    named(
        KeyState::ALL.iter().map(ToString::to_string).collect(),
        KeyState::from_name,
    )
}

pub(super) fn key_types() -> impl TypedValueParser<Value = KeyType> {
    types(|key_type| *key_type != KeyType::Data)
}

/// The types of secret keys.
pub(super) fn secret_types() -> impl TypedValueParser<Value = KeyType> {
    types(|key_type| key_type.secret_length().is_some())
}

/// Names without dashes; with them they are understood too.
fn types(wanted: fn(&KeyType) -> bool) -> impl TypedValueParser<Value = KeyType> {
    let name = |key_type: KeyType| key_type.name().replace('-', "").to_ascii_lowercase();
    let names = KeyType::ALL.into_iter().filter(wanted);
    let names = names.flat_map(|t| {
        let (plain, dashed) = (name(t), t.name().to_ascii_lowercase());
        let dashed = (dashed != plain).then_some(dashed);
        let dashed = dashed.map(|dashed| PossibleValue::new(&*dashed.leak()).hide(true));
        [Some(PossibleValue::new(&*plain.leak())), dashed]
    });
    let names: Vec<PossibleValue> = names.flatten().collect();
    PossibleValuesParser::new(names)
        .try_map(|name| KeyType::from_name(&name).ok_or("it has no value"))
}

/// The algorithms that keys of these purposes can have.
pub(super) fn algorithms(purposes: &[Purpose]) -> impl TypedValueParser<Value = Algorithm> {
    let can = |algorithm: &Algorithm| {
        let types = KeyType::ALL.into_iter();
        let mut pairs = types.flat_map(|t| purposes.iter().map(move |p| p.algorithms(t)));
        pairs.any(|algorithms| algorithms.contains(algorithm))
    };
    let names = Algorithm::ALL.into_iter().filter(can);
    PossibleValuesParser::new(names.map(Algorithm::name))
        .try_map(|name| Algorithm::from_name(&name).ok_or("it has no number"))
}

pub(super) fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("not NAME=VALUE".into()),
    }
}

pub(super) fn tag_filter(text: &str) -> Result<(String, Option<String>), String> {
    match text.split_once('=') {
        None if !text.is_empty() => Ok((text.into(), None)),
        _ => tag(text).map(|(name, value)| (name, Some(value))),
    }
}
