//! TPMKey (draft-bottomley-tpm2-keys §3.1), in DER.

use der::asn1::{
    AnyRef, ContextSpecificRef, ObjectIdentifier, OctetStringRef, SequenceRef, Utf8StringRef,
};
use der::{
    DecodeValue, Encode, EncodeValue, FixedTag, Header, Length, Reader, Result, Sequence,
    SliceReader, Tag, TagMode, TagNumber, Tagged, Writer,
};

use super::{KeyFile, KeyFileError, Kind, PolicyCommand};

const LOADABLE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.10.1.3");
const IMPORTABLE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.10.1.4");
const SEALED: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.10.1.5");

/// All fields of the type, also those that keyward does not use.
pub(super) struct TpmKey<'a> {
    oid: ObjectIdentifier,
    empty_auth: Option<Boolean>,
    policy: Option<Vec<TpmPolicy<'a>>>,
    secret: Option<&'a OctetStringRef>,
    auth_policy: Option<&'a SequenceRef>,
    description: Option<Utf8StringRef<'a>>,
    rsa_parent: Option<Boolean>,
    parent: u32,
    public: &'a OctetStringRef,
    private: &'a OctetStringRef,
}

impl<'a> TpmKey<'a> {
    pub(super) fn from_der(der: &'a [u8]) -> Result<Self> {
        let mut reader = SliceReader::new(der)?;
        let key = reader.sequence(|reader| {
            Ok::<_, der::Error>(Self {
                oid: reader.decode()?,
                empty_auth: reader.context_specific(TagNumber(0), TagMode::Explicit)?,
                policy: reader.context_specific(TagNumber(1), TagMode::Explicit)?,
                secret: reader.context_specific(TagNumber(2), TagMode::Explicit)?,
                auth_policy: reader.context_specific(TagNumber(3), TagMode::Explicit)?,
                description: reader.context_specific(TagNumber(4), TagMode::Explicit)?,
                rsa_parent: reader.context_specific(TagNumber(5), TagMode::Explicit)?,
                parent: reader.decode()?,
                public: reader.decode()?,
                private: reader.decode()?,
            })
        })?;
        reader.finish()?;
        Ok(key)
    }

    pub(super) fn to_der(&self) -> Result<Vec<u8>> {
        let mut fields = Vec::new();
        self.oid.encode_to_vec(&mut fields)?;
        explicit(0, self.empty_auth.as_ref(), &mut fields)?;
        if let Some(policy) = &self.policy {
            let mut commands = Vec::new();
            for command in policy {
                command.encode_to(&mut commands)?;
            }
            explicit(1, Some(&sequence(&commands)?), &mut fields)?;
        }
        explicit(4, self.description.as_ref(), &mut fields)?;
        self.parent.encode_to_vec(&mut fields)?;
        self.public.encode_to_vec(&mut fields)?;
        self.private.encode_to_vec(&mut fields)?;
        sequence(&fields)?.to_der()
    }

    pub(super) fn of(file: &'a KeyFile) -> Result<Self> {
        let policy = file.policy.iter().map(TpmPolicy::of);
        let policy = policy.collect::<Result<Vec<_>>>()?;
        let description = file.description.as_deref().map(Utf8StringRef::new);
        Ok(Self {
            oid: match file.kind {
                Kind::Loadable => LOADABLE,
                Kind::Sealed => SEALED,
            },
            // Also FALSE is written: tpm2-openssl takes an absent one for TRUE.
            empty_auth: Some(Boolean(file.empty_auth)),
            policy: (!policy.is_empty()).then_some(policy),
            secret: None,
            auth_policy: None,
            description: description.transpose()?,
            rsa_parent: None,
            parent: file.parent,
            public: OctetStringRef::new(&file.public)?,
            private: OctetStringRef::new(&file.private)?,
        })
    }

