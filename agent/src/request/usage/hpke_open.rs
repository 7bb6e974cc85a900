//! `hpke-open`: the key schedule here, the exchange in the token.

use keyward_protocol::operation::{Decrypted, HpkeOpen};
use keyward_protocol::{Failure, Purpose, SecretBytes};
use keyward_seal::Suite;
use sha2::{Digest, Sha256};

use super::{Use, check_state, numbered, usable};
use crate::envelope::hpke;
use crate::registry::{Key, Version};
use crate::request::{Entry, With};

impl With<'_> {
    pub(in crate::request) async fn hpke_open(
        &self,
        key: &Key,
        op: &HpkeOpen,
        entry: &mut Entry,
    ) -> Result<Decrypted, Failure> {
        let algorithm = usable(key, Purpose::Encrypt, op.algorithm, Use::Process)?;
        let Some(suite) = Suite::of(algorithm) else {
            return Err(super::does_not(key, "open HPKE"));
        };
        let version = numbered(key, op.version)?;
        check_state(key, version.state, Use::Process)?;
        entry.algorithm = Some(algorithm);
        let digest = Sha256::new().chain_update(&*op.enc);
        entry.digest = Some(digest.chain_update(&*op.ciphertext).finalize().into());
        self.may_try_to_open()?;
        let z = self.exchange(key, version, &op.enc, entry).await?;
        let bytes = |bytes: &Option<minicbor::bytes::ByteVec>| {
            bytes.as_ref().map_or(Vec::new(), |bytes| bytes.to_vec())
        };
        let (info, aad) = (bytes(&op.info), bytes(&op.aad));
        let plaintext = match &version.public {
            Some(public) => {
                hpke::open(suite, &z, &op.enc, public, &info, &aad, &op.ciphertext).ok()
            }
            None => None,
        };
        Ok(Decrypted {
            plaintext: plaintext.ok_or_else(|| self.did_not_open())?,
            key: key.id_text.clone(),
            version: version.number,
        })
    }

    /// Z of the version and an encapsulated key; one that is no point of the curve opens nothing,
    /// and never gets to the token.
    pub(super) async fn exchange(
        &self,
        key: &Key,
        version: &Version,
        enc: &[u8],
        entry: &mut Entry,
    ) -> Result<SecretBytes, Failure> {
        entry.version = Some(version.id);
        let peer = hpke::peer_of(enc).ok_or_else(|| self.did_not_open())?;
        self.derive(key, version, peer, entry).await
    }
}
