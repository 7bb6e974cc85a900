//! File keys through an agent that is played.

use keyward_client::age::agent::{
    Attempt, Context, OpenError, Recipient, SealError, new_file_key, open_file_key,
};
use keyward_client::age::{Decryptor, Encryptor, Stanza};
use keyward_client::{Client, Endpoint, Error};
use keyward_protocol::message::ServerMessage;
use keyward_protocol::operation::{DataKey, Decrypted, Encrypted};
use keyward_protocol::{ErrorCode, Failure, Request, SecretBytes};

use crate::fake::Fake;

const MAIN: &str = "00000000-0000-4000-8000-000000000001";
const SPARE: &str = "00000000-0000-4000-8000-000000000002";

/// Its ciphertexts are the key's id, the context and the plaintext side by side.
fn agent(present: &'static [&'static str]) -> Fake {
    let id = |name: &str| match name {
        "main" | MAIN => Some(MAIN),
        "spare" | SPARE => Some(SPARE),
        _ => None,
    };
    let sealed = |key: &str, context: &Option<Context>, plaintext: &[u8]| {
        [format!("{key}{context:?}").as_bytes(), plaintext].concat()
    };
    Fake::start(move |_, mut peer| {
        peer.greet();
        while let Some(call) = peer.call() {
            let refuse = |code| ServerMessage::Failure {
                id: Some(call.id),
                failure: Failure::new(code, "no"),
            };
            match call.request {
                Request::GenerateDataKey(asked) => match id(&asked.key) {
                    Some(key) => {
                        assert!(asked.with_plaintext);
                        let plaintext = vec![7; asked.length.unwrap() as usize];
                        let answer = DataKey {
                            ciphertext: sealed(key, &asked.context, &plaintext).into(),
                            plaintext: Some(SecretBytes::copy_from(&plaintext)),
                            key: key.into(),
                            version: 3,
                        };
                        peer.reply(call.id, &answer);
                    }
                    None => peer.say(&refuse(ErrorCode::NotFound)),
                },
                Request::Encrypt(asked) => match id(&asked.key) {
                    Some(key) => {
                        let plaintext = asked.plaintext.expose();
                        let answer = Encrypted {
                            ciphertext: sealed(key, &asked.context, plaintext).into(),
                            key: key.into(),
                            version: 1,
                        };
                        peer.reply(call.id, &answer);
                    }
                    None => peer.say(&refuse(ErrorCode::NotFound)),
                },
                Request::Decrypt(asked) => {
                    let key = asked.key.unwrap();
                    let front = sealed(&key, &asked.context, b"");
                    match asked.ciphertext.strip_prefix(&*front) {
                        _ if !present.contains(&&*key) => peer.say(&refuse(ErrorCode::TokenAbsent)),
                        None => peer.say(&refuse(ErrorCode::UnwrapFailed)),
                        Some(plaintext) => {
                            let answer = Decrypted {
                                plaintext: SecretBytes::copy_from(plaintext),
                                key,
                                version: 1,
                            };
                            peer.reply(call.id, &answer);
                        }
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    })
}

fn client(fake: &Fake) -> Client {
    Client::connect_to(Endpoint::at(fake.path())).unwrap()
}

fn keys(names: &[&str]) -> Vec<String> {
    names.iter().copied().map(String::from).collect()
}

fn context() -> Context {
    Context::from([("volume".into(), "home".into())])
}

#[test]
fn a_spare_opens_the_file_where_the_first_token_is_absent() {
    let fake = agent(&[SPARE]);
    let mut client = client(&fake);
    let context = context();
    let (file_key, stanzas) =
        new_file_key(&mut client, &keys(&["main", "spare"]), Some(&context)).unwrap();
    assert_eq!(stanzas[0].arguments, ["keyward", MAIN, "3"]);
    assert_eq!(stanzas[1].arguments, ["keyward", SPARE, "1"]);
    let mut file = Vec::new();
    let encryptor = Encryptor::new(&file_key, stanzas).unwrap();
    encryptor.encrypt(&b"hello"[..], &mut file, |_| {}).unwrap();

    let decryptor = Decryptor::read(&*file).unwrap();
    let opened = open_file_key(&mut client, decryptor.stanzas(), Some(&context)).unwrap();
    let mut plaintext = Vec::new();
    let payload = decryptor.open(&opened).unwrap();
    payload.write_to(&mut plaintext, |_| {}).unwrap();
    assert_eq!(plaintext, b"hello");

    let error = open_file_key(
        &mut client,
        Decryptor::read(&*file).unwrap().stanzas(),
        None,
    );
    let Err(OpenError::Closed { attempts }) = error else {
        panic!("{error:?}");
    };
    let codes = attempts
        .iter()
        .map(|attempt: &Attempt| attempt.failure.code);
    let codes: Vec<_> = codes.collect();
    assert_eq!(codes, [ErrorCode::TokenAbsent, ErrorCode::UnwrapFailed]);
}

#[test]
fn a_key_that_is_refused_is_named() {
    let fake = agent(&[]);
    let mut client = client(&fake);
    let error = new_file_key(&mut client, &keys(&["main", "other"]), None).unwrap_err();
    let SealError::Agent {
        key,
        error: Error::Refused(failure),
    } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!((&*key, failure.code), ("other", ErrorCode::NotFound));
    let none = new_file_key(&mut client, &[], None).unwrap_err();
    assert!(matches!(none, SealError::NoKeys));
}

#[test]
fn stanzas_of_other_types_are_skipped_and_named_if_there_are_no_others() {
    let fake = agent(&[MAIN]);
    let mut client = client(&fake);
    let (_, mut stanzas) = new_file_key(&mut client, &keys(&["main"]), None).unwrap();
    stanzas.insert(0, crate::stanza());
    open_file_key(&mut client, &stanzas, None).unwrap();
    let error = open_file_key(&mut client, &stanzas[..1], None).unwrap_err();
    assert!(matches!(error, OpenError::NoStanza { types } if types == ["example.com/test"]));
}

#[test]
fn a_file_key_of_another_length_is_none() {
    let fake = agent(&[MAIN]);
    let recipient = Recipient {
        key: MAIN.into(),
        version: 1,
        ciphertext: format!("{MAIN}Nonefifteen bytes!").into_bytes(),
    };
    let stanzas = [recipient.into_stanza()];
    let error = open_file_key(&mut client(&fake), &stanzas, None).unwrap_err();
    assert!(matches!(error, OpenError::Closed { attempts } if attempts.len() == 1));
}

#[test]
fn a_stanza_that_keyward_did_not_write_is_refused() {
    let upper = "0000000A-0000-4000-8000-000000000001";
    let cases: [&[&str]; 9] = [
        &["keyward"],
        &["keyward", MAIN],
        &["keyward", MAIN, "1", "1"],
        &["keyward", "main", "1"],
        &["keyward", upper, "1"],
        &["keyward", MAIN, "0"],
        &["keyward", MAIN, "01"],
        &["keyward", MAIN, "+1"],
        &["keyward", MAIN, "4294967296"],
    ];
    for arguments in cases {
        let stanza = Stanza {
            arguments: arguments.iter().copied().map(String::from).collect(),
            body: vec![],
        };
        assert!(
            Recipient::from_stanza(&stanza).unwrap().is_err(),
            "{arguments:?}"
        );
    }
}
