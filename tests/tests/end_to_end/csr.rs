//! Certification requests, read and verified by a plain `openssl`.

use std::fs;

use keyward_client::protocol::{
    Algorithm, ErrorCode, Format, KeyType, Purpose,
    operation::{Create, RequestCertificate, SubjectAltName},
};
use keyward_tests::{
    Daemon, Setup, openssl,
    request::{create, refused},
};

fn request(key: &str, subject: &str, names: Vec<SubjectAltName>) -> RequestCertificate {
    RequestCertificate {
        key: key.into(),
        algorithm: None,
        subject: subject.into(),
        names,
    }
}

/// What openssl shows of a request, after it has verified it.
#[track_caller]
fn verified(daemon: &Daemon, der: &[u8]) -> String {
    let file = daemon.dir().join("request.der");
    fs::write(&file, der).unwrap();
    let mut command = openssl::command("req");
    command.args(["-verify", "-inform", "DER", "-noout", "-text"]);
    command
        .args(["-nameopt", "rfc2253,utf8,-esc_msb", "-in"])
        .arg(&file);
    let text = openssl::run(&mut command).expect("openssl verifies it");
    String::from_utf8(text).unwrap()
}

#[test]
fn openssl_verifies_a_request_of_each_kind_of_key() {
    let daemon = Daemon::start(Setup::new());
    let mut client = daemon.client();
    for (kind, algorithm, shown) in [
        (KeyType::P256, None, "ecdsa-with-SHA256"),
        (KeyType::P384, None, "ecdsa-with-SHA384"),
        (KeyType::Ed25519, None, "ED25519"),
        (KeyType::Rsa2048, Some(Algorithm::Ps256), "rsassaPss"),
        (
            KeyType::Rsa3072,
            Some(Algorithm::Rs256),
            "sha256WithRSAEncryption",
        ),
    ] {
        let key = daemon.create(kind.name(), Purpose::Sign, kind);
        let names = vec![
            SubjectAltName::Dns("example.org".into()),
            SubjectAltName::Dns("*.example.org".into()),
            SubjectAltName::Email("a@example.org".into()),
            SubjectAltName::Uri("spiffe://example.org/web".into()),
            SubjectAltName::Ip(vec![192, 0, 2, 1].into()),
            SubjectAltName::Ip(vec![0; 16].into()),
        ];
        let made = client.call(RequestCertificate {
            algorithm,
            ..request(kind.name(), "CN=example.org,OU=Bücher\\, Ltd,C=DE", names)
        });
        let made = made.unwrap_or_else(|error| panic!("{kind}: {error:?}"));
        assert_eq!((&made.key, made.version), (&key.id, 1));
        let text = verified(&daemon, &made.der);
        for part in [
            shown,
            "CN=example.org,OU=Bücher\\, Ltd,C=DE",
            "DNS:example.org, DNS:*.example.org, email:a@example.org",
            "URI:spiffe://example.org/web, IP Address:192.0.2.1, IP Address:0:0:0:0:0:0:0:0",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains("critical"), "{text}");
        let unnamed = client.call(RequestCertificate {
            algorithm,
            ..request(kind.name(), "", vec![SubjectAltName::Dns("a".into())])
        });
        assert!(verified(&daemon, &unnamed.unwrap().der).contains("critical"));
        let plain = client.call(RequestCertificate {
            algorithm,
            ..request(kind.name(), "CN=a", Vec::new())
        });
        assert!(!verified(&daemon, &plain.unwrap().der).contains("Alternative"));
    }
}

#[test]
fn a_request_that_no_authority_should_see_is_refused() {
    let daemon = Daemon::start(Setup::new());
    daemon.create_signer("k");
    daemon.create("agree", Purpose::Agree, KeyType::P256);
    for (name, format) in [("x509", Format::X509), ("digest", Format::Digest)] {
        let formats = Some(vec![format]);
        let key = Create {
            formats,
            ..create(name, Purpose::Sign, KeyType::P256)
        };
        daemon.client().call(key).expect("a key");
    }
    let mut client = daemon.client();
    let dns = |name: &str| SubjectAltName::Dns(name.into());
    let long = format!("CN={}", "a".repeat(1100));
    for (subject, names) in [
        ("", vec![]),
        ("CN=a\0b", vec![]),
        ("CN=a\\00b", vec![]),
        ("example.org", vec![]),
        ("CN=", vec![]),
        (long.as_str(), vec![]),
        ("CN=a", vec![dns("a b")]),
        ("CN=a", vec![dns("")]),
        ("CN=a", vec![dns("good.example\0.evil.example")]),
        ("CN=a", vec![SubjectAltName::Email("nobody".into())]),
        ("CN=a", vec![SubjectAltName::Uri("nowhere".into())]),
        ("CN=a", vec![dns("a"); 65]),
    ] {
        let failure = refused(client.call(request("k", subject, names)));
        assert_eq!(failure.code, ErrorCode::Invalid, "{subject:?}");
    }
    client
        .call(request("k", "CN=a", vec![dns("a"); 64]))
        .expect("so many are allowed");
    client
        .call(request("x509", "CN=a", vec![]))
        .expect("its format");
    let failure = refused(client.call(request("digest", "CN=a", vec![])));
    assert_eq!(failure.code, ErrorCode::FormatNotAllowed);
    let failure = refused(client.call(request("agree", "CN=a", vec![])));
    assert_eq!(failure.code, ErrorCode::WrongPurpose);
}
