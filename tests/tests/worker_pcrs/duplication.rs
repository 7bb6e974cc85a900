//! Key pairs that came from elsewhere and are bound: they are not fixed to the TPM, and whoever can
//! approve anything can't have them duplicated all the same (ADR 0032).

use std::fs;
use std::path::Path;

use keyward_backend::key_file::KeyFile;
use keyward_backend::message::{Derive, Outcome, Unwrap, Work};
use keyward_backend::{BackendError, VersionId};
use keyward_protocol::operation::KeyMaterial;
use keyward_protocol::{Algorithm, KeyType, Purpose, SecretBytes};
use keyward_tests::{openssl, swtpm::tpm2};
use sha2::{Digest, Sha256};

use crate::rig::{Rig, other_key, public_of, sign_with};

const EC: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
const RSA: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
/// TPM_CC_PolicyCommandCode, TPM_CC_PolicyAuthorize, TPM_CC_Duplicate.
const POLICY_COMMAND_CODE: u32 = 0x16c;
const POLICY_AUTHORIZE: u32 = 0x16a;
const DUPLICATE: u32 = 0x14b;

/// Puts a pair into the TPM, bound; with a recovery key or without.
fn import(rig: &mut Rig, purpose: Purpose, options: &[&str], recovery: bool) -> VersionId {
    let id = VersionId::random();
    let key_type = match options {
        RSA => KeyType::Rsa2048,
        _ => KeyType::P256,
    };
    let mut make = rig.order(id, key_type, purpose);
    let pkcs8 = openssl::generate_pkcs8(options);
    make.material = Some(KeyMaterial::Pkcs8(SecretBytes::copy_from(&pkcs8)));
    if !recovery {
        make.binding.approval = None;
    }
    let report = rig.order_of(make).unwrap();
    assert!(!report.local && report.bound.is_some(), "{report:?}");
    id
}

#[test]
fn an_imported_pair_is_bound_with_every_purpose() {
    for pin in [false, true] {
        let mut rig = Rig::new(pin);
        let sign = import(&mut rig, Purpose::Sign, EC, true);
        let alone = import(&mut rig, Purpose::Sign, EC, false);
        let agree = import(&mut rig, Purpose::Agree, EC, true);
        let encrypt = import(&mut rig, Purpose::Encrypt, EC, true);
        let unwrap = import(&mut rig, Purpose::Unwrap, RSA, true);
        let spki = rig.inspect(unwrap).public.unwrap().to_spki().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let public = dir.path().join("public.der");
        fs::write(&public, spki).unwrap();
        let ciphertext = openssl::encrypt_oaep_sha256(&public, b"a key").unwrap();
        let works = || {
            let derive = |id| {
                let peer = public_of(&other_key());
                Work::Derive(Derive { id, peer })
            };
            let open = Work::Unwrap(Unwrap {
                id: unwrap,
                algorithm: Algorithm::RsaOaepSha256,
                ciphertext: ciphertext.clone().into(),
                label: Vec::new().into(),
            });
            [derive(agree), derive(encrypt), open]
        };
        let serves = |rig: &mut Rig| {
            rig.sign(sign).unwrap();
            for work in works() {
                let done = rig.worker.call(work);
                assert!(matches!(done, Outcome::Secret(_)), "{done:?}");
            }
        };
        serves(&mut rig);
        rig.sign(alone).unwrap();
        rig.extend(7);
        for id in [sign, alone] {
            assert!(matches!(rig.sign(id), Err(BackendError::PcrMismatch(_))));
        }
        for work in works() {
            let refused = rig.worker.call(work);
            let mismatch = matches!(refused, Outcome::Failed(BackendError::PcrMismatch(_)));
            assert!(mismatch, "{refused:?}");
        }
        for id in [sign, agree, encrypt, unwrap] {
            rig.approve(id, false).unwrap();
        }
        serves(&mut rig);
        // What is in the files is enough.
        rig.start_again();
        serves(&mut rig);
    }
}

