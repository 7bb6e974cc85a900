//! Envelope encryption: AES in the token, HPKE and RSA-OAEP with one operation of the token.

use std::collections::{BTreeMap, HashSet};

use keyward_client::{
    Client, Error,
    protocol::{
        Algorithm, ErrorCode, KeyType, Purpose, SecretBytes,
        ciphertext::{Body, Ciphertext, Context, Header, Scheme},
        operation::{
            Decrypt, Decrypted, Ecdh, Encrypt, Encrypted, GenerateDataKey, GetPublicKey, HpkeOpen,
            ReEncrypt, Unwrap,
        },
    },
};
use keyward_seal::Suite;
use keyward_tests::{Daemon, Setup, request::refused};
use uuid::Uuid;

const KINDS: [KeyType; 4] = [
    KeyType::Aes128,
    KeyType::Aes256,
    KeyType::P256,
    KeyType::Rsa2048,
];

fn context(pairs: &[(&str, &str)]) -> Option<BTreeMap<String, String>> {
    let pairs = pairs.iter();
    Some(pairs.map(|(n, v)| ((*n).into(), (*v).into())).collect())
}

fn encrypt(key: &str, plaintext: &[u8], pairs: &[(&str, &str)]) -> Encrypt {
    Encrypt {
        key: key.into(),
        plaintext: SecretBytes::copy_from(plaintext),
        context: context(pairs),
        algorithm: None,
    }
}

fn decrypt(ciphertext: &[u8], pairs: &[(&str, &str)]) -> Decrypt {
    Decrypt {
        ciphertext: ciphertext.to_vec().into(),
        key: None,
        context: context(pairs),
    }
}

#[track_caller]
fn sealed(daemon: &Daemon, key: &str, plaintext: &[u8], pairs: &[(&str, &str)]) -> Encrypted {
    let made = daemon.client().call(encrypt(key, plaintext, pairs));
    made.unwrap_or_else(|error| panic!("{error:?}\n{}", daemon.stderr()))
}

#[test]
fn each_kind_of_key_opens_what_it_encrypted_with_the_same_context_and_no_other() {
    let daemon = Daemon::start(Setup::new());
    let mut client = daemon.client();
    for kind in KINDS {
        let key = daemon.create(kind.name(), Purpose::Encrypt, kind);
        for plaintext in [&b""[..], b"secret", &[7; 4096]] {
            let made = sealed(
                &daemon,
                kind.name(),
                plaintext,
                &[("tenant", "a"), ("n", "1")],
            );
            assert_eq!((made.key.as_str(), made.version), (key.id.as_str(), 1));
            let blob = Ciphertext::decode(&made.ciphertext).expect("COSE of keyward's form");
            assert_eq!(blob.kid().to_string(), key.id);
            assert_eq!(Some(blob.scheme()), Scheme::of(key.algorithms[0]));
            for named in [None, Some(kind.name().to_owned())] {
                let request = Decrypt {
                    key: named,
                    ..decrypt(&made.ciphertext, &[("n", "1"), ("tenant", "a")])
                };
                let opened = client.call(request).expect("it opens");
                assert_eq!(opened.plaintext.expose(), plaintext);
                assert_eq!((opened.key.as_str(), opened.version), (key.id.as_str(), 1));
            }
            for wrong in [
                &[][..],
                &[("tenant", "a")],
                &[("tenant", "b"), ("n", "1")],
                &[("tenant", "1"), ("n", "a")],
                &[("tenant", "a"), ("n", "1"), ("m", "")],
            ] {
                let failure = refused(client.call(decrypt(&made.ciphertext, wrong)));
                assert_eq!(failure.code, ErrorCode::UnwrapFailed, "{kind} {wrong:?}");
            }
        }
    }
}

/// Everything that is told of a failure, but the number of its record.
fn told(result: Result<Decrypted, Error>) -> (ErrorCode, String, Option<String>) {
    let failure = refused(result);
    (failure.code, failure.message, failure.hint)
}

