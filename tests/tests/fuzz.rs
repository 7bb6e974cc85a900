//! The fuzz targets on their corpora and on every vector of the protocol, without a fuzzer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

#[path = "../../protocol/vectors/read.rs"]
mod read;
#[allow(unreachable_pub)]
#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::path::{Path, PathBuf};

use keyward_backend::error::BackendError;
use keyward_backend::message::{
    Activate, Adopt, Answer, Attest, Call, ChangePin, Credential, Derive, Expected, Generate,
    Import, Mac, Outcome, Place, ScanPage, ScannedKey, Seal, Sealed, Sign, SourceIdentity, Unseal,
    Unwrap, Work, Wrap,
};
use keyward_backend::pcr::{Approval, Approve, Binding, BoundReport, BoundTo, MakeBound, PcrValue};
use keyward_backend::start::{Hardware, SandboxLists, SocketKinds, Start};
use keyward_backend::token::{
    KeyReport, PinTries, Protection, TokenIdentity, TokenReport, VersionId,
};
use keyward_protocol::attestation::{Identity, Statement, TpmIdentity, TpmStatement};
use keyward_protocol::backup::Content;
use keyward_protocol::operation::{KeyMaterial, SignInput};
use keyward_protocol::{Algorithm, CoseKey, KeyType, Purpose, SecretBytes, cbor};

use read::unhex;

type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 13] = [
    ("client_message", targets::client_message),
    ("server_message", targets::server_message),
    ("frame_reader", targets::frame_reader),
    ("spki", targets::spki),
    ("worker_packets", targets::worker_packets),
    ("backup", targets::backup),
    ("ciphertext", targets::ciphertext),
    ("age_header", targets::age_header),
    ("tss2_key_file", targets::tss2_key_file),
    ("tcti", targets::tcti),
    ("attestation", targets::attestation),
    ("piv_answer", targets::piv_answer),
    ("virtual_piv_apdu", targets::virtual_piv_apdu),
];

#[test]
fn every_target_takes_its_corpus() {
    for (name, target) in TARGETS {
        let folder = here().join("fuzz/corpus").join(name);
        let seeds = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let mut count = 0;
        for seed in seeds.filter(|path| path.is_file()) {
            target(&std::fs::read(&seed).unwrap());
            count += 1;
        }
        assert!(count > 0, "{} is empty", folder.display());
    }
}

#[test]
fn every_target_takes_every_vector_and_what_is_left_of_it_when_cut() {
    let mut count = 0;
    for bytes in vectors() {
        for (_, target) in TARGETS {
            target(&bytes);
            for end in (0..bytes.len()).step_by(bytes.len() / 64 + 1) {
                target(&bytes[..end]);
            }
        }
        count += 1;
    }
    assert!(count > 500, "only {count} vectors");
}

#[test]
fn worker_packets_are_what_its_seeds_hold() {
    for (name, packet) in packets() {
        let seed = here().join(format!("fuzz/corpus/worker_packets/seed-{name}"));
        if std::env::var_os("KEYWARD_WRITE_SEEDS").is_some() {
            std::fs::create_dir_all(seed.parent().unwrap()).unwrap();
            std::fs::write(&seed, &packet).unwrap();
        }
        targets::worker_packets(&packet);
        assert_eq!(std::fs::read(&seed).unwrap(), packet, "{name}");
    }
}

