//! Every operation of a worker, on a real SoftHSM token, checked by `openssl`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use keyward_protocol::{Algorithm, KeyType, Purpose};
use keyward_tests::{SoftHsm, Worker};

#[test]
fn a_sealed_worker_makes_a_key_and_signs() {
    let hsm = SoftHsm::new();
    let mut worker = Worker::ready(&hsm, None);
    let (id, report) = worker.generate(KeyType::P256, Purpose::Sign).unwrap();
    println!("{report:?}");
    let signature = worker.sign(id, Algorithm::Esp256, b"message").unwrap();
    assert_eq!(signature.len(), 64);
    worker.hang_up();
    assert!(worker.ended().success());
}
