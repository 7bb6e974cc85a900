//! Keys in TPMs, and verifiers who have no TPM: by the command line, on swtpm, with what other
//! programs make of the same structures.

use std::{fs, path::Path};

use keyward_client::protocol::{
    KeyType, Purpose,
    attestation::{
        AttestationKey, Bundle, Document as _, Identity, Statement, TpmIdentity, TpmStatement,
        enrolment::Challenge,
        qualifying_data,
        tpm::{Public, parse_signature},
    },
};
use keyward_tests::{
    Daemon, Setup, TokenSetup, openssl,
    swtpm::{tpm2, wire::code},
};

pub(crate) const NONCE: &str = "00112233445566778899aabbccddeeff";

/// A machine with a TPM, and a folder of a verifier.
pub(crate) struct Rig {
    pub(crate) daemon: Daemon,
}

impl Rig {
    pub(crate) fn new(token: TokenSetup) -> Self {
        let daemon = Daemon::start(Setup::new().token(token));
        daemon.create_signer("k");
        Self { daemon }
    }

    /// A file of the verifier.
    pub(crate) fn file(&self, name: &str) -> String {
        text(&self.daemon.dir().join(name))
    }

    /// The certificate of the TPM's manufacturer.
    pub(crate) fn roots(&self) -> String {
        text(&self.daemon.tpm("main").swtpm().issuer())
    }

    /// Attests a key.
    pub(crate) fn attest(&self, key: &str, more: &[&str]) -> String {
        let file = self.file(&format!("{key}.attestation"));
        let attest = ["key", "attest", key, "--nonce", NONCE, "-o", &file];
        self.daemon.cli(&[&attest, more].concat());
        file
    }

    /// The token's attestation key.
    pub(crate) fn attestation_key(&self) -> String {
        let file = self.file("tpm.key");
        self.daemon.cli(&["token", "attestation-key", "-o", &file]);
        file
    }

    /// Enrols the token, and says where the record is.
    pub(crate) fn enrol(&self, endorsement: &[&str]) -> String {
        let key = self.attestation_key();
        self.challenge(&key, endorsement);
        self.activate();
        self.record()
    }

    pub(crate) fn challenge(&self, key: &str, endorsement: &[&str]) {
        let (pending, output) = (self.file("pending"), self.file("challenge"));
        let challenge = ["attest", "challenge", key, "--pending", &pending];
        self.daemon
            .cli(&[&challenge, endorsement, &["-o", &output]].concat());
    }

    pub(crate) fn activate(&self) {
        let (challenge, answer) = (self.file("challenge"), self.file("answer"));
        self.daemon
            .cli(&["token", "activate", &challenge, "-o", &answer]);
    }

    pub(crate) fn record(&self) -> String {
        let (pending, answer) = (self.file("pending"), self.file("answer"));
        let output = self.file("enrolment");
        self.daemon.cli(&[
            "attest",
            "enrol",
            &answer,
            "--pending",
            &pending,
            "-o",
            &output,
        ]);
        output
    }

    /// What is said of a bundle, with the exit code.
    pub(crate) fn verify(&self, bundle: &str, more: &[&str]) -> (i32, String) {
        let verify = ["attest", "verify", bundle, "--nonce", NONCE];
        let output = self.daemon.cli_output(&[&verify, more].concat(), b"");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        (output.status.code().unwrap(), said)
    }

