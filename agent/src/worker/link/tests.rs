#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::{Child, Command, Stdio};

use keyward_protocol::OperationCode;
use keyward_protocol::event::EventCaller;
use keyward_sys::fd::{send_blocking, seqpacket_pair};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::*;

/// A worker that says what the test wants.
struct Worker {
    link: Link,
    socket: OwnedFd,
    /// The process that is killed with the link.
    process: Child,
}

impl Worker {
    fn new() -> Self {
        let process = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&process);
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        let (ours, socket) = seqpacket_pair().unwrap();
        Self {
            link: Link::new(ours, pidfd, process.id()).unwrap(),
            socket,
            process,
        }
    }

    /// Sends a call; ids are from 1.
    fn call(&self, about: Option<About>) -> oneshot::Receiver<Result<Outcome, Failure>> {
        let (reply, answer) = oneshot::channel();
        let sent = self
            .link
            .send(&Work::Logout, None, about.map(Rc::new), reply);
        assert!(sent.is_ok());
        answer
    }

    fn say(&self, id: u64, outcome: Outcome) {
        let packet = minicbor::to_vec(Answer { id, outcome }).unwrap();
        send_blocking(self.socket.as_fd(), &packet).unwrap();
    }

    /// Lets the link hear all of it and then the end.
    async fn end(&self, heard: &Heard) -> Ended {
        rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write).unwrap();
        self.link.receive(heard).await
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.link.kill();
        let _ = self.process.wait();
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Said {
    Failed,
    Changed,
    Touch(bool, OperationCode),
}

#[derive(Default)]
struct Heard(RefCell<Vec<Said>>);

impl Hears for Heard {
    fn failed(&self, _: &BackendError) {
        self.0.borrow_mut().push(Said::Failed);
    }

    fn more(&self) {}

    fn changed(&self) {
        self.0.borrow_mut().push(Said::Changed);
    }

    fn touch(&self, needed: bool, about: &About) {
        let said = Said::Touch(needed, about.operation);
        self.0.borrow_mut().push(said);
    }
}

fn about(operation: OperationCode) -> Option<About> {
    Some(About {
        operation,
        key: None,
        caller: EventCaller {
            uid: 7,
            pid: None,
            unit: None,
            program: None,
        },
    })
}

const SIGN: OperationCode = OperationCode::Sign;
const ECDH: OperationCode = OperationCode::Ecdh;

#[tokio::test]
async fn a_touch_is_told_when_it_is_wanted_and_when_its_call_ends() {
    let (worker, heard) = (Worker::new(), Heard::default());
    let [first, second] = [SIGN, ECDH].map(|operation| worker.call(about(operation)));
    worker.say(1, Outcome::TouchNeeded);
    worker.say(1, Outcome::Done);
    worker.say(2, Outcome::TouchNeeded);
    worker.say(2, Outcome::Failed(BackendError::TouchMissed));
    assert!(matches!(worker.end(&heard).await, Ended::Closed));
    assert_eq!(
        heard.0.take(),
        [
            Said::Touch(true, SIGN),
            Said::Touch(false, SIGN),
            Said::Touch(true, ECDH),
            Said::Touch(false, ECDH),
            Said::Failed,
        ]
    );
    assert_eq!(first.await.unwrap(), Ok(Outcome::Done));
    let missed = Outcome::Failed(BackendError::TouchMissed);
    assert_eq!(second.await.unwrap(), Ok(missed));
}

#[tokio::test]
async fn a_touch_for_what_the_agent_itself_asks_is_nobodys_business() {
    let (worker, heard) = (Worker::new(), Heard::default());
    let answer = worker.call(None);
    worker.say(1, Outcome::TouchNeeded);
    worker.say(1, Outcome::Done);
    assert!(matches!(worker.end(&heard).await, Ended::Closed));
    assert_eq!(heard.0.take(), []);
    assert_eq!(answer.await.unwrap(), Ok(Outcome::Done));
}

#[tokio::test]
async fn a_touch_ends_with_the_life_of_the_worker() {
    let (worker, heard) = (Worker::new(), Heard::default());
    let answer = worker.call(about(SIGN));
    worker.say(1, Outcome::TouchNeeded);
    assert!(matches!(worker.end(&heard).await, Ended::Closed));
    worker.link.abandon(&heard);
    let told = [Said::Touch(true, SIGN), Said::Touch(false, SIGN)];
    assert_eq!(heard.0.take(), told);
    assert!(answer.await.is_err());
}

#[tokio::test]
async fn a_notice_is_heard_beside_the_calls() {
    let (worker, heard) = (Worker::new(), Heard::default());
    let answer = worker.call(about(SIGN));
    worker.say(UNASKED, Outcome::Changed);
    worker.say(1, Outcome::Done);
    worker.say(UNASKED, Outcome::Changed);
    assert!(matches!(worker.end(&heard).await, Ended::Closed));
    assert_eq!(heard.0.take(), [Said::Changed, Said::Changed]);
    assert_eq!(answer.await.unwrap(), Ok(Outcome::Done));
}

#[tokio::test]
async fn a_worker_that_says_what_none_says_is_ended() {
    type Says = fn(&Worker);
    let cases: [(&str, Says); 6] = [
        ("of an unknown call", |w| w.say(2, Outcome::TouchNeeded)),
        ("of no call", |w| w.say(UNASKED, Outcome::TouchNeeded)),
        ("twice", |w| {
            w.say(1, Outcome::TouchNeeded);
            w.say(1, Outcome::TouchNeeded);
        }),
        ("behind the answer", |w| {
            w.say(1, Outcome::Done);
            w.say(1, Outcome::TouchNeeded);
        }),
        ("a notice as an answer", |w| w.say(1, Outcome::Changed)),
        ("an answer to nothing", |w| w.say(UNASKED, Outcome::Done)),
    ];
    for (what, says) in cases {
        let (worker, heard) = (Worker::new(), Heard::default());
        let _answer = worker.call(about(SIGN));
        says(&worker);
        let ended = worker.end(&heard).await;
        assert!(matches!(ended, Ended::Misbehaved(_)), "{what}: {ended:?}");
        worker.link.abandon(&heard);
        // Whoever was told of a touch is told of its end.
        let said = heard.0.take();
        let count = |told| {
            said.iter()
                .filter(|one| **one == Said::Touch(told, SIGN))
                .count()
        };
        assert_eq!(count(true), count(false), "{what}: {said:?}");
    }
}
