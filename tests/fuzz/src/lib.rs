//! What each fuzz target does with its bytes: nothing may panic, and what is accepted must have
//! had no other encoding.
//!
//! `tests/tests/fuzz.rs` compiles this file too and feeds it the corpora and the vectors.

use std::time::Duration;

use keyward_backend::Tcti;
use keyward_backend::key_file::KeyFile;
use keyward_backend::message::{Answer, Call};
use keyward_backend::start::Start;
use keyward_client::age::agent::Recipient;
use keyward_client::age::{FileKey, Header, MAX_STANZAS};
use keyward_protocol::attestation::enrolment::{Challenge, Enrolment, Pending};
use keyward_protocol::attestation::piv::CardCertificate;
use keyward_protocol::attestation::{AttestationKey, Bundle, Document, tpm};
use keyward_protocol::backup::Content;
use keyward_protocol::cbor;
use keyward_protocol::ciphertext::{Ciphertext, Context};
use keyward_protocol::frame::{self, FrameReader};
use keyward_protocol::message::{ClientMessage, ServerMessage};
use keyward_protocol::operation::{
    KeyDescription, KeyList, PublicKey, RandomBytes, SharedSecret, Signature, StatusReport,
    Unsealed, Unwrapped, Verified,
};
use keyward_protocol::{CoseKey, SecretBytes, Thumbprint};
use keyward_virtual_piv::card::apdu::Command;
use keyward_virtual_piv::{Card, Model, Terminal, Touch};
use keyward_worker::piv;
use keyward_worker::tpm::store::Entry;
use minicbor::{Decode, Encode};

/// What a client sends to the agent.
pub fn client_message(data: &[u8]) {
    let Ok(message) = ClientMessage::decode(data) else {
        return;
    };
    let again = message.encode();
    if let ClientMessage::Hello(_) = message {
        // It may have held fields that are to be ignored.
        assert_eq!(ClientMessage::decode(&again).as_ref(), Ok(&message));
    } else {
        assert_eq!(again, data, "a second encoding");
    }
    let _ = format!("{message:?}");
}

/// What an agent sends to a client.
pub fn server_message(data: &[u8]) {
    let Ok(message) = ServerMessage::decode(data) else {
        return;
    };
    let mut again = Vec::new();
    message.encode_into(&mut again);
    assert_eq!(ServerMessage::decode(&again).as_ref(), Ok(&message));
    let _ = format!("{message:?}");
    if let ServerMessage::Reply { body, .. } = message {
        answer::<Signature>(body);
        answer::<Verified>(body);
        answer::<Unwrapped>(body);
        answer::<Unsealed>(body);
        answer::<SharedSecret>(body);
        answer::<RandomBytes>(body);
        answer::<PublicKey>(body);
        answer::<KeyDescription>(body);
        answer::<KeyList>(body);
        answer::<StatusReport>(body);
    }
}

fn answer<T: Encode<()> + for<'b> Decode<'b, ()> + PartialEq>(body: &[u8]) {
    if let Ok(value) = cbor::decode_known::<T>(body) {
        let again = cbor::encode(&value);
        assert!(cbor::decode_exact::<T>(&again).is_ok_and(|same| same == value));
    }
}

/// What a PIV card answers, or what pretends to be one.
pub fn piv_answer(data: &[u8]) {
    let _ = piv::tlv::list(data);
    let _ = piv::metadata::SlotMetadata::parse(data);
    let _ = piv::metadata::PinMetadata::parse(data);
    let _ = piv::metadata::ManagementMetadata::parse(data);
    for number in [0x05, 0x07, 0x11, 0x14, 0x16, 0xe0] {
        if let Ok(key) = piv::metadata::public_key(data, number) {
            assert!(key.key_type().is_some());
        }
    }
    if let Ok(der) = piv::certificate::unpack(data) {
        let _ = piv::certificate::public_key(der);
    }
    let _ = piv::certificate::public_key(data);
    let _ = piv::certificate::attested_policies(data);
    let _ = piv::identity::by_chuid(data);
    let _ = piv::identity::Version::parse(data);
    let _ = piv::identity::serial(data);
    let _ = piv::management_key::AdminData::parse(data);
    let _ = piv::management_key::protected_key(data);
    if let Ok((r, s)) = piv::signature::ecdsa(data) {
        assert!(r.len() + s.len() < data.len());
    }
    if let Ok(note) = piv::note::Note::parse(data) {
        assert_eq!(piv::note::Note::parse(&note.to_object()), Ok(note));
    }
    // The answers of a card in pieces, each behind its length.
    let mut rest = data;
    let command = piv::apdu::Command::new(0xcb, 0x3f, 0xff);
    let answer = piv::apdu::exchange(&command, |_| {
        let (length, behind) = rest.split_first().ok_or(())?;
        let (piece, behind) = behind.split_at_checked(usize::from(*length)).ok_or(())?;
        rest = behind;
        Ok::<_, ()>(piece.to_vec().into())
    });
    if let Ok(answer) = answer {
        assert!(answer.data.len() <= piv::apdu::MOST_ANSWER && answer.status.more().is_none());
    }
}