    pub(super) fn into_file(self) -> std::result::Result<KeyFile, KeyFileError> {
        let unsupported = |what| Err(KeyFileError::Unsupported(what));
        let kind = match self.oid {
            LOADABLE => Kind::Loadable,
            SEALED => Kind::Sealed,
            IMPORTABLE => return unsupported("it must be imported into a TPM first"),
            _ => return unsupported("the type of the key"),
        };
        if self.secret.is_some() {
            return unsupported("it has a secret, which belongs to importable keys");
        }
        if self.auth_policy.is_some() {
            return unsupported("it has policies that others sign (authPolicy)");
        }
        if self.rsa_parent.is_some_and(|rsa| rsa.0) {
            return unsupported("its parent is an RSA primary");
        }
        let policy = match self.policy {
            Some(policy) if policy.is_empty() => {
                return Err(KeyFileError::Malformed("its policy has no command"));
            }
            policy => policy.unwrap_or_default(),
        };
        Ok(KeyFile {
            kind,
            empty_auth: self.empty_auth.is_some_and(|empty| empty.0),
            parent: self.parent,
            public: self.public.as_bytes().to_vec(),
            private: self.private.as_bytes().to_vec(),
            policy: policy.iter().map(TpmPolicy::to_command).collect(),
            description: self.description.map(|text| text.as_str().to_owned()),
        })
    }
}

fn sequence(fields: &[u8]) -> Result<AnyRef<'_>> {
    AnyRef::new(Tag::Sequence, fields)
}

fn explicit<T: EncodeValue + Tagged>(
    number: u32,
    value: Option<&T>,
    out: &mut Vec<u8>,
) -> Result<()> {
    let Some(value) = value else { return Ok(()) };
    let field = ContextSpecificRef {
        tag_number: TagNumber(number),
        tag_mode: TagMode::Explicit,
        value,
    };
    field.encode_to_vec(out).map(drop)
}

/// One command of a policy.
struct TpmPolicy<'a> {
    code: u32,
    parameters: &'a OctetStringRef,
}

impl<'a> TpmPolicy<'a> {
    fn of(command: &'a PolicyCommand) -> Result<Self> {
        Ok(Self {
            code: command.code,
            parameters: OctetStringRef::new(&command.parameters)?,
        })
    }

    fn to_command(&self) -> PolicyCommand {
        PolicyCommand {
            code: self.code,
            parameters: self.parameters.as_bytes().to_vec(),
        }
    }

    fn encode_to(&self, out: &mut Vec<u8>) -> Result<()> {
        let mut fields = Vec::new();
        explicit(0, Some(&self.code), &mut fields)?;
        explicit(1, Some(&self.parameters), &mut fields)?;
        sequence(&fields)?.encode_to_vec(out).map(drop)
    }
}

impl<'a> DecodeValue<'a> for TpmPolicy<'a> {
    type Error = der::Error;

    fn decode_value<R: Reader<'a>>(reader: &mut R, _: Header) -> Result<Self> {
        let missing = || der::ErrorKind::Failed;
        let code = reader.context_specific(TagNumber(0), TagMode::Explicit)?;
        let parameters = reader.context_specific(TagNumber(1), TagMode::Explicit)?;
        Ok(Self {
            code: code.ok_or_else(missing)?,
            parameters: parameters.ok_or_else(missing)?,
        })
    }
}

impl<'a> Sequence<'a> for TpmPolicy<'a> {}

/// A BOOLEAN that is read also with TRUE as 1, as tpm2-openssl 1.1.1 writes it.
#[derive(Clone, Copy)]
struct Boolean(bool);

impl<'a> DecodeValue<'a> for Boolean {
    type Error = der::Error;

    fn decode_value<R: Reader<'a>>(reader: &mut R, header: Header) -> Result<Self> {
        match reader.read_slice(header.length())? {
            [0x00] => Ok(Self(false)),
            [0x01 | 0xff] => Ok(Self(true)),
            _ => Err(reader.error(Tag::Boolean.non_canonical_error())),
        }
    }
}

impl EncodeValue for Boolean {
    fn value_len(&self) -> Result<Length> {
        self.0.value_len()
    }

    fn encode_value(&self, writer: &mut impl Writer) -> Result<()> {
        self.0.encode_value(writer)
    }
}

impl FixedTag for Boolean {
    const TAG: Tag = Tag::Boolean;
}