/// The same ciphertext with another header.
fn relabelled(blob: &Ciphertext, kid: Uuid, version: u32) -> Vec<u8> {
    let header = Header::new(blob.scheme(), kid, version).unwrap();
    let content = blob.content().to_vec();
    let relabelled = Ciphertext::new(header, blob.body().clone(), content);
    relabelled.unwrap().encode()
}

#[test]
fn whatever_is_wrong_with_what_is_decrypted_the_answer_is_the_same() {
    for kind in KINDS {
        let daemon = Daemon::start(Setup::new());
        let key = daemon.create("k", Purpose::Encrypt, kind);
        let other = daemon.create("other", Purpose::Encrypt, kind);
        let signer = daemon.create("signer", Purpose::Sign, KeyType::P256);
        let made = sealed(&daemon, "k", b"secret", &[("a", "b")]).ciphertext;
        let blob = Ciphertext::decode(&made).unwrap();
        let uuid = |text: &str| Uuid::try_parse(text).unwrap();
        let mut wrongs = vec![
            Vec::new(),
            b"no ciphertext".to_vec(),
            vec![0xd0; 20_000],
            made[..made.len() - 1].to_vec(),
            [&made[..], &[0]].concat(),
            relabelled(&blob, uuid(&key.id), 2),
            relabelled(&blob, uuid(&other.id), 1),
            relabelled(&blob, uuid(&signer.id), 1),
            relabelled(&blob, Uuid::from_u128(4711), 1),
        ];
        for position in (0..made.len()).step_by(made.len() / 24) {
            let mut flipped = made.to_vec();
            flipped[position] ^= 1 << (position % 8);
            wrongs.push(flipped);
        }
        let mut client = daemon.client();
        let expected = (
            ErrorCode::UnwrapFailed,
            "the ciphertext does not open".to_owned(),
            None,
        );
        let count = wrongs.len() + 3;
        for wrong in wrongs {
            let answer = told(client.call(decrypt(&wrong, &[("a", "b")])));
            assert_eq!(answer, expected, "{kind}");
        }
        assert_eq!(told(client.call(decrypt(&made, &[]))), expected);
        for (name, bytes) in [("other", &made[..]), ("k", b"no ciphertext")] {
            let named = Decrypt {
                key: Some(name.into()),
                ..decrypt(bytes, &[("a", "b")])
            };
            assert_eq!(told(client.call(named)), expected);
        }
        client
            .call(decrypt(&made, &[("a", "b")]))
            .expect("the right one opens");
        let records = daemon.audit();
        let failed = records.iter().filter(|r| r["outcome"] == "unwrap-failed");
        assert!(
            failed
                .clone()
                .all(|r| r["kind"] == "use" && r["digest"].is_string())
        );
        assert!(failed.clone().all(|r| r["detail"].is_null()));
        assert_eq!(failed.count(), count, "{records:#?}");
    }
}

#[test]
fn who_fails_to_open_too_often_has_to_wait_also_with_a_good_one() {
    let daemon = Daemon::start(Setup::new());
    daemon.create("k", Purpose::Encrypt, KeyType::Aes256);
    let good = sealed(&daemon, "k", b"secret", &[]).ciphertext;
    let mut client = daemon.client();
    for _ in 0..100 {
        let failure = refused(client.call(decrypt(b"garbage", &[])));
        assert_eq!(failure.code, ErrorCode::UnwrapFailed);
    }
    let failure = refused(client.call(decrypt(&good, &[])));
    assert_eq!(failure.code, ErrorCode::Busy, "{failure}");
    let failure = refused(client.call(ReEncrypt {
        ciphertext: good.clone(),
        source_key: None,
        source_context: None,
        key: None,
        context: None,
    }));
    assert_eq!(failure.code, ErrorCode::Busy, "{failure}");
    sealed(&daemon, "k", b"what opens nothing goes on", &[]);
}

