//! Which code serves which operation.

use std::rc::Rc;

use keyward_protocol::cbor::encode;
use keyward_protocol::{ErrorCode, Failure, Request};
use zeroize::Zeroizing;

use super::{Entry, With, read};
use crate::registry::Key;

impl With<'_> {
    pub(super) async fn dispatch(
        &self,
        request: Request,
        named: Option<Rc<Key>>,
        entry: &mut Entry,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let key = || {
            named
                .clone()
                .ok_or_else(|| Failure::new(ErrorCode::Internal, "no key"))
        };
        // Whoever does not take an answer leaves no plaintext behind.
        Ok(Zeroizing::new(match request {
            Request::Sign(op) => encode(&self.sign(&*key()?, op, entry).await?),
            Request::Verify(op) => encode(&self.verify(&*key()?, op, entry)?),
            Request::Unwrap(op) => encode(&self.unwrap(&*key()?, op, entry).await?),
            Request::Ecdh(op) => encode(&self.ecdh(&*key()?, op, entry).await?),
            Request::Encrypt(op) => encode(&self.encrypt(&*key()?, op, entry).await?),
            Request::Decrypt(op) => encode(&self.decrypt(named, op, entry).await?),
            Request::GenerateDataKey(op) => {
                encode(&self.generate_data_key(&*key()?, op, entry).await?)
            }
            Request::ReEncrypt(op) => encode(&self.re_encrypt(named, op, entry).await?),
            Request::HpkeOpen(op) => encode(&self.hpke_open(&*key()?, &op, entry).await?),
            Request::Wrap(op) => encode(&self.wrap(&*key()?, op, entry).await?),
            Request::Mac(op) => encode(&self.mac(&*key()?, op, entry).await?),
            Request::VerifyMac(op) => encode(&self.verify_mac(&*key()?, op, entry).await?),
            Request::RequestCertificate(op) => {
                encode(&self.request_certificate(&*key()?, &op, entry).await?)
            }
            Request::Attest(op) => encode(&self.attest(&*key()?, &op, entry).await?),
            Request::GetAttestationKey(op) => encode(&self.get_attestation_key(&op, entry).await?),
            Request::ActivateCredential(op) => encode(&self.activate_credential(&op, entry).await?),
            Request::Unseal(_) => encode(&self.unseal_data(&*key()?, entry).await?),
            Request::Random(op) => encode(&self.random(&op, entry).await?),
            Request::GetPublicKey(op) => encode(&read::public_key(&*key()?, &op, entry)?),
            Request::Create(op) => encode(&self.create(op, entry).await?),
            Request::Destroy(op) => encode(&self.destroy(&*key()?, &op, entry).await?),
            Request::Import(op) => encode(&self.import(key().ok(), op, entry).await?),
            Request::Adopt(op) => encode(&self.adopt(op, entry).await?),
            Request::Export(op) => encode(&self.export(&*key()?, op, entry).await?),
            Request::Rotate(_) => encode(&self.rotate(&*key()?, entry).await?),
            Request::Enable(_) => encode(&self.enable(&*key()?, entry).await?),
            Request::Disable(_) => encode(&self.disable(&*key()?, entry).await?),
            Request::MarkCompromised(_) => encode(&self.mark_compromised(&*key()?, entry).await?),
            Request::Alias(op) => encode(&self.alias(&*key()?, &op, entry).await?),
            Request::Tag(op) => encode(&self.tag(&*key()?, &op, entry).await?),
            Request::Reseal(op) => encode(&self.reseal(&*key()?, &op, entry).await?),
            Request::Rescan(op) => encode(&self.rescan(&op, entry).await?),
            Request::AcceptRegistry(_) => encode(&self.accept_registry(entry).await?),
            Request::Unlock(op) => encode(&self.unlock(op, entry).await?),
            Request::Lock(op) => encode(&self.lock(&op, entry).await?),
            Request::ChangePin(op) => encode(&self.change_pin(op, entry).await?),
            Request::AcceptToken(op) => encode(&self.accept_token(&op, entry).await?),
            Request::ChangePuk(op) => encode(&self.change_puk(op, entry).await?),
            Request::UnblockPin(op) => encode(&self.unblock_pin(op, entry).await?),
            Request::NewManagementKey(op) => encode(&self.new_management_key(&op, entry).await?),
            Request::ResetToken(op) => encode(&self.reset_token(&op, entry).await?),
            Request::GetCertificate(op) => {
                encode(&self.get_certificate(&*key()?, &op, entry).await?)
            }
            Request::WriteCertificate(op) => {
                encode(&self.write_certificate(&*key()?, op, entry).await?)
            }
            Request::List(op) => encode(&read::list(self.agent, &op)?),
            Request::Describe(_) => encode(&read::describe(self.agent, &*key()?)),
            Request::Status(_) => encode(&read::status(self.agent).await),
            Request::Backup(op) => encode(&self.backup(&op, entry)?),
            Request::Restore(op) => encode(&self.restore(op, entry).await?),
            Request::Subscribe(_) => encode(&read::subscribe(self.agent, self.origin)?),
            Request::Absorb(op) => encode(&self.origin.streams.absorb(&op)?),
        }))
    }
}

