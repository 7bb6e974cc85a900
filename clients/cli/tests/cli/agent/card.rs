//! What only PIV cards have. The PUK is `12345678`, the card's serial number 4711.

use keyward_protocol::operation::{Certificate, Done};
use keyward_protocol::{ErrorCode, Failure, Request};

use super::refuse;
use crate::fake::Peer;

const PUK: &[u8] = b"12345678";

/// Answers, or gives the request back.
pub(super) fn answer(peer: &mut Peer, id: u64, request: Request) -> Option<Request> {
    let wrong = || Failure::new(ErrorCode::PinIncorrect, "token main refused the PUK");
    match request {
        Request::ChangePuk(r) if r.old.expose() != PUK => refuse(peer, id, wrong()),
        Request::UnblockPin(r) if r.puk.expose() != PUK => refuse(peer, id, wrong()),
        Request::ResetToken(r) if r.serial != "4711" => {
            let words = "the card of token main has another serial number";
            refuse(peer, id, Failure::new(ErrorCode::Invalid, words));
        }
        Request::ChangePuk(_)
        | Request::UnblockPin(_)
        | Request::NewManagementKey(_)
        | Request::ResetToken(_) => peer.reply(id, &Done {}),
        Request::GetCertificate(_) => {
            let reply = Certificate {
                der: b"DER of a certificate".to_vec().into(),
                token: "main".into(),
                version: 1,
            };
            peer.reply(id, &reply);
        }
        Request::WriteCertificate(r) if **r.der == *b"DER" || r.der.is_empty() => {
            peer.reply(id, &Done {});
        }
        Request::WriteCertificate(_) => {
            let words = "it is no certificate (RFC 5280)";
            refuse(peer, id, Failure::new(ErrorCode::Invalid, words));
        }
        other => return Some(other),
    }
    None
}
