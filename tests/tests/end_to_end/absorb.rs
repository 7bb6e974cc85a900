//! Messages that are larger than a frame: given in parts, hashed by the agent, signed as one.

use keyward_client::{
    AsyncClient, Client, Error, Signing, Verifying, key_format,
    protocol::{
        Algorithm, ErrorCode, Format, KeyType, Purpose, SecretBytes,
        operation::{Absorb, Absorbed, Create, Lock, LoginState, Sign, SignInput, Unlock},
    },
};
use keyward_tests::{
    Daemon, Pin, Setup, TokenSetup, openssl,
    request::{create, refused},
};

/// Larger than a frame, and no multiple of a part.
fn message() -> Vec<u8> {
    (0..1_000_003_u32).map(|n| (n % 251) as u8).collect()
}

fn absorb(client: &mut Client, stream: u32, offset: u64, bytes: &[u8]) -> Result<Absorbed, Error> {
    client.call(Absorb {
        stream,
        offset,
        bytes: bytes.to_vec().into(),
    })
}

fn sign_absorbed(key: &str, stream: u32) -> Sign {
    Sign {
        key: key.into(),
        algorithm: None,
        input: SignInput::Absorbed(stream),
    }
}

#[test]
fn what_was_given_in_parts_is_signed_as_openssl_knows_it() {
    let daemon = Daemon::start(Setup::new());
    daemon.create("p256", Purpose::Sign, KeyType::P256);
    daemon.create("p384", Purpose::Sign, KeyType::P384);
    daemon.create("rsa", Purpose::Sign, KeyType::Rsa2048);
    let (message, mut client) = (message(), daemon.client());
    let mut sign = |key: &str, algorithm| {
        let signing = Signing {
            algorithm,
            ..Signing::by(key)
        };
        let made = client.sign_stream(signing, &message[..]).unwrap();
        let verifying = Verifying {
            key: key.into(),
            algorithm,
            signature: made.signature.to_vec(),
            version: None,
        };
        let mut other = message.clone();
        assert!(
            client
                .verify_stream(verifying.clone(), &other[..])
                .unwrap()
                .valid
        );
        other[500_000] ^= 1;
        assert!(!client.verify_stream(verifying, &other[..]).unwrap().valid);
        made.signature.to_vec()
    };
    for (key, hash) in [("p256", "sha256"), ("p384", "sha384")] {
        let signature = key_format::ecdsa_to_der(&sign(key, None)).unwrap();
        openssl::verify_ecdsa(&daemon.public_file(key), hash, &message, &signature).unwrap();
    }
    let public = daemon.public_file("rsa");
    let signature = sign("rsa", Some(Algorithm::Rs256));
    openssl::verify_pkcs1(&public, "sha256", &message, &signature).unwrap();
    let signature = sign("rsa", Some(Algorithm::Ps256));
    openssl::verify_pss(&public, "sha256", &message, &signature).unwrap();
}

#[test]
fn the_async_client_gives_many_messages_at_once() {
    let daemon = Daemon::start(Setup::new());
    daemon.create_signer("k");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let public = daemon.public_file("k");
    runtime.block_on(async {
        let client = AsyncClient::connect_to(daemon.endpoint()).await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..10_u8 {
            let client = client.clone();
            tasks.spawn(async move {
                let message = vec![n; 200_000 + usize::from(n)];
                let signing = Signing::by("k");
                (
                    client.sign_stream(signing, &message[..]).await.unwrap(),
                    message,
                )
            });
        }
        for (made, message) in tasks.join_all().await {
            let signature = key_format::ecdsa_to_der(&made.signature).unwrap();
            openssl::verify_ecdsa(&public, "sha256", &message, &signature).unwrap();
        }
    });
}