/// Packets of each kind, as they are on the socket.
fn packets() -> Vec<(String, Vec<u8>)> {
    let id = VersionId::from(uuid::Uuid::from_bytes([7; 16]));
    let identity = TokenIdentity {
        manufacturer: "SoftHSM project".into(),
        model: "SoftHSM v2".into(),
        serial: "0123".into(),
    };
    let works = [
        Work::Open {
            pinned: Some(identity.clone()),
        },
        Work::Open { pinned: None },
        Work::Login(Credential::Given(SecretBytes::copy_from(b"1234"))),
        Work::Login(Credential::File(SourceIdentity {
            device: 1,
            inode: 2,
            size: 3,
            modified: 4,
            changed: -5,
        })),
        Work::Login(Credential::Remembered),
        Work::Logout,
        Work::Generate(Generate {
            id,
            label: "k".into(),
            key_type: KeyType::P256,
            purpose: Purpose::Sign,
            piv: None,
        }),
        Work::Inspect(id),
        Work::Destroy(id),
        Work::Sign(Sign {
            id,
            algorithm: Algorithm::Esp256,
            input: SignInput::Digest(vec![1; 32]),
        }),
        Work::Unwrap(Unwrap {
            id,
            algorithm: Algorithm::RsaOaepSha256,
            ciphertext: vec![1; 256].into(),
            label: vec![].into(),
        }),
        Work::Derive(Derive {
            id,
            peer: CoseKey::P256 {
                x: [1; 32],
                y: [2; 32],
            },
        }),
        Work::Random(32),
        Work::Import(Import {
            generate: Generate {
                id,
                label: "k".into(),
                key_type: KeyType::Aes256,
                purpose: Purpose::Wrap,
                piv: None,
            },
            material: KeyMaterial::Secret(KeyType::Aes256, SecretBytes::copy_from(&[1; 32])),
        }),
        Work::Seal(Seal {
            id,
            algorithm: Algorithm::A256Gcm,
            iv: [1; 12].into(),
            aad: vec![2; 8].into(),
            plaintext: SecretBytes::copy_from(&[3; 16]),
        }),
        Work::Unseal(Unseal {
            id,
            algorithm: Algorithm::A256Gcm,
            iv: [1; 12].into(),
            aad: vec![2; 8].into(),
            ciphertext: vec![3; 32].into(),
        }),
        Work::Wrap(Wrap {
            id,
            algorithm: Algorithm::A256Kwp,
            plaintext: SecretBytes::copy_from(&[3; 16]),
        }),
        Work::Mac(Mac {
            id,
            algorithm: Algorithm::HmacSha256,
            message: SecretBytes::copy_from(b"message"),
        }),
        Work::ChangePin(ChangePin {
            old: SecretBytes::copy_from(b"1234"),
            new: SecretBytes::copy_from(b"5678"),
        }),
        Work::Scan(None),
        Work::Scan(Some(id)),
        Work::Place(Place {
            id,
            blob: vec![6; 40].into(),
        }),
        Work::Attest(Attest {
            id,
            qualifying_data: [1; 32].into(),
        }),
        Work::AttestationKey,
        Work::Activate(Activate {
            credential: vec![1; 68].into(),
            secret: vec![2; 68].into(),
        }),
        Work::MakeBound(MakeBound {
            generate: Generate {
                id,
                label: "k".into(),
                key_type: KeyType::Data,
                purpose: Purpose::Seal,
                piv: None,
            },
            binding: Binding {
                values: pcr_values(),
                approval: Some(Approval {
                    authority: recovery_key(),
                    signature: vec![3; 64].into(),
                }),
            },
            material: Some(KeyMaterial::Secret(
                KeyType::Data,
                SecretBytes::copy_from(b"data"),
            )),
        }),
        Work::MakeBound(MakeBound {
            generate: Generate {
                id,
                label: "k".into(),
                key_type: KeyType::P256,
                purpose: Purpose::Sign,
                piv: None,
            },
            binding: Binding {
                values: pcr_values(),
                approval: None,
            },
            material: None,
        }),
        Work::ReadPcrs(vec![7, 11]),
        Work::Bound(id),
        Work::Approve(Approve {
            id,
            values: pcr_values(),
            signature: vec![3; 64].into(),
            drop_old: true,
        }),
        Work::UnsealData(id),
        Work::Adopt(Adopt {
            generate: Generate {
                id,
                label: "k".into(),
                key_type: KeyType::P256,
                purpose: Purpose::Sign,
                piv: None,
            },
            place: "0x81000010".into(),
        }),
    ];
    let report = TokenReport {
        identity,
        label: "main".into(),
        login_required: true,
        logged_in: false,
        pin_tries: PinTries::Low,
        algorithms: Algorithm::ALL.to_vec(),
        key_types: KeyType::ALL.to_vec(),
        protections: vec![Protection {
            name: "landlock".into(),
            holds: true,
            detail: None,
        }],
        lockout_seconds: Some(1000),
        warnings: vec!["its PIN is the one of the factory".into()],
        hides_keys: true,
    };
    let key = KeyReport {
        public: Some(CoseKey::Ed25519 { x: [3; 32] }),
        locator: "pkcs11:token=main".into(),
        local: true,
        always_sensitive: true,
        never_extractable: true,
        key_type: Some(KeyType::Ed25519),
        blob: Some(vec![6; 40].into()),
        bound: None,
    };
    let outcomes = [
        Outcome::Failed(BackendError::UnwrapFailed),
        Outcome::Failed(BackendError::TokenAbsent("x".into())),
        Outcome::Done,
        Outcome::Overwritten,
        Outcome::Token(report),
        Outcome::Key(Some(key)),
        Outcome::Key(None),
        Outcome::Signature(vec![1; 64].into()),
        Outcome::Secret(SecretBytes::copy_from(&[9; 32])),
        Outcome::Sealed(Sealed {
            iv: [1; 12].into(),
            ciphertext: vec![3; 32].into(),
        }),
        Outcome::Wrapped(vec![4; 24].into()),
        Outcome::Mac(vec![5; 32].into()),
        Outcome::Keys(ScanPage {
            keys: vec![ScannedKey {
                id,
                label: "k".into(),
            }],
            more: true,
            foreign: 1,
        }),
        Outcome::Attested(Statement::Tpm(TpmStatement {
            public: vec![1; 88].into(),
            attest: vec![2; 145].into(),
            signature: vec![3; 72].into(),
            key: tpm_identity(),
            chain: vec![],
        })),
        Outcome::AttestationKey(Identity::Tpm(tpm_identity())),
        Outcome::Pcrs(pcr_values()),
        Outcome::Bound(None),
        Outcome::Bound(Some(BoundReport {
            approved: vec![pcr_values(), pcr_values()],
            current: pcr_values(),
            authority: Some(recovery_key()),
        })),
        Outcome::Key(Some(KeyReport {
            public: None,
            locator: "tpm:name=000b".into(),
            local: false,
            always_sensitive: false,
            never_extractable: false,
            key_type: Some(KeyType::Data),
            blob: Some(vec![6; 40].into()),
            bound: Some(BoundTo {
                pcrs: vec![7, 11],
                authority: Some(recovery_key()),
            }),
        })),
        Outcome::Failed(BackendError::PcrMismatch("PCR 7 is".into())),
        Outcome::Failed(BackendError::KeyChanged("x".into())),
    ];
    let pkcs11 = Hardware::Pkcs11 {
        module: "/usr/lib/m.so".into(),
        uri: "pkcs11:token=main".into(),
    };
    let tpm = Hardware::Tpm {
        tcti: "device:/dev/tpmrm0".into(),
        keys: "/var/lib/keyward/tpm/main".into(),
    };
    let start = |hardware| Start {
        token: "main".into(),
        hardware,
        threads: 2,
        spin_us: 60,
        sandbox: SandboxLists {
            read: vec!["/usr".into()],
            write: vec![],
            sockets: SocketKinds::None,
            enforce: true,
        },
        pin_file: Some("/run/pin".into()),
        remembered_pin: Some(SecretBytes::copy_from(b"1234")),
    };
    let calls = works.into_iter().zip(1..).map(|(work, id)| {
        (
            format!("call-{id:02}"),
            cbor::encode(&Call {
                id,
                work,
                expected: None,
            }),
        )
    });
    let answers = outcomes.into_iter().zip(1..).map(|(outcome, id)| {
        (
            format!("answer-{id:02}"),
            cbor::encode(&Answer { id, outcome }),
        )
    });
    let expecting = Call {
        id: 7,
        work: Work::Bound(id),
        expected: Some(Expected {
            locator: "tpm:handle=0x81000010;name=000b".into(),
            thumbprint: Some([7; 32].into()),
        }),
    };
    calls
        .chain(answers)
        .chain([("call-expecting".to_owned(), cbor::encode(&expecting))])
        .chain([
            ("start".to_owned(), cbor::encode(&start(pkcs11))),
            ("start-tpm".to_owned(), cbor::encode(&start(tpm))),
        ])
        .collect()
}

