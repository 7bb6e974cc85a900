//! `request-certificate`.

use keyward_protocol::operation::{CertificateRequest, RequestCertificate, SignInput};
use keyward_protocol::{ErrorCode, Failure, Format, Purpose};

use super::sign::{digested, format_not_allowed};
use super::{Use, protecting, usable};
use crate::certificate::{Unsigned, Wrong};
use crate::registry::Key;
use crate::request::{Entry, With};

impl With<'_> {
    pub(in crate::request) async fn request_certificate(
        &self,
        key: &Key,
        op: &RequestCertificate,
        entry: &mut Entry,
    ) -> Result<CertificateRequest, Failure> {
        let algorithm = usable(key, Purpose::Sign, op.algorithm, Use::Protect)?;
        entry.algorithm = Some(algorithm);
        // Any message is also a request.
        if !(key.formats.contains(&Format::X509) || key.formats.contains(&Format::Raw)) {
            return Err(format_not_allowed(key, Format::X509));
        }
        let version = protecting(key)?;
        let invalid = |wrong: Wrong| Failure::new(ErrorCode::Invalid, wrong.to_string());
        let request = Unsigned::new(&op.subject, &op.names, &version.spki, algorithm);
        let request = request.map_err(invalid)?;
        let message = request.to_be_signed().map_err(invalid)?;
        let input = digested(algorithm, SignInput::Message(message), entry);
        let signature = self
            .signature(key, version, algorithm, input, entry)
            .await?;
        Ok(CertificateRequest {
            der: request.with_signature(&signature).map_err(invalid)?.into(),
            key: key.id_text.clone(),
            version: version.number,
        })
    }
}