#[test]
fn what_is_wrong_with_a_request_is_said() {
    let daemon = Daemon::start(Setup::new());
    daemon.create("k", Purpose::Encrypt, KeyType::Aes256);
    daemon.create("point", Purpose::Encrypt, KeyType::P256);
    daemon.create("signer", Purpose::Sign, KeyType::P256);
    let mut client = daemon.client();
    let code = |result: Result<_, Error>| refused(result).code;
    assert_eq!(
        code(client.call(encrypt("k", &[0; 4097], &[]))),
        ErrorCode::Invalid
    );
    assert_eq!(
        code(client.call(encrypt("k", b"", &[("", "v")]))),
        ErrorCode::Invalid
    );
    let long = "v".repeat(513);
    assert_eq!(
        code(client.call(encrypt("k", b"", &[("n", &long)]))),
        ErrorCode::Invalid
    );
    assert_eq!(
        code(client.call(encrypt("nobody", b"", &[]))),
        ErrorCode::NotFound
    );
    assert_eq!(
        code(client.call(encrypt("signer", b"", &[]))),
        ErrorCode::WrongPurpose
    );
    let other = Encrypt {
        algorithm: Some(Algorithm::A128Gcm),
        ..encrypt("k", b"", &[])
    };
    assert_eq!(code(client.call(other)), ErrorCode::MechanismInvalid);
    let named = |key: &str| Decrypt {
        key: Some(key.into()),
        ..decrypt(b"", &[])
    };
    for (key, expected) in [
        ("nobody", ErrorCode::NotFound),
        ("signer", ErrorCode::WrongPurpose),
    ] {
        assert_eq!(refused(client.call(named(key))).code, expected);
    }
    for length in [0, 1025] {
        let request = GenerateDataKey {
            key: "k".into(),
            context: None,
            length: Some(length),
            with_plaintext: true,
        };
        assert_eq!(refused(client.call(request)).code, ErrorCode::Invalid);
    }
    // A key that opens HPKE does nothing else: raw Z would open everything without its context.
    let peer = client.call(GetPublicKey {
        key: "signer".into(),
        version: None,
    });
    let ecdh = Ecdh {
        key: "point".into(),
        peer: peer.unwrap().cose_key,
        kdf: None,
        version: None,
    };
    assert_eq!(refused(client.call(ecdh)).code, ErrorCode::WrongPurpose);
    let unwrap = Unwrap {
        key: "k".into(),
        algorithm: None,
        ciphertext: vec![0; 24].into(),
        label: None,
        version: None,
    };
    assert_eq!(refused(client.call(unwrap)).code, ErrorCode::WrongPurpose);
}

#[test]
fn a_data_key_comes_back_out_of_its_ciphertext() {
    let daemon = Daemon::start(Setup::new());
    let mut client = daemon.client();
    for kind in KINDS {
        daemon.create(kind.name(), Purpose::Encrypt, kind);
        let mut seen = HashSet::new();
        for (length, with_plaintext) in [(None, true), (Some(16), false), (Some(1024), true)] {
            let made = client.call(GenerateDataKey {
                key: kind.name().into(),
                context: context(&[("file", "1")]),
                length,
                with_plaintext,
            });
            let made = made.expect("a data key");
            let opened = client.call(decrypt(&made.ciphertext, &[("file", "1")]));
            let opened = opened.expect("it opens").plaintext;
            assert_eq!(opened.len(), length.unwrap_or(32) as usize);
            assert_eq!(made.plaintext.is_some(), with_plaintext);
            if let Some(plaintext) = made.plaintext {
                assert_eq!(plaintext, opened);
            }
            assert!(
                seen.insert(opened.expose().to_vec()),
                "never the same twice"
            );
        }
    }
}