/// What says of which key a request is.
pub(super) enum KeyName<'r> {
    /// Nothing: it is of none.
    None,
    /// Its name, or the id.
    Named(&'r str),
    /// A ciphertext that names its key.
    Sealed(&'r [u8]),
}

/// What says of which key a request is.
pub(super) fn key_name(request: &Request) -> KeyName<'_> {
    let name = match request {
        Request::Decrypt(op) if op.key.is_none() => return KeyName::Sealed(&op.ciphertext),
        Request::ReEncrypt(op) if op.source_key.is_none() => {
            return KeyName::Sealed(&op.ciphertext);
        }
        other => name(other),
    };
    name.map_or(KeyName::None, KeyName::Named)
}

fn name(request: &Request) -> Option<&str> {
    Some(match request {
        Request::Sign(op) => &op.key,
        Request::Verify(op) => &op.key,
        Request::Unwrap(op) => &op.key,
        Request::Ecdh(op) => &op.key,
        Request::GetPublicKey(op) => &op.key,
        Request::Destroy(op) => &op.key,
        Request::Describe(op) => &op.key,
        Request::Encrypt(op) => &op.key,
        Request::GenerateDataKey(op) => &op.key,
        Request::Wrap(op) => &op.key,
        Request::Mac(op) => &op.key,
        Request::VerifyMac(op) => &op.key,
        Request::HpkeOpen(op) => &op.key,
        Request::RequestCertificate(op) => &op.key,
        Request::Attest(op) => &op.key,
        Request::Unseal(op) => &op.key,
        Request::GetCertificate(op) => &op.key,
        Request::WriteCertificate(op) => &op.key,
        Request::Export(op) => &op.key,
        Request::Rotate(op) => &op.key,
        Request::Reseal(op) => &op.key,
        Request::Enable(op) => &op.key,
        Request::Disable(op) => &op.key,
        Request::MarkCompromised(op) => &op.key,
        Request::Alias(op) => &op.key,
        Request::Tag(op) => &op.key,
        Request::Import(op) => return op.existing.as_deref(),
        Request::Decrypt(op) => return op.key.as_deref(),
        Request::ReEncrypt(op) => return op.source_key.as_deref(),
        Request::AcceptRegistry(_)
        | Request::GetAttestationKey(_)
        | Request::ActivateCredential(_)
        | Request::ChangePin(_)
        | Request::ChangePuk(_)
        | Request::UnblockPin(_)
        | Request::NewManagementKey(_)
        | Request::ResetToken(_)
        | Request::Rescan(_)
        | Request::Backup(_)
        | Request::Restore(_)
        | Request::Subscribe(_)
        | Request::Absorb(_)
        | Request::Random(_)
        | Request::Create(_)
        | Request::Adopt(_)
        | Request::Unlock(_)
        | Request::Lock(_)
        | Request::AcceptToken(_)
        | Request::List(_)
        | Request::Status(_) => return None,
    })
}