#[test]
fn parts_must_follow_each_other_and_streams_are_few() {
    let daemon = Daemon::start(Setup::new());
    daemon.create_signer("k");
    let mut client = daemon.client();
    let code = |result: Result<_, Error>| refused(result).code;
    assert_eq!(code(absorb(&mut client, 0, 5, b"x")), ErrorCode::Invalid);
    assert_eq!(absorb(&mut client, 0, 0, b"abc").unwrap().length, 3);
    assert_eq!(code(absorb(&mut client, 0, 2, b"x")), ErrorCode::Invalid);
    assert_eq!(absorb(&mut client, 0, 3, b"d").unwrap().length, 4);
    for stream in 1..4 {
        absorb(&mut client, stream, 0, b"x").unwrap();
    }
    assert_eq!(code(absorb(&mut client, 4, 0, b"x")), ErrorCode::Busy);
    // What is signed is not there any more, and nobody else's connection has it.
    assert_eq!(
        refused(daemon.client().call(sign_absorbed("k", 0))).code,
        ErrorCode::Invalid
    );
    client.call(sign_absorbed("k", 0)).unwrap();
    let again = refused(client.call(sign_absorbed("k", 0)));
    assert_eq!(again.code, ErrorCode::Invalid);
    absorb(&mut client, 4, 0, b"x").unwrap();
}

#[test]
fn a_stream_counts_as_a_message_and_not_as_a_digest() {
    let daemon = Daemon::start(Setup::new());
    let digests = Create {
        formats: Some(vec![Format::Digest]),
        ..create("digests", Purpose::Sign, KeyType::P256)
    };
    let mut client = daemon.client();
    client.call(digests).unwrap();
    let failure = refused(client.sign_stream(Signing::by("digests"), &message()[..]));
    assert_eq!(failure.code, ErrorCode::FormatNotAllowed, "{failure}");
}

#[test]
fn ed25519_signs_what_fits_into_a_request_and_says_why_it_can_not_sign_more() {
    let daemon = Daemon::start(Setup::new());
    daemon.create("k", Purpose::Sign, KeyType::Ed25519);
    let (message, mut client) = (message(), daemon.client());
    let small = &message[..50_000];
    let made = client.sign_stream(Signing::by("k"), small).unwrap();
    openssl::verify_ed25519(&daemon.public_file("k"), small, &made.signature).unwrap();
    let failure = refused(client.sign_stream(Signing::by("k"), &message[..]));
    assert_eq!(failure.code, ErrorCode::Invalid, "{failure}");
    assert!(failure.message.contains("twice"), "{failure}");
    assert!(failure.hint.is_some_and(|hint| hint.contains("P-256")));
}

#[test]
fn a_message_is_not_given_again_because_a_token_was_locked() {
    let daemon = Daemon::start(Setup::new().token(TokenSetup::new("main").pin(Pin::Ask)));
    daemon.wait_for_token("main", LoginState::Locked);
    let unlock = || Unlock {
        token: None,
        pin: Some(SecretBytes::copy_from(daemon.hsm("main").pin().as_bytes())),
        spend_withheld_try: false,
    };
    let mut client = daemon.client();
    client.call(unlock()).unwrap();
    daemon.create_signer("k");
    client.call(Lock { token: None }).unwrap();
    absorb(&mut client, 7, 0, b"message").unwrap();
    let failure = refused(client.call(sign_absorbed("k", 7)));
    assert_eq!(failure.code, ErrorCode::TokenLocked, "{failure}");
    client.call(unlock()).unwrap();
    let made = client.call(sign_absorbed("k", 7)).unwrap();
    let signature = key_format::ecdsa_to_der(&made.signature).unwrap();
    openssl::verify_ecdsa(&daemon.public_file("k"), "sha256", b"message", &signature).unwrap();
}

#[test]
fn the_log_has_the_messages_digest_and_one_line_for_all_parts() {
    let daemon = Daemon::start(Setup::new());
    daemon.create_signer("k");
    let message = message();
    let mut client = daemon.client();
    client.sign_stream(Signing::by("k"), &message[..]).unwrap();
    let records = daemon.audit();
    let of = |op: &str| {
        let matching = records.iter().filter(|record| record["op"] == op);
        matching.cloned().collect::<Vec<_>>()
    };
    assert_eq!(of("absorb").len(), 1);
    let file = daemon.dir().join("message");
    std::fs::write(&file, &message).unwrap();
    let mut sha256 = openssl::command("dgst");
    let digest = openssl::run(sha256.args(["-sha256", "-r"]).arg(&file)).unwrap();
    let digest = String::from_utf8(digest).unwrap();
    assert_eq!(of("sign")[0]["digest"], digest[..64]);
}