#[test]
fn what_was_encrypted_is_encrypted_again_and_the_record_has_both_keys() {
    let daemon = Daemon::start(Setup::new());
    let from = daemon.create("from", Purpose::Encrypt, KeyType::Aes256);
    let to = daemon.create("to", Purpose::Encrypt, KeyType::P256);
    daemon.create("signer", Purpose::Sign, KeyType::P256);
    let mut client = daemon.client();
    let old = sealed(&daemon, "from", b"secret", &[("a", "b")]).ciphertext;
    let again = |key: Option<&str>, new: Option<BTreeMap<String, String>>| ReEncrypt {
        ciphertext: old.clone(),
        source_key: None,
        source_context: context(&[("a", "b")]),
        key: key.map(str::to_owned),
        context: new,
    };
    let new = client
        .call(again(Some("to"), context(&[("c", "d")])))
        .expect("again");
    assert_eq!((&new.key, &new.source_key), (&to.id, &from.id));
    assert_eq!((new.version, new.source_version), (1, 1));
    let opened = client
        .call(decrypt(&new.ciphertext, &[("c", "d")]))
        .unwrap();
    assert_eq!(opened.plaintext.expose(), b"secret");
    refused(client.call(decrypt(&new.ciphertext, &[("a", "b")])));
    let same = client
        .call(again(None, None))
        .expect("with the same key and context");
    assert_eq!(same.key, from.id);
    client
        .call(decrypt(&same.ciphertext, &[("a", "b")]))
        .unwrap();

    let failure = refused(client.call(again(Some("signer"), None)));
    assert_eq!(failure.code, ErrorCode::WrongPurpose);
    let failure = refused(client.call(again(Some("nobody"), None)));
    assert_eq!(failure.code, ErrorCode::NotFound);
    let wrong = ReEncrypt {
        source_context: None,
        ..again(Some("to"), None)
    };
    assert_eq!(refused(client.call(wrong)).code, ErrorCode::UnwrapFailed);
    let records = daemon.audit();
    let record = records.iter().find(|r| r["op"] == "re-encrypt").unwrap();
    assert_eq!(
        (&record["key"], &record["alg"]),
        (&from.id.into(), &"A256GCM".into())
    );
    assert!(
        record["detail"].as_str().unwrap().contains(&to.id),
        "{record}"
    );
}

#[test]
fn the_log_has_no_plaintext_and_no_context() {
    let daemon = Daemon::start(Setup::new());
    for kind in KINDS {
        daemon.create(kind.name(), Purpose::Encrypt, kind);
        let pairs = [("XcontextnameX", "XcontextvalueX")];
        let made = sealed(&daemon, kind.name(), b"XplaintextX", &pairs).ciphertext;
        let mut client = daemon.client();
        client.call(decrypt(&made, &pairs)).unwrap();
        refused(client.call(decrypt(&made, &[("XcontextnameX", "XotherX")])));
    }
    for line in daemon.audit_lines() {
        for word in ["Xplain", "Xcontext", "Xother", "WHBsYWlud", "58706c61696e"] {
            assert!(!line.contains(word), "{line}");
        }
    }
    let records = daemon.audit();
    let encrypts: Vec<_> = records.iter().filter(|r| r["op"] == "encrypt").collect();
    assert_eq!(encrypts.len(), 4);
    for record in encrypts {
        assert_eq!(record["length"], 11);
        assert!(
            record["digest"].is_null() && record["version"].is_string(),
            "{record}"
        );
    }
}

#[test]
fn a_thousand_encryptions_have_a_thousand_ivs() {
    let daemon = Daemon::start(Setup::new());
    daemon.create("k", Purpose::Encrypt, KeyType::Aes256);
    let made = daemon
        .client()
        .pipeline((0..1000).map(|_| encrypt("k", b"secret", &[])));
    let ivs: HashSet<_> = made
        .into_iter()
        .map(|made| {
            let blob = Ciphertext::decode(&made.expect("encrypted").ciphertext).unwrap();
            *blob.iv().expect("AES-GCM has one")
        })
        .collect();
    assert_eq!(ivs.len(), 1000);
    let bits = |bit: usize| {
        ivs.iter()
            .filter(|iv| iv[bit / 8] >> (bit % 8) & 1 == 1)
            .count()
    };
    assert!(
        (0..96).all(|bit| (350..650).contains(&bits(bit))),
        "random in each bit"
    );
}

fn open_hpke(client: &mut Client, open: HpkeOpen) -> Result<Vec<u8>, ErrorCode> {
    match client.call(open) {
        Ok(opened) => Ok(opened.plaintext.expose().to_vec()),
        failed => Err(refused(failed).code),
    }
}

