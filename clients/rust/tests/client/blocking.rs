use std::io::ErrorKind;
use std::time::Duration;

use keyward_client::{Client, Endpoint, Error, ProtocolError, Unreachable};
use keyward_protocol::ErrorCode;
use keyward_protocol::frame::MAX_FRAME;
use keyward_protocol::message::{ClientMessage, ServerMessage, Welcome};
use keyward_protocol::operation::{Sign, SignInput};

use crate::fake::{Fake, Peer, framed, welcome};
use crate::{STATUS, bytes, length, random, status};

fn client(fake: &Fake) -> Client {
    Client::connect_to(Endpoint::at(fake.path())).unwrap()
}

/// A server that greets and then does `serve`.
fn greeting(serve: impl Fn(usize, &mut Peer) + Send + Sync + 'static) -> Fake {
    Fake::start(move |number, mut peer| {
        peer.greet();
        serve(number, &mut peer);
    })
}

#[test]
fn answers_that_come_byte_by_byte_are_put_together() {
    let fake = greeting(|_, peer| {
        while let Some(call) = peer.call() {
            let body = keyward_protocol::cbor::encode(&bytes(length(&call)));
            let id = call.id;
            for byte in framed(&ServerMessage::Reply { id, body: &body }) {
                peer.raw(&[byte]);
            }
        }
    });
    let mut client = client(&fake);
    for length in [1, 300] {
        let reply = client.call(random(length)).unwrap();
        assert_eq!(reply.bytes.len(), length as usize);
    }
}

#[test]
fn answers_out_of_order_reach_their_questions() {
    let fake = greeting(|_, peer| {
        let calls: Vec<_> = (0..5).map_while(|_| peer.call()).collect();
        for call in calls.iter().rev() {
            peer.reply(call.id, &bytes(length(call)));
        }
    });
    let answers = client(&fake).pipeline((1..=5).map(random));
    let lengths: Vec<_> = answers
        .iter()
        .map(|a| a.as_ref().unwrap().bytes.len())
        .collect();
    assert_eq!(lengths, [1, 2, 3, 4, 5]);
}

