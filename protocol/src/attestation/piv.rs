//! What Yubico's attestation certificates say beside the key. All of it stands in extensions
//! (arc 1.3.6.1.4.1.41482.3), and is true if the certificate is.

use der::asn1::AnyRef;
use der::{Decode, Reader, SliceReader, Tag, TagNumber, Tagged};

/// 1.3.6.1.4.1.41482.3; one number follows.
const ARC: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0xc4, 0x0a, 0x03];
const FIRMWARE: u8 = 3;
const SERIAL: u8 = 7;
const POLICIES: u8 = 8;
const FORM_FACTOR: u8 = 9;
/// id-ce-basicConstraints, 2.5.29.19.
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
/// The tag of the extensions in a TBSCertificate.
const EXTENSIONS: Tag = Tag::ContextSpecific {
    constructed: true,
    number: TagNumber(3),
};

/// Why bytes are no certificate that a card could have made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// It is no certificate in DER.
    #[error("it is no certificate")]
    Shape,
    /// Which of the two counts, nobody can say.
    #[error("it has {0} twice")]
    Twice(&'static str),
    /// An extension that can't be read.
    #[error("{0} in it can't be read")]
    Value(&'static str),
}

/// What a certificate says of a card, where it says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CardCertificate {
    /// The firmware of the card.
    pub firmware: Option<[u8; 3]>,
    /// The serial number of the card.
    pub serial: Option<u32>,
    /// When the card wants the PIN, and when a touch, in its own numbers.
    pub policies: Option<[u8; 2]>,
    /// What the card looks like, in its own number.
    pub form_factor: Option<u8>,
    /// Whether it says something, yes or no, about being of an authority.
    pub has_constraints: bool,
}

impl CardCertificate {
    /// Reads the extensions of a certificate. Who signed it is not looked at.
    ///
    /// # Errors
    /// See [`CertificateError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, CertificateError> {
        let parts = list(sequence(one(bytes)?)?)?;
        let [tbs, _algorithm, _signature] = parts.as_slice() else {
            return Err(CertificateError::Shape);
        };
        let mut read = Self::default();
        let fields = list(sequence(*tbs)?)?;
        let Some(extensions) = fields.iter().find(|field| field.tag() == EXTENSIONS) else {
            return Ok(read);
        };
        for extension in list(sequence(one(extensions.value())?)?)? {
            read.add(&list(sequence(extension)?)?)?;
        }
        Ok(read)
    }

    fn add(&mut self, extension: &[AnyRef<'_>]) -> Result<(), CertificateError> {
        let (name, value) = match extension {
            [name, value] => (name, value),
            [name, critical, value] if critical.tag() == Tag::Boolean => (name, value),
            _ => return Err(CertificateError::Shape),
        };
        if name.tag() != Tag::ObjectIdentifier || value.tag() != Tag::OctetString {
            return Err(CertificateError::Shape);
        }
        let value = value.value();
        if name.value() == BASIC_CONSTRAINTS {
            let what = "the basic constraints";
            let before = std::mem::replace(&mut self.has_constraints, true);
            return set(&mut before.then_some(()), Some(()), what);
        }
        match name.value().strip_prefix(ARC) {
            Some([FIRMWARE]) => set(&mut self.firmware, value.try_into().ok(), "the firmware"),
            Some([SERIAL]) => set(&mut self.serial, number(value), "the serial number"),
            Some([POLICIES]) => set(&mut self.policies, value.try_into().ok(), "the policies"),
            Some([FORM_FACTOR]) => {
                let byte = <[u8; 1]>::try_from(value).ok();
                set(&mut self.form_factor, byte.map(|[b]| b), "the form factor")
            }
            _ => Ok(()),
        }
    }
}

fn set<T>(
    place: &mut Option<T>,
    value: Option<T>,
    what: &'static str,
) -> Result<(), CertificateError> {
    if place.is_some() {
        return Err(CertificateError::Twice(what));
    }
    *place = Some(value.ok_or(CertificateError::Value(what))?);
    Ok(())
}

/// An INTEGER that is not negative. That it is as short as can be is not asked: cards write four
/// bytes.
fn number(der: &[u8]) -> Option<u32> {
    let any = AnyRef::from_der(der).ok()?;
    let bytes = any.value();
    let fits = any.tag() == Tag::Integer && (1..=5).contains(&bytes.len());
    if !fits || bytes.first()? >= &0x80 {
        return None;
    }
    let mut wide = [0; 8];
    wide.get_mut(8_usize.checked_sub(bytes.len())?..)?
        .copy_from_slice(bytes);
    u32::try_from(u64::from_be_bytes(wide)).ok()
}

fn one(bytes: &[u8]) -> Result<AnyRef<'_>, CertificateError> {
    AnyRef::from_der(bytes).map_err(|_| CertificateError::Shape)
}

fn sequence(any: AnyRef<'_>) -> Result<&[u8], CertificateError> {
    match any.tag() {
        Tag::Sequence => Ok(any.value()),
        _ => Err(CertificateError::Shape),
    }
}

fn list(bytes: &[u8]) -> Result<Vec<AnyRef<'_>>, CertificateError> {
    let mut reader = SliceReader::new(bytes).map_err(|_| CertificateError::Shape)?;
    let mut list = Vec::new();
    while !reader.is_finished() {
        list.push(AnyRef::decode(&mut reader).map_err(|_| CertificateError::Shape)?);
    }
    Ok(list)
}