#[test]
fn what_anybody_seals_to_a_p256_key_is_opened_by_it() {
    let daemon = Daemon::start(Setup::new());
    let key = daemon.create("k", Purpose::Encrypt, KeyType::P256);
    daemon.create("aes", Purpose::Encrypt, KeyType::Aes256);
    let mut client = daemon.client();
    let public = client.call(GetPublicKey {
        key: "k".into(),
        version: None,
    });
    let public = public.unwrap().cose_key;
    for (suite, algorithm) in [
        (Suite::Aes256Gcm, Algorithm::Hpke7),
        (Suite::Aes128Gcm, Algorithm::Hpke0),
    ] {
        let sealed = keyward_seal::seal(suite, &public, b"info", b"aad", b"secret").unwrap();
        let open = |enc: &[u8], ciphertext: &[u8], info: &[u8]| HpkeOpen {
            key: "k".into(),
            algorithm: Some(algorithm),
            enc: enc.to_vec().into(),
            ciphertext: ciphertext.to_vec().into(),
            info: Some(info.to_vec().into()),
            aad: Some(b"aad".to_vec().into()),
            version: None,
        };
        let right = open(&sealed.enc, &sealed.ciphertext, b"info");
        assert_eq!(open_hpke(&mut client, right), Ok(b"secret".to_vec()));
        let mut flipped = sealed.ciphertext.clone();
        flipped[0] ^= 1;
        let mut off_curve = sealed.enc;
        off_curve[64] ^= 1;
        let mut compressed = sealed.enc[..33].to_vec();
        compressed[0] = 2 + (sealed.enc[64] & 1);
        for wrong in [
            open(&sealed.enc, &sealed.ciphertext, b"other"),
            open(&sealed.enc, &flipped, b"info"),
            open(&sealed.enc, b"", b"info"),
            open(&off_curve, &sealed.ciphertext, b"info"),
            open(&compressed, &sealed.ciphertext, b"info"),
            open(&[0; 65], &sealed.ciphertext, b"info"),
            open(b"", &sealed.ciphertext, b"info"),
            HpkeOpen {
                aad: None,
                ..open(&sealed.enc, &sealed.ciphertext, b"info")
            },
        ] {
            assert_eq!(open_hpke(&mut client, wrong), Err(ErrorCode::UnwrapFailed));
        }
        let aes = HpkeOpen {
            key: "aes".into(),
            algorithm: None,
            ..open(&sealed.enc, &sealed.ciphertext, b"info")
        };
        assert_eq!(
            open_hpke(&mut client, aes),
            Err(ErrorCode::MechanismInvalid)
        );

        let kid = Uuid::try_parse(&key.id).unwrap();
        let header = Header::new(Scheme::of(algorithm).unwrap(), kid, 1).unwrap();
        let named = Context::new(context(&[("a", "b")]).unwrap()).unwrap();
        let blob = keyward_seal::seal_ciphertext(header, &public, &named, b"offline").unwrap();
        let opened = client.call(decrypt(&blob.encode(), &[("a", "b")])).unwrap();
        assert_eq!(opened.plaintext.expose(), b"offline");
    }
}

#[test]
fn an_rsa_ciphertext_whose_inner_key_has_another_length_does_not_open() {
    let daemon = Daemon::start(Setup::new());
    daemon.create("k", Purpose::Encrypt, KeyType::Rsa2048);
    let made = sealed(&daemon, "k", b"secret", &[]).ciphertext;
    let blob = Ciphertext::decode(&made).unwrap();
    let public = daemon.public_file("k");
    let mut client = daemon.client();
    for length in [0, 16, 31, 33, 190] {
        let key = keyward_tests::openssl::encrypt_oaep_sha256(&public, &vec![1; length]).unwrap();
        let body = Body::RsaOaep {
            iv: *blob.iv().unwrap(),
            encrypted_key: key,
        };
        let forged = Ciphertext::new(*blob.header(), body, blob.content().to_vec()).unwrap();
        let failure = refused(client.call(decrypt(&forged.encode(), &[])));
        assert_eq!(failure.code, ErrorCode::UnwrapFailed, "{failure}");
    }
    assert_eq!(daemon.token("main").restarts, 0, "nobody was blamed");
}
