//! Keys that were made elsewhere.

use cryptoki::object::{Attribute, KeyType as RawKeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session as RawSession;
use keyward_backend::message::{Generate, Import};
use keyward_backend::{BackendError, KeyReport, Result};
use keyward_protocol::operation::KeyMaterial;
use keyward_protocol::{CoseKey, KeyType, SecretBytes};
use zeroize::Zeroize;

use super::error::Attempt;
use super::generate::{adopt, destroy_all, first_form, is_possible};
use super::public_key::ec_params;
use super::read_back::Objects;
use super::session::Session;
use super::{secret_key, template};
use crate::private_key::{PrivateKey, Secret};

impl Session<'_> {
    /// Puts a key into the token. It is SENSITIVE and not EXTRACTABLE like one that the token made;
    /// LOCAL, ALWAYS_SENSITIVE and NEVER_EXTRACTABLE are what the token says.
    pub(super) fn import_key(&mut self, import: &Import) -> Result<KeyReport> {
        let found = self.token.found()?;
        let generate = &import.generate;
        is_possible(&found, generate)?;
        match &import.material {
            KeyMaterial::Secret(key_type, bytes) => {
                let length = generate.key_type.secret_length();
                if *key_type != generate.key_type || length != Some(bytes.len()) {
                    return Err(other_type(generate));
                }
                self.writing(|session| {
                    adopt(session, &found, generate, None, || {
                        create_secret(session, generate, bytes)
                    })
                })
            }
            KeyMaterial::Tss2(_) => Err(BackendError::MechanismInvalid(
                "the file of a TPM's key can be loaded by that TPM alone".to_owned(),
            )),
            KeyMaterial::Pkcs8(der) => {
                let key = PrivateKey::from_pkcs8(der.expose())?;
                if key.public.key_type() != Some(generate.key_type) {
                    return Err(other_type(generate));
                }
                self.writing(|session| {
                    adopt(session, &found, generate, Some(&key.public), || {
                        create_pair(session, generate, &key)
                    })
                })
            }
        }
    }
}

fn other_type(generate: &Generate) -> BackendError {
    BackendError::Invalid(format!("it is no key of type {}", generate.key_type))
}

fn create_secret(
    session: &RawSession,
    generate: &Generate,
    bytes: &SecretBytes,
) -> Attempt<Objects> {
    let forms = secret_key::kinds(generate.key_type)
        .iter()
        .flat_map(|kind| [(*kind, true), (*kind, false)]);
    first_form(forms, |(kind, explicit)| {
        let mut template = SecretTemplate(template::private(generate, explicit));
        template.0.extend([
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(kind),
            Attribute::Value(bytes.expose().to_vec()),
        ]);
        Ok(Objects::secret(session.create_object(&template.0)?))
    })
}

/// Makes the public object first: what a crash leaves of it is no key.
fn create_pair(
    session: &RawSession,
    generate: &Generate,
    key: &PrivateKey<'_>,
) -> Attempt<Objects> {
    let public = create_public(session, generate, &key.public)?;
    match create_private(session, generate, key) {
        Ok(private) => Ok(Objects::pair(public, private)),
        Err(failure) => {
            destroy_all(session, generate, [public])?;
            Err(failure)
        }
    }
}

fn create_public(
    session: &RawSession,
    generate: &Generate,
    key: &CoseKey,
) -> Attempt<ObjectHandle> {
    let shapes = match key {
        CoseKey::Rsa { n, e } => vec![vec![
            Attribute::Modulus(n.clone()),
            Attribute::PublicExponent(e.clone()),
        ]],
        key => point_forms(generate.key_type, key),
    };
    let forms = shapes
        .into_iter()
        .flat_map(|shape| [(shape.clone(), true), (shape, false)]);
    first_form(forms, |(shape, explicit)| {
        let mut template = template::public(generate, explicit);
        template.push(Attribute::Class(ObjectClass::PUBLIC_KEY));
        template.push(Attribute::KeyType(raw_type(generate.key_type)));
        template.extend(shape);
        Ok(session.create_object(&template)?)
    })
}

/// A curve's point in an OCTET STRING, as the standard says, and bare.
fn point_forms(key_type: KeyType, key: &CoseKey) -> Vec<Vec<Attribute>> {
    let bare = match key {
        CoseKey::Ed25519 { x } => x.to_vec(),
        key => key.to_sec1().unwrap_or_default(),
    };
    let length = u8::try_from(bare.len()).unwrap_or_default();
    let octets = [&[0x04, length], bare.as_slice()].concat();
    let params = ec_params(key_type).iter();
    params
        .flat_map(|params| [(params, octets.clone()), (params, bare.clone())])
        .map(|(params, point)| {
            vec![
                Attribute::EcParams(params.to_vec()),
                Attribute::EcPoint(point),
            ]
        })
        .collect()
}

fn create_private(
    session: &RawSession,
    generate: &Generate,
    key: &PrivateKey<'_>,
) -> Attempt<ObjectHandle> {
    // An RSA key has no parameters, and one form all the same.
    let params: Vec<Option<&[u8]>> = match generate.key_type.rsa_bits() {
        Some(_) => vec![None],
        None => ec_params(generate.key_type)
            .iter()
            .copied()
            .map(Some)
            .collect(),
    };
    let forms = params
        .into_iter()
        .flat_map(|params| [(params, true), (params, false)]);
    first_form(forms, |(params, explicit)| {
        let mut template = SecretTemplate(template::private(generate, explicit));
        template.0.extend([
            Attribute::Class(ObjectClass::PRIVATE_KEY),
            Attribute::KeyType(raw_type(generate.key_type)),
        ]);
        let params = params.map(|params| Attribute::EcParams(params.to_vec()));
        template.0.extend(params);
        match &key.secret {
            Secret::Scalar(scalar) => template.0.push(Attribute::Value(scalar.to_vec())),
            Secret::Seed(seed) => template.0.push(Attribute::Value(seed.to_vec())),
            Secret::Rsa(numbers) => template.0.extend([
                Attribute::Modulus(numbers.n.to_vec()),
                Attribute::PublicExponent(numbers.e.to_vec()),
                Attribute::PrivateExponent(numbers.d.to_vec()),
                Attribute::Prime1(numbers.p.to_vec()),
                Attribute::Prime2(numbers.q.to_vec()),
                Attribute::Exponent1(numbers.dp.to_vec()),
                Attribute::Exponent2(numbers.dq.to_vec()),
                Attribute::Coefficient(numbers.q_inv.to_vec()),
            ]),
        }
        Ok(session.create_object(&template.0)?)
    })
}

fn raw_type(key_type: KeyType) -> RawKeyType {
    match key_type {
        KeyType::P256 | KeyType::P384 => RawKeyType::EC,
        KeyType::Ed25519 => RawKeyType::EC_EDWARDS,
        _ => RawKeyType::RSA,
    }
}

/// A template whose secrets are wiped. The module gets pointers into it; what it copies is its own.
pub(super) struct SecretTemplate(pub(super) Vec<Attribute>);

impl Drop for SecretTemplate {
    fn drop(&mut self) {
        for attribute in &mut self.0 {
            match attribute {
                Attribute::Value(bytes)
                | Attribute::PrivateExponent(bytes)
                | Attribute::Prime1(bytes)
                | Attribute::Prime2(bytes)
                | Attribute::Exponent1(bytes)
                | Attribute::Exponent2(bytes)
                | Attribute::Coefficient(bytes) => bytes.zeroize(),
                _ => {}
            }
        }
    }
}
