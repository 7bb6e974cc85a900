//! `keyward attest …`, `keyward key attest` and what a token has to do with it

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

use super::values::Hex;
use super::{Json, Output};
use crate::hex;

#[derive(Subcommand)]
pub(crate) enum AttestCommand {
    /// Make a challenge to a token's attestation key, as a verifier
    Challenge(AttestChallenge),
    /// Write an enrolment record for the answer to a challenge, as a verifier
    Enrol(AttestEnrol),
    /// Say what an attestation bundle proves, as a verifier
    Verify(AttestVerify),
}

#[derive(Args)]
#[command(group(ArgGroup::new("endorsement").required(true)), after_long_help = "\
The challenge can be answered by one TPM alone: that of the endorsement key, and only if the \
attestation key is in it too. How that endorsement key is known to be of a TPM is said by one of the \
two options. The challenge goes to where the token is; --pending stays with the verifier.

Example:
  keyward token attestation-key -o tpm.key                     # on the machine with the TPM
  keyward attest challenge tpm.key --ek-roots vendor.pem --pending tpm.pending -o tpm.challenge
  keyward token activate tpm.challenge -o tpm.answer           # on the machine with the TPM
  keyward attest enrol tpm.answer --pending tpm.pending -o tpm.enrolment")]
pub(crate) struct AttestChallenge {
    /// What `keyward token attestation-key -o` wrote, or an attestation bundle
    #[arg(value_name = "FILE")]
    pub(crate) from: PathBuf,
    /// Believe certificates of endorsement keys that these certificates have signed (PEM)
    #[arg(long, value_name = "FILE", group = "endorsement")]
    pub(crate) ek_roots: Option<PathBuf>,
    /// Believe that the endorsement key of this SHA-256, of its SubjectPublicKeyInfo, is of a TPM
    #[arg(long, value_name = "HEX", value_parser = hex::decode, group = "endorsement")]
    pub(crate) ek_fingerprint: Option<Hex>,
    /// Where to write what the verifier keeps until the answer comes
    #[arg(long, value_name = "FILE")]
    pub(crate) pending: PathBuf,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args)]
pub(crate) struct AttestEnrol {
    /// What `keyward token activate` wrote
    #[arg(value_name = "FILE")]
    pub(crate) answer: PathBuf,
    /// What `keyward attest challenge --pending` wrote
    #[arg(long, value_name = "FILE")]
    pub(crate) pending: PathBuf,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args)]
#[command(after_long_help = "\
No agent, token or network is needed. The first word is the verdict:
  hardware   the key was made in a TPM or a PIV card and can't leave it, and the verifier knows of which
             TPM, or of whose card
  not bound  all of it could have been made without a token, since nobody vouches for the attestation
             key: for a TPM neither an enrolment record nor a certificate under --ak-roots, for a card
             no certificate under --piv-roots (exit code 1)
What does not belong together, is about another nonce or another key, or may leave its TPM, is an error \
(exit code 1). Whether a certificate was revoked is not asked.

A PIV card signs no nonce. Its bundle says that the card made the key, and not that whoever sent it has \
the card now: that is shown by a signature of the key over something that you chose (`keyward sign`).

Example:
  keyward key attest web --nonce 00112233445566778899aabbccddeeff -o web.attestation
  keyward attest verify web.attestation --nonce 00112233445566778899aabbccddeeff \\
    --enrolment tpm.enrolment --key web.pem
  keyward attest verify card.attestation --nonce 00112233445566778899aabbccddeeff \\
    --piv-roots yubico.pem")]
pub(crate) struct AttestVerify {
    /// What `keyward key attest` wrote
    #[arg(value_name = "FILE")]
    pub(crate) bundle: PathBuf,
    /// The nonce that you asked with
    #[arg(long, value_name = "HEX", value_parser = hex::decode)]
    pub(crate) nonce: Hex,
    /// An enrolment record of yours; as many as you like
    #[arg(long, value_name = "FILE")]
    pub(crate) enrolment: Vec<PathBuf>,
    /// Believe certificates of attestation keys that these certificates have signed (PEM)
    #[arg(long, value_name = "FILE")]
    pub(crate) ak_roots: Option<PathBuf>,
    /// Believe PIV cards whose certificates these certificates have signed (PEM)
    #[arg(long, value_name = "FILE")]
    pub(crate) piv_roots: Option<PathBuf>,
    /// Refuse a bundle that is not about this public key
    #[arg(long = "key", value_name = "FILE")]
    pub(crate) public_key: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Args)]
#[command(after_long_help = "\
The bundle says where the key is, signed by the attestation key of its token. `keyward attest verify` \
says what it proves, to whom it was who chose the nonce. TPMs and YubiKeys attest keys that \
they made; docs/attestation.md has \
the format.")]
pub(crate) struct KeyAttest {
    /// The key's id or one of its aliases
    pub(crate) key: String,
    /// The verifier's nonce, 16 to 64 bytes, or `-` to read it from stdin; if not said, a new one is
    /// made and shown
    #[arg(long, value_name = "HEX")]
    pub(crate) nonce: Option<String>,
    /// The version of the key; the current one if not said
    #[arg(long)]
    pub(crate) version: Option<u32>,
    /// Put the certificate of the attestation key, and those between it and a root, into the bundle (PEM)
    #[arg(long, value_name = "FILE")]
    pub(crate) ak_certificate: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args)]
pub(crate) struct TokenAttestationKey {
    /// The token; needed only where there are several
    pub(crate) token: Option<String>,
    /// Write what `keyward attest challenge` reads to a file, instead of showing it
    #[arg(
        id = "output",
        short,
        long,
        value_name = "FILE",
        conflicts_with = "json"
    )]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Args)]
pub(crate) struct Activate {
    /// What `keyward attest challenge` wrote
    #[arg(value_name = "FILE")]
    pub(crate) challenge: PathBuf,
    /// The token; needed only where there are several
    #[arg(long)]
    pub(crate) token: Option<String>,
    #[command(flatten)]
    pub(crate) output: Output,
}
