//! The suite that every backend must pass, on PIV cards: a real keyward-worker with a virtual card, of
//! a firmware that deletes keys and of one that doesn't.

use keyward_backend::conformance::Fixture;
use keyward_protocol::SecretBytes;
use keyward_tests::{PIV_PIN, PivToken, RemoteBackend, Worker};
use keyward_virtual_piv::Model;

struct Piv<const DELETES: bool> {
    backend: RemoteBackend,
    token: PivToken,
}

impl<const DELETES: bool> Fixture for Piv<DELETES> {
    type Backend = RemoteBackend;

    fn new() -> Self {
        let model = match DELETES {
            true => Model::YubiKey57,
            false => Model::YubiKey5,
        };
        let token = PivToken::new(model, 12_345_678);
        Self {
            backend: RemoteBackend::new(Worker::start_piv(&token)),
            token,
        }
    }

    fn backend(&self) -> &RemoteBackend {
        &self.backend
    }

    fn pin(&self) -> SecretBytes {
        SecretBytes::copy_from(PIV_PIN.as_bytes())
    }

    fn pins_sent(&self) -> usize {
        self.token.pins_sent()
    }

    fn remove(&self) {
        self.token.remove();
    }

    fn replace(&self) {
        self.token.replace();
    }

    fn put_back(&self) {
        self.token.put_back();
    }

    fn stall(&self) {
        self.token.gate().close();
    }

    fn wait_until_stalled(&self) {
        self.token.gate().wait_until_held();
    }

    fn resume(&self) {
        self.token.gate().reopen();
    }
}

mod firmware_5_7 {
    keyward_backend::conformance!(super::Piv<true>);
}

mod firmware_5_4 {
    keyward_backend::conformance!(super::Piv<false>);
}