/// The one who tries it has the recovery key, the key's file, and the TPM. The same steps do duplicate
/// a key whose policy is TPM2_PolicyAuthorize alone.
#[test]
fn who_holds_the_recovery_key_can_not_have_a_pair_duplicated() {
    let mut rig = Rig::new(false);
    let id = import(&mut rig, Purpose::Sign, EC, true);
    let attack = Attack::new(&rig, id);
    attack.load_pair();
    // What the policy wants behind the approval and what the command wants exclude each other.
    for ends in [&[][..], &["TPM2_CC_Sign"]] {
        let done = attack.duplicate(ends);
        assert!(!done, "{ends:?}");
    }
    attack.load_other();
    assert!(attack.duplicate(&[]), "the attack itself works");

    // Nor where nobody approves anything.
    let alone = import(&mut rig, Purpose::Sign, EC, false);
    let attack = Attack::new(&rig, alone);
    attack.load_pair();
    assert!(!attack.duplicate_alone());
}

/// tpm2-tools in the hands of who wants a key out of its TPM.
struct Attack {
    dir: tempfile::TempDir,
    tcti: String,
    id: VersionId,
    file: KeyFile,
    /// TPMT_PUBLIC of the recovery key, where there is one.
    authority: Option<Vec<u8>>,
    signature: Vec<u8>,
}

