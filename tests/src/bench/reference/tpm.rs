//! A TPM as a program sees it that uses `tss-esapi` itself: keys loaded once, no sessions but for an empty authorisation
//! value.

use std::{
    str::FromStr,
    time::{Duration, Instant},
};

use tss_esapi::{
    Context, TctiNameConf,
    attributes::ObjectAttributesBuilder,
    constants::tss::{TPM2_RH_NULL, TPM2_ST_HASHCHECK},
    handles::{KeyHandle, PersistentTpmHandle, TpmHandle},
    interface_types::{
        algorithm::{HashingAlgorithm, PublicAlgorithm},
        ecc::EccCurve,
        key_bits::RsaKeyBits,
        session_handles::AuthSession,
    },
    structures::{
        Data, Digest, EccPoint, EccScheme, HashScheme, KeyDerivationFunctionScheme, Public,
        PublicBuilder, PublicEccParameters, PublicKeyRsa, PublicRsaParameters, RsaDecryptionScheme,
        RsaExponent, RsaScheme, SignatureScheme, SymmetricDefinitionObject,
    },
    tss2_esys::TPMT_TK_HASHCHECK,
};

use crate::{
    Swtpm,
    bench::{
        sample::{Cpu, Sample, histogram, micros_each, record, thread_time},
        work::{MESSAGE, Work},
    },
};

/// How often it is done before it counts.
const WARM_UP: usize = 20;
/// Where the storage root key is.
const ROOT: u32 = 0x8100_0001;

/// A TPM of swtpm with the keys for some [`Work`]. It is another one than keyward's: swtpm has one client at a time.
pub(crate) struct DirectTpm {
    context: Context,
    root: KeyHandle,
    point: EccPoint,
    loaded: Option<(Work, KeyHandle)>,
    _swtpm: Swtpm,
}

impl DirectTpm {
    /// Starts a TPM and connects.
    pub(crate) fn start() -> Self {
        let swtpm = Swtpm::with_root();
        let name = TctiNameConf::from_str(&swtpm.tcti()).expect("a TCTI");
        let mut context = Context::new(name).expect("the TPM answers");
        context.set_sessions((Some(AuthSession::Password), None, None));
        let handle = PersistentTpmHandle::new(ROOT).expect("a persistent handle");
        let root = context
            .execute_without_session(|context| {
                context.tr_from_tpm_public(TpmHandle::Persistent(handle))
            })
            .expect("the storage root key");
        let root = KeyHandle::from(root);
        let public = context.execute_without_session(|context| context.read_public(root));
        let Ok((Public::Ecc { unique: point, .. }, _, _)) = public else {
            panic!("a storage root key of P-256");
        };
        Self {
            context,
            root,
            point,
            loaded: None,
            _swtpm: swtpm,
        }
    }

    /// Does the work again and again.
    pub(crate) fn run(&mut self, work: Work, duration: Duration) -> Sample {
        let key = self.key(work);
        (0..WARM_UP).for_each(|_| self.once(work, key));
        let mut latencies = histogram();
        let used = thread_time();
        let begin = Instant::now();
        let mut last = begin;
        while last.duration_since(begin) < duration {
            self.once(work, key);
            let now = Instant::now();
            record(&mut latencies, now.duration_since(last));
            last = now;
        }
        let used = thread_time().saturating_sub(used);
        let cpu = Cpu {
            caller: micros_each(used, latencies.len()),
            ..Cpu::default()
        };
        Sample::new(&latencies, last.duration_since(begin), cpu)
    }

    fn once(&mut self, work: Work, key: KeyHandle) {
        let context = &mut self.context;
        let done = match work {
            Work::EcdhP256 => context.ecdh_z_gen(key, self.point.clone()).map(drop),
            Work::UnwrapRsa2048 => {
                let ciphertext = PublicKeyRsa::try_from(vec![1; 256]).expect("256 bytes");
                let scheme = RsaDecryptionScheme::Null;
                context
                    .rsa_decrypt(key, ciphertext, scheme, Data::default())
                    .map(drop)
            }
            _ => {
                let digest = MESSAGE.first_chunk::<32>().expect("a longer message");
                let digest = Digest::try_from(digest.as_slice()).expect("a digest");
                let ticket = TPMT_TK_HASHCHECK {
                    tag: TPM2_ST_HASHCHECK,
                    hierarchy: TPM2_RH_NULL,
                    digest: Default::default(),
                };
                let ticket = ticket.try_into().expect("a ticket");
                context
                    .sign(key, digest, SignatureScheme::Null, ticket)
                    .map(drop)
            }
        };
        done.expect("the TPM does it");
    }

    /// The key for a work; the TPM has room for one or two.
    fn key(&mut self, work: Work) -> KeyHandle {
        if let Some((loaded, key)) = self.loaded {
            if loaded == work {
                return key;
            }
            self.context
                .execute_without_session(|context| context.flush_context(key.into()))
                .expect("a key that is loaded");
        }
        let root = self.root;
        let made = self
            .context
            .create(root, template(work), None, None, None, None)
            .expect("the TPM makes a key");
        let key = self
            .context
            .load(root, made.out_private, made.out_public)
            .expect("the TPM loads it");
        self.loaded = Some((work, key));
        key
    }
}

fn template(work: Work) -> Public {
    let signs = work == Work::SignP256;
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_no_da(true)
        .with_sign_encrypt(signs)
        .with_decrypt(!signs)
        .build()
        .expect("attributes");
    let builder = PublicBuilder::new()
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes);
    let public = match work {
        Work::UnwrapRsa2048 => builder
            .with_public_algorithm(PublicAlgorithm::Rsa)
            .with_rsa_parameters(PublicRsaParameters::new(
                SymmetricDefinitionObject::Null,
                RsaScheme::Null,
                RsaKeyBits::Rsa2048,
                RsaExponent::default(),
            ))
            .with_rsa_unique_identifier(PublicKeyRsa::default()),
        _ => builder
            .with_public_algorithm(PublicAlgorithm::Ecc)
            .with_ecc_parameters(PublicEccParameters::new(
                SymmetricDefinitionObject::Null,
                match signs {
                    true => EccScheme::EcDsa(HashScheme::new(HashingAlgorithm::Sha256)),
                    false => EccScheme::Null,
                },
                EccCurve::NistP256,
                KeyDerivationFunctionScheme::Null,
            ))
            .with_ecc_unique_identifier(EccPoint::default()),
    };
    public.build().expect("a template")
}