#[test]
fn a_long_pipeline_keeps_its_order_and_a_refusal_its_place() {
    let fake = greeting(|_, peer| {
        while let Some(call) = peer.call() {
            match length(&call) {
                500 => peer.fail(Some(call.id), ErrorCode::Busy, "full"),
                length => peer.reply(call.id, &bytes(length)),
            }
        }
    });
    let answers = client(&fake).pipeline((1..=1000).map(random));
    assert_eq!(answers.len(), 1000);
    for (number, answer) in (1..).zip(&answers) {
        match answer {
            Ok(reply) => assert_eq!(reply.bytes.len(), number),
            Err(Error::Refused(failure)) => {
                assert_eq!((number, failure.code), (500, ErrorCode::Busy))
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_server_that_answers_while_it_is_sent_to_does_not_block_the_client() {
    // More than both socket buffers hold, in both directions.
    let fake = greeting(|_, peer| {
        while let Some(call) = peer.call() {
            peer.reply(call.id, &bytes(1024));
        }
    });
    let mut client = client(&fake);
    let sign = |_| Sign {
        key: "k".repeat(30_000),
        algorithm: None,
        input: SignInput::Message(vec![0; 30_000]),
    };
    let tickets: Vec<_> = (0..100).map(|n| client.submit(sign(n)).unwrap()).collect();
    for ticket in tickets {
        // The reply is another operation's, and is told from the right one.
        assert!(matches!(
            client.wait(ticket),
            Err(Error::Protocol(ProtocolError::Reply { .. }))
        ));
    }
}

#[test]
fn a_frame_above_the_limit_is_refused_before_it_is_read() {
    let fake = greeting(|_, peer| {
        peer.call();
        peer.raw(&u32::MAX.to_be_bytes());
        while peer.message().is_some() {}
    });
    assert!(matches!(
        client(&fake).call(random(1)),
        Err(Error::Protocol(ProtocolError::Frame(e))) if e.limit == MAX_FRAME
    ));
}

#[test]
fn a_request_above_the_limit_is_not_sent() {
    let fake = greeting(|_, peer| {
        while let Some(call) = peer.call() {
            peer.reply(call.id, &bytes(length(&call)));
        }
    });
    let mut client = client(&fake);
    let sign = Sign {
        key: "k".into(),
        algorithm: None,
        input: SignInput::Message(vec![0; MAX_FRAME]),
    };
    assert!(matches!(
        client.call(sign),
        Err(Error::TooLarge {
            limit: MAX_FRAME,
            ..
        })
    ));
    assert!(client.call(random(1)).is_ok());
    assert_eq!(fake.connections(), 1);
}

#[test]
fn a_use_that_was_cut_off_is_not_repeated() {
    let fake = greeting(|number, peer| {
        let call = peer.call();
        if let (1.., Some(call)) = (number, call) {
            peer.reply(call.id, &bytes(1));
        } else {
            // Half of an answer.
            peer.raw(&[0, 0, 0, 9, 0xa3]);
        }
    });
    let mut client = client(&fake);
    assert!(matches!(
        client.call(random(1)),
        Err(Error::OutcomeUnknown { cause: None, .. })
    ));
    assert_eq!(fake.connections(), 1);
    assert!(
        client.call(random(1)).is_ok(),
        "the next call connects anew"
    );
    assert_eq!(fake.connections(), 2);
}

#[test]
fn a_read_that_was_cut_off_is_repeated_once() {
    let fake = greeting(|number, peer| {
        if let (1, Some(call)) = (number, peer.call()) {
            peer.reply(call.id, &status(9));
        }
    });
    let mut client = client(&fake);
    assert_eq!(client.call(STATUS).unwrap().keys, 9);
    assert!(matches!(
        client.call(STATUS),
        Err(Error::OutcomeUnknown { .. })
    ));
    // Connection 1 was good for one call. Where its end is seen before the second call goes out,
    // that one begins with connection 2, and is repeated on 3; else it begins with 1.
    let connections = fake.connections();
    assert!((3..=4).contains(&connections), "{connections}");
}

#[test]
fn a_connection_that_died_in_silence_is_replaced_before_a_use_is_sent() {
    let fake = greeting(|_, peer| {
        if let Some(call) = peer.call() {
            peer.reply(call.id, &bytes(length(&call)));
        }
    });
    let mut client = client(&fake);
    for number in 1..=5 {
        assert!(client.call(random(number)).is_ok());
        assert_eq!(fake.connections(), number as usize);
        client.flush().unwrap();
        wait_for_end(&client);
    }
}

/// Until the server has hung up: only then is the connection found dead.
fn wait_for_end(client: &Client) {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut fds = [PollFd::new(client, PollFlags::RDHUP)];
    poll(&mut fds, None).unwrap();
}

#[test]
fn answers_that_came_before_the_end_are_not_lost() {
    let fake = greeting(|_, peer| {
        let (one, _) = (peer.call().unwrap(), peer.call());
        peer.reply(one.id, &bytes(1));
    });
    let mut client = client(&fake);
    let one = client.submit(random(1)).unwrap();
    let two = client.submit(random(2)).unwrap();
    assert!(matches!(
        client.wait(two),
        Err(Error::OutcomeUnknown { .. })
    ));
    assert!(client.wait(one).is_ok());
}

#[test]
fn a_server_that_only_listens_is_told_from_one_that_answers() {
    let fake = Fake::start(|_, peer| drop(peer));
    assert!(matches!(
        Client::connect_to(Endpoint::at(fake.path())),
        Err(Error::Unreachable {
            reason: Unreachable::HungUp,
            ..
        })
    ));
}

#[test]
fn a_version_that_was_not_offered_is_refused() {
    let fake = Fake::start(|_, mut peer| {
        peer.message();
        let version = 7;
        peer.say(&ServerMessage::Welcome(Welcome {
            version,
            ..welcome()
        }));
        peer.message();
    });
    let error = Client::connect_to(Endpoint::at(fake.path())).err().unwrap();
    assert!(matches!(error, Error::Protocol(ProtocolError::Version(7))));
    assert!(error.hint().unwrap().contains("--version"));
}

#[test]
fn the_reason_for_which_a_server_refuses_a_connection_is_told() {
    let fake = Fake::start(|_, mut peer| {
        peer.message();
        peer.fail(None, ErrorCode::Version, "too old");
    });
    assert!(matches!(
        Client::connect_to(Endpoint::at(fake.path())),
        Err(Error::Refused(failure)) if failure.code == ErrorCode::Version
    ));
}

#[test]
fn an_answer_that_nobody_asked_for_ends_the_connection() {
    let fake = greeting(|_, peer| {
        if let Some(call) = peer.call() {
            peer.reply(call.id + 1, &bytes(1));
        }
    });
    assert!(matches!(
        client(&fake).call(random(1)),
        Err(Error::Protocol(ProtocolError::UnknownId(2)))
    ));
}

#[test]
fn a_deadline_goes_along_and_ends_the_wait_for_an_agent_that_hangs() {
    let fake = greeting(|_, peer| {
        assert_eq!(peer.call().unwrap().deadline_ms, Some(1));
        peer.message();
    });
    let error = client(&fake).call_with_deadline(random(1), Duration::from_millis(1));
    assert!(matches!(
        error,
        Err(Error::OutcomeUnknown { cause: Some(e), .. }) if e.kind() == ErrorKind::TimedOut
    ));
}

#[test]
fn a_request_that_is_taken_back_is_cancelled() {
    let fake = greeting(|_, peer| {
        let call = peer.call().unwrap();
        assert!(matches!(peer.message(), Some(ClientMessage::Cancel { id }) if id == call.id));
        peer.fail(Some(call.id), ErrorCode::Cancelled, "cancelled");
        if let Some(call) = peer.call() {
            peer.reply(call.id, &bytes(2));
        }
    });
    let mut client = client(&fake);
    let ticket = client.submit(random(1)).unwrap();
    client.cancel(ticket).unwrap();
    assert_eq!(client.in_flight(), 0);
    assert!(client.call(random(2)).is_ok());
}
