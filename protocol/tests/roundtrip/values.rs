//! What requests and answers are made of.

use keyward_protocol::{Algorithm, CoseKey, KeyType, SecretBytes};
use minicbor::bytes::ByteVec;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;

pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{0,5}", ".{0,300}"]
}

pub(crate) fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..30), vec(any::<u8>(), 0..700)]
}

pub(crate) fn byte_vec() -> impl Strategy<Value = ByteVec> {
    bytes().prop_map(ByteVec::from)
}

pub(crate) fn secret() -> impl Strategy<Value = SecretBytes> {
    bytes().prop_map(|bytes| SecretBytes::copy_from(&bytes))
}

pub(crate) fn tags() -> impl Strategy<Value = std::collections::BTreeMap<String, String>> {
    btree_map(text(), text(), 0..8)
}

pub(crate) fn algorithm() -> impl Strategy<Value = Algorithm> {
    select(&Algorithm::ALL[..])
}

pub(crate) fn key_type() -> impl Strategy<Value = KeyType> {
    select(&KeyType::ALL[..])
}

pub(crate) fn cose_key() -> impl Strategy<Value = CoseKey> {
    let rsa = (128_usize..300, vec(any::<u8>(), 300), 1_u32..).prop_map(|(length, mut n, e)| {
        n.truncate(length);
        n[0] |= 1;
        n[length - 1] |= 1;
        CoseKey::rsa(&n, &(e | 3).to_be_bytes()).unwrap()
    });
    prop_oneof![
        any::<([u8; 32], [u8; 32])>().prop_map(|(x, y)| CoseKey::P256 { x, y }),
        (vec(any::<u8>(), 48), vec(any::<u8>(), 48))
            .prop_map(|(x, y)| CoseKey::ec2(&x, &y).unwrap()),
        any::<[u8; 32]>().prop_map(|x| CoseKey::Ed25519 { x }),
        rsa,
    ]
}
