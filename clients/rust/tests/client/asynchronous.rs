use std::sync::mpsc;

use keyward_client::{AsyncClient, Endpoint, Error};
use keyward_protocol::ErrorCode;
use keyward_protocol::message::ClientMessage;

use crate::fake::Fake;
use crate::{STATUS, bytes, length, random, status};

/// The runtime goes before the server does: its end is the end of the connections.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(test);
}

async fn client(fake: &Fake) -> AsyncClient {
    AsyncClient::connect_to(Endpoint::at(fake.path()))
        .await
        .unwrap()
}

#[test]
fn calls_of_many_tasks_share_one_connection_and_get_their_own_answers() {
    let fake = Fake::start(|_, mut peer| {
        peer.greet();
        let calls: Vec<_> = (0..50).map_while(|_| peer.call()).collect();
        for call in calls.iter().rev() {
            peer.reply(call.id, &bytes(length(call)));
        }
        peer.message();
    });
    run(async {
        let client = client(&fake).await;
        let tasks: Vec<_> = (1..=50)
            .map(|number| {
                let client = client.clone();
                tokio::spawn(async move { client.call(random(number)).await.unwrap().bytes.len() })
            })
            .collect();
        for (number, task) in (1..).zip(tasks) {
            assert_eq!(task.await.unwrap(), number);
        }
        assert_eq!(fake.connections(), 1);
    });
}

#[test]
fn a_future_that_is_dropped_cancels_its_call() {
    let (asked, was_asked) = mpsc::channel();
    let fake = Fake::start(move |_, mut peer| {
        peer.greet();
        let call = peer.call().unwrap();
        asked.send(()).unwrap();
        assert!(matches!(peer.message(), Some(ClientMessage::Cancel { id }) if id == call.id));
        peer.fail(Some(call.id), ErrorCode::Cancelled, "cancelled");
        let call = peer.call().unwrap();
        peer.reply(call.id, &bytes(2));
        peer.message();
    });
    run(async {
        let client = client(&fake).await;
        let call = tokio::spawn({
            let client = client.clone();
            async move { client.call(random(1)).await }
        });
        let asked = tokio::task::spawn_blocking(move || was_asked.recv());
        asked.await.unwrap().unwrap();
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
        assert!(client.call(random(2)).await.is_ok());
    });
}

#[test]
fn only_reads_are_repeated_when_the_connection_ends() {
    let fake = Fake::start(|number, mut peer| {
        peer.greet();
        if let (2, Some(call)) = (number, peer.call()) {
            peer.reply(call.id, &status(5));
        }
    });
    run(async {
        let client = client(&fake).await;
        assert!(matches!(
            client.call(random(1)).await,
            Err(Error::OutcomeUnknown { .. })
        ));
        assert_eq!(client.call(STATUS).await.unwrap().keys, 5);
        assert_eq!(fake.connections(), 3);
    });
}