/// What attestations consist of: whoever wants to be believed makes them.
pub fn attestation(data: &[u8]) {
    document::<Bundle>(data);
    document::<AttestationKey>(data);
    document::<Challenge>(data);
    document::<Pending>(data);
    document::<Enrolment>(data);
    if let Ok(public) = tpm::Public::parse(data) {
        assert_eq!(public.name.len(), public.name_hash.length() + 2);
        assert!(cbor::validate(&cbor::encode(&public.key)).is_ok());
    }
    let _ = tpm::Certify::parse(data);
    let _ = tpm::parse_signature(data);
    let _ = CardCertificate::parse(data);
}

fn document<D: Document>(data: &[u8]) {
    if let Ok(document) = D::from_document(data) {
        let again = document.to_document().expect("it was within the limits");
        assert_eq!(again, data, "a second encoding");
    }
}

/// A copy of all that an agent keeps: anybody can hand one in.
pub fn backup(data: &[u8]) {
    if let Ok(content) = Content::from_document(data) {
        let again = content.to_document().expect("it was within the limit");
        assert_eq!(again, data, "a second encoding");
    }
    // Past the checksum, too.
    if let Ok(content) = cbor::decode_exact::<Content>(data) {
        let document = content.to_document().expect("it is small");
        assert_eq!(Content::from_document(&document).as_ref(), Ok(&content));
    }
}

/// A stream: the first byte says in which pieces it arrives, the second how long frames may be.
pub fn frame_reader(data: &[u8]) {
    let Some((&[step, limit], stream)) = data.split_first_chunk() else {
        return;
    };
    let limit = usize::from(limit).saturating_mul(8);
    let mut reader = FrameReader::default();
    let mut frames = Vec::new();
    let mut refused = false;
    'stream: for piece in stream.chunks(usize::from(step).max(1)) {
        reader.push(piece);
        loop {
            match reader.next_frame(limit) {
                Ok(Some(frame)) => {
                    assert!(frame.len() <= limit, "a frame above its limit");
                    frame::write(frame, limit, &mut frames).expect("it was within the limit");
                }
                Ok(None) => break,
                Err(error) => {
                    assert!(error.claimed > limit);
                    refused = true;
                    break 'stream;
                }
            }
        }
    }
    assert!(stream.starts_with(&frames), "frames that were not sent");
    if !refused {
        assert_eq!(reader.is_partial(), frames.len() < stream.len());
    }
    reader.release();
}

/// A public key in DER, and as COSE_Key.
pub fn spki(data: &[u8]) {
    if let Ok(key) = CoseKey::from_spki(data) {
        assert_eq!(key.to_spki().as_deref(), Ok(data), "a second encoding");
        let again = cbor::encode(&key);
        assert_eq!(cbor::decode_exact::<CoseKey>(&again).as_ref(), Ok(&key));
    }
    if let Ok(key) = cbor::decode_exact::<CoseKey>(data) {
        assert_eq!(cbor::encode(&key), data, "a second encoding");
        let der = key.to_spki().expect("every key fits into DER");
        assert_eq!(CoseKey::from_spki(&der).as_ref(), Ok(&key));
        let thumbprint = Thumbprint::of(&key);
        assert_eq!(
            Thumbprint::from_hex(&thumbprint.to_string()),
            Some(thumbprint)
        );
    }
    if let Some(key) = CoseKey::from_sec1(data) {
        assert_eq!(key.to_sec1().as_deref(), Some(data));
    }
}

/// What somebody says that the agent sealed, and the context that it is said to belong to.
pub fn ciphertext(data: &[u8]) {
    if let Ok(ciphertext) = Ciphertext::decode(data) {
        assert_eq!(ciphertext.encode(), data, "a second encoding");
        assert!(ciphertext.aad(&Context::default()).len() < data.len());
        assert!(ciphertext.plaintext_length() < data.len());
        let _ = format!("{ciphertext:?}");
    }
    if let Ok(context) = cbor::decode_exact::<Context>(data) {
        assert_eq!(cbor::encode(&context), data, "a second encoding");
        let entries = context.entries().clone();
        assert_eq!(Context::new(entries).as_ref(), Ok(&context));
    }
}