impl Attack {
    fn new(rig: &Rig, id: VersionId) -> Self {
        let text = fs::read(rig.token.keys().join(format!("{id}.tss2"))).unwrap();
        let lines = String::from_utf8(text.clone()).unwrap();
        let line = |name| lines.lines().find_map(|line| line.strip_prefix(name));
        let authority = line("pcr-authority: ").map(unhex);
        let approved = policy_of(DUPLICATE);
        let message = [approved.as_slice(), id.as_bytes()].concat();
        Self {
            dir: tempfile::tempdir().unwrap(),
            tcti: rig.token.proxy().tcti(),
            id,
            file: KeyFile::from_pem(&text).unwrap(),
            authority,
            signature: sign_with(&rig.recovery, &message),
        }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.dir.path().join(name), bytes).unwrap();
        self.path(name)
    }

    fn run(&self, name: &str, arguments: &[&str]) -> bool {
        tpm2(&self.tcti, name, arguments).status.success()
    }

    #[track_caller]
    fn must(&self, name: &str, arguments: &[&str]) {
        let done = tpm2(&self.tcti, name, arguments);
        assert!(done.status.success(), "{name} {arguments:?}: {done:?}");
    }

    /// Loads the key that is in keyward's file.
    fn load_pair(&self) {
        let public = self.write("key.pub", &self.file.public);
        let private = self.write("key.priv", &self.file.private);
        self.load(&public, &private);
    }

    /// Makes a key that only lacks what keyward adds to the policy, and loads it.
    fn load_other(&self) {
        let name = self.name_of_authority();
        let head = Sha256::new()
            .chain_update([0; 32])
            .chain_update(POLICY_AUTHORIZE.to_be_bytes())
            .chain_update(name)
            .finalize();
        let policy = Sha256::new()
            .chain_update(head)
            .chain_update(self.id.as_bytes())
            .finalize();
        let policy = self.write("policy", &policy);
        let (public, private) = (self.path("other.pub"), self.path("other.priv"));
        let what = ["-C", "0x81000001", "-G", "ecc", "-L", &policy];
        let how = [
            "-a",
            "sensitivedataorigin|sign",
            "-u",
            &public,
            "-r",
            &private,
        ];
        self.must("tpm2_create", &[what.as_slice(), &how].concat());
        self.load(&public, &private);
    }

    fn load(&self, public: &str, private: &str) {
        self.flush();
        let key = self.path("key.ctx");
        let below = ["-C", "0x81000001", "-u", public, "-r", private, "-c", &key];
        self.must("tpm2_load", &below);
        self.flush();
    }

    /// Nobody manages the few slots here.
    fn flush(&self) {
        for kind in ["-t", "-l", "-s"] {
            self.must("tpm2_flushcontext", &[kind]);
        }
    }

    /// The name of the recovery key: that of SHA-256, and the digest of its public area.
    fn name_of_authority(&self) -> Vec<u8> {
        let authority = self.authority.as_ref().unwrap();
        [[0, 0x0b].as_slice(), &Sha256::digest(authority)].concat()
    }

    /// A session in which TPM2_Duplicate is approved by the recovery key; `ends` are further commands
    /// that the policy is to be good for.
    fn duplicate(&self, ends: &[&str]) -> bool {
        self.flush();
        let authority = self.authority.as_ref().unwrap();
        let size = u16::try_from(authority.len()).unwrap().to_be_bytes();
        let public = self.write("auth.pub", &[size.as_slice(), authority].concat());
        let approved = policy_of(DUPLICATE);
        let message = self.write(
            "message",
            &[approved.as_slice(), self.id.as_bytes()].concat(),
        );
        let policy = self.write("approved", &approved);
        let reference = self.write("reference", self.id.as_bytes());
        let der = keyward_client::key_format::ecdsa_to_der(&self.signature).unwrap();
        let signature = self.write("signature", &der);
        let [auth, name, ticket, session] =
            ["auth.ctx", "auth.name", "ticket", "session"].map(|name| self.path(name));
        self.must(
            "tpm2_loadexternal",
            &["-C", "o", "-u", &public, "-c", &auth, "-n", &name],
        );
        let verify = ["-c", &auth, "-g", "sha256", "-m", &message];
        let with = ["-s", &signature, "-f", "ecdsa", "-t", &ticket];
        self.must("tpm2_verifysignature", &[verify, with].concat());
        self.must("tpm2_flushcontext", &["-t"]);
        self.must(
            "tpm2_startauthsession",
            &["--policy-session", "-S", &session],
        );
        let code = ["-S", &session, "TPM2_CC_Duplicate"];
        self.must("tpm2_policycommandcode", &code);
        let approve = ["-S", &session, "-i", &policy, "-q", &reference];
        let by = ["-n", &name, "-t", &ticket];
        self.must("tpm2_policyauthorize", &[approve.as_slice(), &by].concat());
        let ended = ends
            .iter()
            .all(|end| self.run("tpm2_policycommandcode", &["-S", &session, end]));
        ended && self.duplicate_in(&session)
    }

    /// A session with the PCRs as they are, and TPM2_Duplicate.
    fn duplicate_alone(&self) -> bool {
        self.flush();
        let session = self.path("session");
        self.must(
            "tpm2_startauthsession",
            &["--policy-session", "-S", &session],
        );
        self.must("tpm2_policypcr", &["-S", &session, "-l", "sha256:7,11"]);
        let ended = ["TPM2_CC_Duplicate", "TPM2_CC_Sign"].iter().any(|code| {
            let ended = self.run("tpm2_policycommandcode", &["-S", &session, code]);
            ended && self.duplicate_in(&session)
        });
        ended || self.duplicate_in(&session)
    }

    fn duplicate_in(&self, session: &str) -> bool {
        let (key, private, seed) = (self.path("key.ctx"), self.path("out"), self.path("seed"));
        let authorised = format!("session:{session}");
        let what = ["-C", "null", "-c", &key, "-G", "null", "-p", &authorised];
        let out = ["-r", &private, "-s", &seed];
        let done = self.run("tpm2_duplicate", &[what.as_slice(), &out].concat());
        assert!(!done || Path::new(&private).exists());
        done
    }
}

/// The digest of TPM2_PolicyCommandCode alone.
fn policy_of(command: u32) -> [u8; 32] {
    Sha256::new()
        .chain_update([0; 32])
        .chain_update(POLICY_COMMAND_CODE.to_be_bytes())
        .chain_update(command.to_be_bytes())
        .finalize()
        .into()
}

fn unhex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.map(byte).collect()
}