/// `tests/fuzz/corpora` writes them.
#[test]
fn the_seeds_of_messages_are_the_newest_vectors() {
    for (target, file) in [
        ("client_message", "requests"),
        ("server_message", "replies"),
    ] {
        let vectors: Vec<serde_json::Value> = read::vectors(&format!("{file}.json"));
        let accepted = vectors.iter();
        let accepted = accepted.filter(|v| v["outcome"] == "accept" && v["same"] != false);
        let mut count = 0;
        for (vector, number) in accepted.zip(0..) {
            let seed = format!("fuzz/corpus/{target}/seed-{file}-{number:02}");
            let seed = std::fs::read(here().join(&seed)).expect(&seed);
            assert!(
                seed == unhex(vector["hex"].as_str().unwrap()),
                "{}",
                vector["name"]
            );
            count += 1;
        }
        assert!(count > 15, "{file}");
    }
}

fn pcr_values() -> Vec<PcrValue> {
    let value = |pcr| PcrValue {
        pcr,
        value: [pcr; 32].into(),
    };
    vec![value(7), value(11)]
}

fn recovery_key() -> CoseKey {
    CoseKey::P256 {
        x: [1; 32],
        y: [2; 32],
    }
}

fn tpm_identity() -> TpmIdentity {
    TpmIdentity {
        ak: vec![1; 88].into(),
        ek: Some(vec![2; 122].into()),
        ek_certificates: vec![vec![3; 20].into()],
    }
}

#[test]
fn a_backup_that_another_implementation_wrote_is_read() {
    let seed = here().join("fuzz/corpus/backup/seed-document");
    let content = Content::from_document(&std::fs::read(seed).unwrap()).unwrap();
    assert_eq!((content.keys.len(), content.blobs.len()), (1, 1));
}

#[test]
fn every_fuzz_target_is_tested_here() {
    let folder = std::fs::read_dir(here().join("fuzz/fuzz_targets")).unwrap();
    let mut files: Vec<_> = folder
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    files.sort();
    let mut names = TARGETS.map(|(name, _)| name.to_owned());
    names.sort();
    assert_eq!(files, names);
}

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn vectors() -> Vec<Vec<u8>> {
    let folder = here().join("../protocol/vectors");
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let json = files.filter(|path| path.extension().is_some_and(|e| e == "json"));
    json.flat_map(|path| vectors_of(&path)).collect()
}

fn vectors_of(path: &Path) -> Vec<Vec<u8>> {
    let vectors: Vec<serde_json::Value> =
        read::vectors(path.file_name().unwrap().to_str().unwrap());
    let hex = vectors.iter().map(|v| v["hex"].as_str().unwrap());
    hex.map(unhex).collect()
}
