//! The token as a program sees it that loads the module itself: a session a thread, handles looked up once.

mod aes;

use std::{
    path::Path,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::Error,
    mechanism::{
        Mechanism, MechanismType,
        elliptic_curve::{EcKdf, Ecdh1DeriveParams},
        rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource},
    },
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    slot::Slot,
    types::AuthPin,
};
use hdrhistogram::Histogram;

use crate::bench::{
    sample::{Cpu, Sample, histogram, micros_each, record, thread_time},
    work::{MESSAGE, SECRET, Work},
};

/// The OID of P-256, DER.
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// How often each thread does it before it counts.
const WARM_UP: usize = 20;

/// A token that is logged in to, with a key for each [`Work`].
pub(super) struct Token {
    /// The login lasts as long as this is open.
    anchor: Session,
    shared: Shared,
}

/// What every thread uses.
struct Shared {
    slot: Slot,
    pkcs11: Pkcs11,
    sign_p256: Pair,
    sign_rsa: Pair,
    unwrap_rsa: Pair,
    agree_p256: Pair,
    /// `None` for a module that refuses AES-GCM, as p11-kit's does.
    aes: Option<aes::Aes>,
    ciphertext: Vec<u8>,
    /// The point of `sign_p256`, with which `agree_p256` agrees.
    peer: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Pair {
    public: ObjectHandle,
    private: ObjectHandle,
}

impl Token {
    /// Loads the module, logs in to the token with that label and makes the keys.
    pub(super) fn open(module: &Path, label: &str, pin: String) -> Self {
        let pkcs11 = Pkcs11::new(module).expect("the module loads");
        pkcs11
            .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
            .expect("the module initialises");
        let slots = pkcs11.get_slots_with_initialized_token().expect("slots");
        let labelled = |slot: &Slot| {
            let token = pkcs11.get_token_info(*slot);
            token.is_ok_and(|token| token.label() == label)
        };
        let slot = slots
            .into_iter()
            .find(labelled)
            .expect("the token is there");
        let anchor = pkcs11.open_rw_session(slot).expect("a session");
        anchor
            .login(UserType::User, Some(&AuthPin::new(pin.into())))
            .expect("the PIN is right");
        let sign_p256 = ec_key(&anchor, Attribute::Sign(true));
        let unwrap_rsa = rsa_key(&anchor, Attribute::Encrypt(true), Attribute::Decrypt(true));
        let ciphertext = anchor
            .encrypt(&Mechanism::RsaPkcsOaep(oaep()), unwrap_rsa.public, &SECRET)
            .expect("the token encrypts with a public key");
        let shared = Shared {
            peer: point(&anchor, sign_p256.public),
            sign_p256,
            sign_rsa: rsa_key(&anchor, Attribute::Verify(true), Attribute::Sign(true)),
            unwrap_rsa,
            agree_p256: ec_key(&anchor, Attribute::Derive(true)),
            aes: aes::Aes::open(&anchor),
            ciphertext,
            slot,
            pkcs11,
        };
        Self { anchor, shared }
    }

    /// Does the work again and again on so many threads.
    pub(super) fn run(
        &self,
        work: Work,
        threads: usize,
        duration: Duration,
    ) -> Result<Sample, String> {
        let start = Barrier::new(threads);
        let shared = &self.shared;
        let runs: Result<Vec<Run>, Error> = thread::scope(|scope| {
            let handles: Vec<_> = (0..threads)
                .map(|_| scope.spawn(|| shared.run(work, duration, &start)))
                .collect();
            handles
                .into_iter()
                .map(|handle| handle.join().expect("a thread that does not panic"))
                .collect()
        });
        let runs = runs.map_err(|error| error.to_string())?;
        let mut latencies = histogram();
        for run in &runs {
            latencies
                .add(&run.latencies)
                .expect("histograms of the same bounds");
        }
        let elapsed = runs.iter().map(|run| run.elapsed).max();
        let used = runs.iter().map(|run| run.used).sum();
        let cpu = Cpu {
            caller: micros_each(used, latencies.len()),
            ..Cpu::default()
        };
        Ok(Sample::new(&latencies, elapsed.unwrap_or_default(), cpu))
    }