    #[track_caller]
    pub(crate) fn is(&self, bundle: &str, more: &[&str], verdict: &str) {
        let (exit, said) = self.verify(bundle, more);
        let wanted = i32::from(!verdict.starts_with("hardware"));
        assert!(exit == wanted && said.contains(verdict), "{exit} {said}");
    }
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// The parts of a TPM's attestation key.
pub(crate) fn identity(file: &str) -> TpmIdentity {
    let document = AttestationKey::from_document(&fs::read(file).unwrap()).unwrap();
    let Identity::Tpm(identity) = document.identity else {
        panic!("another kind");
    };
    identity
}

#[test]
fn keys_of_a_tpm_that_was_enrolled_are_hardware() {
    let mut rig = Rig::new(TokenSetup::manufactured_tpm("main"));
    rig.daemon.create("agree", Purpose::Agree, KeyType::P384);
    rig.daemon
        .create("unwrap", Purpose::Unwrap, KeyType::Rsa2048);
    let roots = rig.roots();
    let record = rig.enrol(&["--ek-roots", &roots]);
    let enrolled = ["--enrolment", record.as_str()];
    for key in ["k", "agree", "unwrap"] {
        let bundle = rig.attest(key, &[]);
        rig.is(&bundle, &enrolled, "hardware: ");
        rig.is(&bundle, &[], "not bound: neither an enrolment record");
        let public = rig.daemon.public_file(key);
        let public = text(&public);
        rig.is(
            &bundle,
            &[&enrolled[..], &["--key", &public]].concat(),
            "hardware",
        );
    }
    let (exit, json) = rig.verify(&rig.file("k.attestation"), &["--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((exit, json["verdict"].as_str()), (1, Some("not-bound")));

    // The attestation key outlives the daemon, and is no key of the registry.
    let before = fs::read(rig.attestation_key()).unwrap();
    rig.daemon.restart();
    assert!(before == fs::read(rig.attestation_key()).unwrap());
    let bundle = rig.attest("k", &[]);
    rig.is(&bundle, &enrolled, "hardware: ");
    let found = rig.daemon.cli(&["token", "rescan"]);
    let found = String::from_utf8(found).unwrap();
    assert!(
        found.starts_with("0 recovered, 3 known, 0 of others"),
        "{found}"
    );

    let audit = rig.daemon.stop().audit();
    let records = |op: &str| audit.iter().filter(|r| r["op"] == op).collect::<Vec<_>>();
    let attested = records("attest");
    assert_eq!(attested.len(), 4);
    let digest: String = (qualifying_data(&(0..16).map(|i| i * 0x11).collect::<Vec<u8>>()).iter())
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert!(attested.iter().all(|r| r["digest"] == digest.as_str()));
    let kinds: Vec<_> = records("activate-credential");
    let kinds: Vec<_> = kinds.iter().map(|r| r["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["manage-intent", "manage-outcome"]);
}

#[test]
fn a_tpm_without_certificates_is_enrolled_by_what_a_person_saw() {
    let rig = Rig::new(TokenSetup::tpm_without_pin("main"));
    let shown = rig.daemon.cli(&["token", "attestation-key", "--json"]);
    let shown: serde_json::Value = serde_json::from_slice(&shown).unwrap();
    assert_eq!(shown["certificates"], 0);
    let fingerprint = shown["ek_fingerprint"].as_str().unwrap();
    let record = rig.enrol(&["--ek-fingerprint", fingerprint]);
    let bundle = rig.attest("k", &[]);
    rig.is(&bundle, &["--enrolment", &record], "hardware: ");
    // A bundle has all that a challenge is made of, too.
    rig.challenge(&bundle, &["--ek-fingerprint", fingerprint]);
    rig.activate();
    rig.record();
}

#[test]
fn the_answer_to_a_challenge_is_not_to_be_seen_on_the_bus() {
    let rig = Rig::new(TokenSetup::manufactured_tpm("main"));
    let roots = rig.roots();
    rig.enrol(&["--ek-roots", &roots]);
    let proxy = rig.daemon.tpm("main").proxy();
    assert_eq!(proxy.count(code::ACTIVATE_CREDENTIAL), 1);
    let challenge = fs::read(rig.file("challenge")).unwrap();
    let challenge = Challenge::from_document(&challenge).unwrap();
    assert!(proxy.saw(&challenge.credential));
    assert!(!proxy.saw(&fs::read(rig.file("answer")).unwrap()));
}

#[test]
fn other_programs_make_and_open_the_same_challenges() {
    let rig = Rig::new(TokenSetup::tpm_without_pin("main"));
    let tcti = rig.daemon.tpm("main").proxy().tcti();
    let run = |name: &str, args: &[&str]| {
        let output = tpm2(&tcti, name, args);
        assert!(output.status.success(), "{name} {args:?}: {output:?}");
    };
    let [ek, ak, session] = ["ek.ctx", "ak.ctx", "session"].map(|name| rig.file(name));
    for kind in ["ecc", "rsa"] {
        // An attestation key of tpm2-tools, as it makes them.
        let [ek_public, ak_public, ak_private] =
            ["ek.pub", "ak.pub", "ak.priv"].map(|name| rig.file(name));
        // The TPM has room for three sessions, and the tools need all; the worker starts another.
        run("tpm2_flushcontext", &["-l"]);
        run("tpm2_createek", &["-c", &ek, "-G", kind, "-u", &ek_public]);
        run("tpm2_flushcontext", &["-t"]);
        let attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign";
        run(
            "tpm2_create",
            &[
                "-C",
                "0x81000001",
                "-G",
                "ecc256:ecdsa-sha256:null",
                "-a",
                attributes,
                "-u",
                &ak_public,
                "-r",
                &ak_private,
            ],
        );
        run("tpm2_flushcontext", &["-t"]);
        let load = [
            "-C",
            "0x81000001",
            "-u",
            &ak_public,
            "-r",
            &ak_private,
            "-c",
            &ak,
        ];
        run("tpm2_load", &load);
        run("tpm2_flushcontext", &["-t"]);
        let structure = |file: &str| fs::read(file).unwrap()[2..].to_vec();
        let of_tools = AttestationKey::new(Identity::Tpm(TpmIdentity {
            ak: structure(&ak_public).into(),
            ek: Some(structure(&ek_public).into()),
            ek_certificates: Vec::new(),
        }));
        let key = rig.file("tools.key");
        fs::write(&key, of_tools.to_document().unwrap()).unwrap();
        let fingerprint = rig.daemon.cli_fails(
            &[
                "attest",
                "challenge",
                &key,
                "--pending",
                &rig.file("pending"),
                "-o",
                &rig.file("challenge"),
                "--ek-fingerprint",
                &"00".repeat(32),
            ],
            b"",
        );
        let (_, fingerprint) = fingerprint.rsplit_once("fingerprint ").unwrap();
        rig.challenge(&key, &["--ek-fingerprint", fingerprint.trim()]);

        // What keyward encrypts, tpm2-tools has the TPM decrypt.
        let challenge = fs::read(rig.file("challenge")).unwrap();
        let challenge = Challenge::from_document(&challenge).unwrap();
        let blob = rig.file("blob");
        fs::write(&blob, to_tools(&challenge)).unwrap();
        run(
            "tpm2_startauthsession",
            &["--policy-session", "-S", &session],
        );
        run("tpm2_policysecret", &["-S", &session, "-c", "e"]);
        let answer = rig.file("answer");
        let with = format!("session:{session}");
        run(
            "tpm2_activatecredential",
            &[
                "-c", &ak, "-C", &ek, "-i", &blob, "-o", &answer, "-P", &with,
            ],
        );
        run("tpm2_flushcontext", &[&session]);
        run("tpm2_flushcontext", &["-t"]);
        rig.record();
    }

    // What tpm2-tools encrypts, keyward has the TPM decrypt.
    let own = identity(&rig.attestation_key());
    let ek_public = rig.file("own.ek");
    fs::write(&ek_public, sized(&own.ek.unwrap())).unwrap();
    let name = Public::parse(&own.ak).unwrap().name;
    let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
    let (secret, blob) = (rig.file("secret"), rig.file("blob"));
    fs::write(&secret, "a secret of tpm2-tools").unwrap();
    let make = [
        "-T", "none", "-u", &ek_public, "-s", &secret, "-n", &name, "-o", &blob,
    ];
    run("tpm2_makecredential", &make);
    let made = of_tools(&fs::read(&blob).unwrap()).to_document().unwrap();
    fs::write(rig.file("challenge"), made).unwrap();
    rig.activate();
    let answer = fs::read(rig.file("answer")).unwrap();
    assert_eq!(answer, b"a secret of tpm2-tools");
}

/// The file of tpm2_makecredential: magic, version, TPM2B_ID_OBJECT, TPM2B_ENCRYPTED_SECRET.
fn to_tools(challenge: &Challenge) -> Vec<u8> {
    let (credential, secret) = (sized(&challenge.credential), sized(&challenge.secret));
    [
        &[0xba, 0xdc, 0xc0, 0xde, 0, 0, 0, 1],
        &credential[..],
        &secret,
    ]
    .concat()
}

fn of_tools(file: &[u8]) -> Challenge {
    let length = usize::from(u16::from_be_bytes([file[8], file[9]]));
    let (credential, secret) = file[10..].split_at(length);
    Challenge::new(credential.to_vec(), secret[2..].to_vec())
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap();
    [&length.to_be_bytes(), bytes].concat()
}

#[test]
fn other_programs_sign_and_verify_the_same_structures() {
    let rig = Rig::new(TokenSetup::tpm_without_pin("main"));
    let bundle = fs::read(rig.attest("k", &[])).unwrap();
    let bundle = Bundle::from_document(&bundle).unwrap();
    let Statement::Tpm(own) = bundle.statement else {
        panic!("another kind");
    };
    let tcti = rig.daemon.tpm("main").proxy().tcti();
    let run = |name: &str, args: &[&str]| {
        let output = tpm2(&tcti, name, args);
        assert!(output.status.success(), "{name} {args:?}: {output:?}");
    };
    let file = |name: &str| rig.file(name);
    let attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth";
    for (name, attributes) in [
        ("ak", format!("{attributes}|restricted|sign")),
        ("other", format!("{attributes}|sign")),
    ] {
        let (public, private) = (file(&format!("{name}.pub")), file(&format!("{name}.priv")));
        let scheme = "ecc256:ecdsa-sha256:null";
        let out = ["-u", &public, "-r", &private];
        let create = ["-C", "0x81000001", "-G", scheme, "-a", &attributes];
        run("tpm2_create", &[&create[..], &out].concat());
        run("tpm2_flushcontext", &["-t"]);
        let context = file(&format!("{name}.ctx"));
        let load = [
            "-C",
            "0x81000001",
            "-u",
            &public,
            "-r",
            &private,
            "-c",
            &context,
        ];
        run("tpm2_load", &load);
        run("tpm2_flushcontext", &["-t"]);
    }
    let nonce: Vec<u8> = (0..16).map(|i| i * 0x11).collect();
    let (attest, signature) = (file("attest"), file("signature"));
    let (other, ak) = (file("other.ctx"), file("ak.ctx"));
    let certify = ["-c", &other, "-C", &ak, "-g", "sha256"];
    let out = ["-o", &attest, "-s", &signature];
    run("tpm2_certify", &[&certify[..], &out].concat());
    let structure = |name: &str| fs::read(file(name)).unwrap()[2..].to_vec();
    let key = Public::parse(&structure("other.pub"));
    let made = Bundle::new(
        Statement::Tpm(TpmStatement {
            public: structure("other.pub").into(),
            attest: fs::read(attest).unwrap().into(),
            signature: fs::read(signature).unwrap().into(),
            key: TpmIdentity {
                ak: structure("ak.pub").into(),
                ..own.key
            },
            chain: Vec::new(),
        }),
        nonce,
        key.unwrap().key,
    );
    let made_file = file("made");
    fs::write(&made_file, made.to_document().unwrap()).unwrap();
    // It takes no nonce: all that is looked at before is right.
    rig.is(&made_file, &[], "was signed for another nonce");

    // And openssl verifies what keyward gives out.
    let own_ak = Public::parse(&own.key.ak).unwrap();
    let (spki, signed, signature) = (file("ak.der"), file("signed"), file("signature.der"));
    fs::write(&spki, own_ak.key.to_spki().unwrap()).unwrap();
    fs::write(&signed, &*own.attest).unwrap();
    let fixed = parse_signature(&own.signature).unwrap();
    let raw = keyward_client::key_format::ecdsa_to_der(&fixed).unwrap();
    fs::write(&signature, raw).unwrap();
    let mut command = openssl::command("dgst");
    command.args(["-sha256", "-keyform", "DER", "-verify", &spki]);
    openssl::run(command.args(["-signature", &signature, &signed])).unwrap();
}

#[test]
fn a_certificate_of_the_attestation_key_makes_it_hardware() {
    let rig = Rig::new(TokenSetup::tpm("main"));
    let dir = rig.daemon.dir().to_owned();
    let own = identity(&rig.attestation_key());
    let ak = Public::parse(&own.ak).unwrap();
    let ak_der = dir.join("ak.der");
    fs::write(&ak_der, ak.key.to_spki().unwrap()).unwrap();
    let authority = |name: &str| {
        let mut command = openssl::command("req");
        command.args([
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ]);
        command.args(["-nodes", "-days", "2", "-subj", &format!("/CN={name}")]);
        command.arg("-keyout").arg(dir.join(format!("{name}.key")));
        command.arg("-out").arg(dir.join(format!("{name}.pem")));
        openssl::run(&mut command).unwrap();
        rig.file(&format!("{name}.pem"))
    };
    let certificate = |authority: &str, key: &Path, extensions: &str| {
        let name = format!("{authority}-{}", extensions.len());
        let (request, output) = (dir.join("ak.csr"), dir.join(format!("{name}-ak.pem")));
        let mut command = openssl::command("req");
        command.args(["-new", "-subj", "/CN=ak", "-key"]);
        command.arg(dir.join(format!("{authority}.key")));
        openssl::run(command.arg("-out").arg(&request)).unwrap();
        let file = dir.join("extensions");
        fs::write(&file, extensions).unwrap();
        let mut command = openssl::command("x509");
        command.args(["-req", "-days", "2", "-in"]).arg(&request);
        command.arg("-force_pubkey").arg(key);
        command.arg("-CA").arg(dir.join(format!("{authority}.pem")));
        command
            .arg("-CAkey")
            .arg(dir.join(format!("{authority}.key")));
        command.arg("-extfile").arg(file).arg("-out").arg(&output);
        openssl::run(&mut command).unwrap();
        text(&output)
    };
    let (good, other) = (authority("good"), authority("other"));
    let with = |certificate: &str| rig.attest("k", &["--ak-certificate", certificate]);
    let usage = "extendedKeyUsage = 2.23.133.8.3\n";
    let signed = with(&certificate("good", &ak_der, usage));
    rig.is(&signed, &["--ak-roots", &good], "hardware: ");
    rig.is(&signed, &[], "not bound: ");
    rig.is(
        &signed,
        &["--ak-roots", &other],
        "not bound: the certificate",
    );
    let unsaid = with(&certificate(
        "good",
        &ak_der,
        "keyUsage = digitalSignature\n",
    ));
    rig.is(
        &unsaid,
        &["--ak-roots", &good],
        "not bound: the certificate",
    );
    let key = rig.daemon.public_file("k");
    let of_another = with(&certificate("good", &key, &format!("{usage}\n")));
    let verdict = "not bound: the certificate is of another key";
    rig.is(&of_another, &["--ak-roots", &good], verdict);
    let none = rig.attest("k", &[]);
    let verdict = "not bound: the attestation key has no certificate";
    rig.is(&none, &["--ak-roots", &good], verdict);
}