/// The header of a file that somebody says is encrypted.
pub fn age_header(data: &[u8]) {
    let mut rest = data;
    let Ok(header) = Header::read(&mut rest) else {
        return;
    };
    assert_eq!(
        [&header.to_bytes(), rest].concat(),
        data,
        "a second encoding"
    );
    assert!((1..=MAX_STANZAS).contains(&header.stanzas().len()));
    let file_key = FileKey::from_secret(SecretBytes::zeroed(FileKey::LENGTH)).expect("its length");
    let again = Header::new(&file_key, header.stanzas().to_vec()).expect("it was within limits");
    assert_eq!(again.stanzas(), header.stanzas());
    assert!(again.verify(&file_key).is_ok());
    // Without the MAC they are the same.
    let covered = |header: &Header| header.to_bytes()[..header.to_bytes().len() - 44].to_vec();
    assert_eq!(covered(&again), covered(&header), "a second encoding");
    for stanza in header.stanzas() {
        if let Some(Ok(recipient)) = Recipient::from_stanza(stanza) {
            assert_eq!(&recipient.into_stanza(), stanza);
        }
    }
}

/// The way to a TPM, as a person writes it.
pub fn tcti(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match Tcti::parse(text) {
        Ok(tcti) => {
            let whole = tcti.to_string();
            assert_eq!(Tcti::parse(&whole).as_ref(), Ok(&tcti), "{whole}");
            // What the library looks for stands there once, and nothing else does.
            assert!(whole.bytes().all(|byte| byte.is_ascii_graphic()));
            assert_eq!(tcti.device().is_some(), whole.starts_with("device:/dev/"));
        }
        Err(error) => assert!(!error.what.is_empty() && !error.hint.is_empty()),
    }
}

/// The file of a TPM key, alone and as the worker keeps it.
pub fn tss2_key_file(data: &[u8]) {
    if let Ok(key) = KeyFile::from_pem(data) {
        // It may have had text before it, and the TRUE of tpm2-openssl.
        let pem = key.to_pem().expect("it is not longer than what was read");
        assert_eq!(KeyFile::from_pem(pem.as_bytes()), Ok(key));
    }
    if let Ok(entry) = Entry::from_text(data) {
        if let Some(file) = entry.key.file() {
            assert_eq!(KeyFile::from_pem(data).as_ref(), Ok(file));
        }
        // Escapes that need not be can make it shorter, and then a label is too long.
        if let Ok(text) = entry.to_text() {
            assert_eq!(Entry::from_text(text.as_bytes()), Ok(entry));
        }
    }
}

/// What agent and worker send to each other; the worker may be taken over.
pub fn worker_packets(data: &[u8]) {
    packet::<Answer>(data);
    packet::<Call>(data);
    packet::<Start>(data);
}

/// A virtual PIV card to which anybody sends anything: the model and whether the management key is
/// proved, then commands, each behind its length in two bytes.
pub fn virtual_piv_apdu(data: &[u8]) {
    let Some((choice, commands)) = data.split_first() else {
        return;
    };
    let commands = commands_of(commands);
    // A card is not made for bytes that hold none.
    if !commands
        .iter()
        .any(|command| Command::parse(command).is_some())
    {
        return;
    }
    let card = Card::new(Model::ALL[usize::from(choice & 3)], 1);
    card.touch(Touch::Never);
    card.touch_timeout(Duration::ZERO);
    let terminal = Terminal::new(&card);
    let manages = choice & 4 != 0;
    if manages {
        let _ = terminal.manage();
    }
    let mut sent = Vec::new();
    for command in commands {
        if let Some(command) = Command::parse(command) {
            sent.extend_from_slice(command.data);
        }
        let verified = card.pin_is_verified();
        let answer = card.transmit(terminal.insertion, command);
        let answer = answer.expect("nobody pulls it");
        let status = answer.last_chunk::<2>().expect("a status word");
        assert!(matches!(status[0], 0x61..=0x6f | 0x90), "{status:02x?}");
        assert!(manages || !card.is_managed(), "without the management key");
        if card.pin_is_verified() && !verified {
            let knew = sent.windows(8).any(|window| card.pin_is(window));
            assert!(knew, "without the PIN");
        }
    }
}

/// The commands that a card answers in no time: making keys of RSA takes seconds.
fn commands_of(mut data: &[u8]) -> Vec<&[u8]> {
    let mut commands = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length));
        let Some((command, behind)) = rest.split_at_checked(length) else {
            break;
        };
        let rsa = |window: &[u8]| matches!(window, [0x80, 0x01, 0x05..=0x07 | 0x16]);
        if command.get(1) != Some(&0x47) || !command.windows(3).any(rsa) {
            commands.push(command);
        }
        data = behind;
    }
    commands
}

fn packet<T: Encode<()> + for<'b> Decode<'b, ()> + PartialEq>(data: &[u8]) {
    // Without the pass over the profile first, too: the decoder must stand alone.
    if let Ok(value) = minicbor::decode::<T>(data) {
        let again = cbor::encode(&value);
        assert!(minicbor::decode::<T>(&again).is_ok_and(|same| same == value));
    }
    if let Ok(value) = cbor::decode_exact::<T>(data) {
        assert_eq!(cbor::encode(&value), data, "a second encoding");
    }
}