    /// Destroys the keys and leaves the token.
    pub(super) fn close(self) {
        let shared = self.shared;
        let pairs = [
            shared.sign_p256,
            shared.sign_rsa,
            shared.unwrap_rsa,
            shared.agree_p256,
        ];
        let aes = shared.aes.iter().map(aes::Aes::key);
        for object in pairs
            .iter()
            .flat_map(|pair| [pair.public, pair.private])
            .chain(aes)
        {
            self.anchor
                .destroy_object(object)
                .expect("an object that was made here");
        }
        drop(self.anchor);
        shared.pkcs11.finalize().expect("the module finalises");
    }
}

impl Shared {
    fn run(&self, work: Work, duration: Duration, start: &Barrier) -> Result<Run, Error> {
        let prepared = self.pkcs11.open_rw_session(self.slot).and_then(|session| {
            (0..WARM_UP).try_for_each(|_| self.work(&session, work))?;
            Ok(session)
        });
        // Whether it failed or not: the others wait.
        start.wait();
        let session = prepared?;
        let mut latencies = histogram();
        let used = thread_time();
        let begin = Instant::now();
        let mut last = begin;
        while last.duration_since(begin) < duration {
            self.work(&session, work)?;
            let now = Instant::now();
            record(&mut latencies, now.duration_since(last));
            last = now;
        }
        Ok(Run {
            latencies,
            elapsed: last.duration_since(begin),
            used: thread_time().saturating_sub(used),
        })
    }

    fn work(&self, session: &Session, work: Work) -> Result<(), Error> {
        match work {
            Work::SignP256 => {
                // The digest of a short message costs less than can be measured here.
                let digest = MESSAGE.first_chunk::<32>().expect("a longer message");
                let key = self.sign_p256.private;
                session.sign(&Mechanism::Ecdsa, key, digest).map(drop)
            }
            Work::SignRsa2048 => {
                let key = self.sign_rsa.private;
                session
                    .sign(&Mechanism::Sha256RsaPkcs, key, &MESSAGE)
                    .map(drop)
            }
            Work::UnwrapRsa2048 => {
                let mechanism = Mechanism::RsaPkcsOaep(oaep());
                let key = self.unwrap_rsa.private;
                session.decrypt(&mechanism, key, &self.ciphertext).map(drop)
            }
            Work::EcdhP256 | Work::HpkeOpen => self.agree(session),
            Work::Encrypt4K | Work::DataKey | Work::DecryptDataKey => match &self.aes {
                Some(aes) => aes.work(session, work),
                None => Err(Error::NotSupported),
            },
        }
    }

    /// Derives, reads and destroys.
    fn agree(&self, session: &Session) -> Result<(), Error> {
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::GENERIC_SECRET),
            Attribute::ValueLen(32.into()),
            Attribute::Token(false),
            Attribute::Sensitive(false),
            Attribute::Extractable(true),
        ];
        let mechanism = Mechanism::Ecdh1Derive(Ecdh1DeriveParams::new(EcKdf::null(), &self.peer));
        let secret = session.derive_key(&mechanism, self.agree_p256.private, &template)?;
        session.get_attributes(secret, &[AttributeType::Value])?;
        session.destroy_object(secret)
    }
}

/// What one thread measured.
struct Run {
    latencies: Histogram<u64>,
    elapsed: Duration,
    used: Duration,
}

fn oaep() -> PkcsOaepParams<'static> {
    PkcsOaepParams::new(
        MechanismType::SHA1,
        PkcsMgfType::MGF1_SHA1,
        PkcsOaepSource::empty(),
    )
}

fn ec_key(session: &Session, usage: Attribute) -> Pair {
    let public = [Attribute::Token(true), Attribute::EcParams(P256.to_vec())];
    generate(session, &Mechanism::EccKeyPairGen, &public, usage)
}

fn rsa_key(session: &Session, public_usage: Attribute, usage: Attribute) -> Pair {
    let public = [
        Attribute::Token(true),
        Attribute::ModulusBits(2048.into()),
        Attribute::PublicExponent(vec![1, 0, 1]),
        public_usage,
    ];
    generate(session, &Mechanism::RsaPkcsKeyPairGen, &public, usage)
}

fn generate(
    session: &Session,
    mechanism: &Mechanism,
    public: &[Attribute],
    usage: Attribute,
) -> Pair {
    let private = [
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        usage,
    ];
    let (public, private) = session
        .generate_key_pair(mechanism, public, &private)
        .expect("the token makes a key pair");
    Pair { public, private }
}

/// The uncompressed point, without the OCTET STRING around it.
fn point(session: &Session, public: ObjectHandle) -> Vec<u8> {
    let attributes = session.get_attributes(public, &[AttributeType::EcPoint]);
    match attributes.expect("a public key shows its point").pop() {
        Some(Attribute::EcPoint(point)) => match point.strip_prefix(&[4, 65]) {
            Some(bare) => bare.to_vec(),
            None => point,
        },
        other => panic!("no point: {other:?}"),
    }
}
