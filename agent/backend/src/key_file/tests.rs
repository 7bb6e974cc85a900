#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[test]
fn every_vector_is_read_or_refused_as_its_name_says() {
    let mut count = (0, 0);
    for (name, file) in vectors() {
        let read = KeyFile::from_pem(&file);
        match name.split('-').next().unwrap() {
            "accept" | "openssl" | "tools" => {
                let key = read.unwrap_or_else(|e| panic!("{name}: {e}"));
                let again = key.to_pem().unwrap();
                assert_eq!(KeyFile::from_pem(again.as_bytes()), Ok(key), "{name}");
                count.0 += 1;
                continue;
            }
            "malformed" => assert!(matches!(read, Err(KeyFileError::Malformed(_))), "{name}"),
            "unsupported" => assert!(matches!(read, Err(KeyFileError::Unsupported(_))), "{name}"),
            "none" => assert_eq!(read, Err(KeyFileError::NotKeyFile), "{name}"),
            _ => panic!("{name}: what should become of it?"),
        }
        count.1 += 1;
    }
    assert!(count.0 >= 15 && count.1 >= 50, "{count:?}");
}

#[test]
fn what_others_wrote_is_understood() {
    let ec = read("openssl-ec");
    assert_eq!(ec.kind, Kind::Loadable);
    assert_eq!((ec.empty_auth, ec.parent), (true, 0x4000_0001));
    assert_eq!((ec.public.len(), ec.private.len()), (88, 128));
    assert_eq!((ec.policy.len(), &ec.description), (0, &None));
    let auth = read("openssl-ec-auth");
    assert!(!auth.empty_auth);
    assert_eq!(read("openssl-ec-srk").parent, 0x8100_0001);
    assert_eq!(read("openssl-rsa").public.len(), 280);
    let sealed = read("tools-sealed");
    assert_eq!((sealed.empty_auth, sealed.parent), (false, 0x8100_0001));
    assert_eq!(read("accept-sealed").kind, Kind::Sealed);
    assert!(!read("accept-no-empty-auth").empty_auth);
    let policy = read("accept-policy-and-description");
    assert_eq!(policy.description.as_deref(), Some("Schlüssel\n2"));
    let codes: Vec<_> = policy.policy.iter().map(|c| c.code).collect();
    assert_eq!(codes, [0x17f, 0x16b]);
    assert_eq!(policy.policy[0].parameters.len(), 12);
    assert_eq!(policy.policy[1].parameters, b"");
}

/// The vector was made by another implementation from the same parts.
#[test]
fn what_is_written_is_strict_der() {
    for name in ["accept-strict", "accept-policy-and-description"] {
        let file = std::fs::read_to_string(folder().join(format!("{name}.pem"))).unwrap();
        assert_eq!(read(name).to_pem().unwrap(), file, "{name}");
    }
}

#[test]
fn what_would_not_be_read_again_is_not_written() {
    let key = read("openssl-ec");
    let refused = |change: &dyn Fn(&mut KeyFile)| {
        let mut key = key.clone();
        change(&mut key);
        assert!(matches!(key.to_pem(), Err(KeyFileError::Malformed(_))));
    };
    refused(&|key| key.public.push(0));
    refused(&|key| key.private.clear());
    refused(&|key| key.parent = 0x8000_0000);
    refused(&|key| key.description = Some("x".repeat(KeyFile::MAX_LENGTH)));
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(key in key()) {
        let pem = key.to_pem().unwrap();
        prop_assert_eq!(KeyFile::from_pem(format!("text\n{pem}").as_bytes()), Ok(key));
    }

    #[test]
    fn a_changed_byte_never_panics(key in key(), at: prop::sample::Index, byte: u8) {
        let mut pem = key.to_pem().unwrap().into_bytes();
        let at = at.index(pem.len());
        pem[at] = byte;
        let _ = KeyFile::from_pem(&pem);
    }
}

fn key() -> impl Strategy<Value = KeyFile> {
    let command = (any::<u32>(), vec(any::<u8>(), 0..80));
    let command = command.prop_map(|(code, parameters)| PolicyCommand { code, parameters });
    let parent = prop_oneof![0x4000_0000..=0x40ff_ffff_u32, 0x8100_0000..=0x81ff_ffff_u32];
    (
        any::<bool>(),
        any::<bool>(),
        parent,
        vec(any::<u8>(), 1..700),
        vec(any::<u8>(), 1..700),
        vec(command, 0..4),
        any::<Option<String>>(),
    )
        .prop_map(
            |(sealed, empty_auth, parent, public, private, policy, text)| KeyFile {
                kind: if sealed { Kind::Sealed } else { Kind::Loadable },
                empty_auth,
                parent,
                public: sized(&public),
                private: sized(&private),
                policy,
                description: text,
            },
        )
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    let size = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    [&size, bytes].concat()
}

fn read(name: &str) -> KeyFile {
    let file = std::fs::read(folder().join(format!("{name}.pem"))).unwrap();
    KeyFile::from_pem(&file).unwrap()
}

fn vectors() -> Vec<(String, Vec<u8>)> {
    let files = std::fs::read_dir(folder()).unwrap();
    let paths = files.map(|entry| entry.unwrap().path());
    let pem = paths.filter(|path| path.extension().is_some_and(|e| e == "pem"));
    pem.map(|path| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read(&path).unwrap())
    })
    .collect()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/tss2")
}
