//! The suite that every backend must pass, on a TPM: a real keyward-worker with swtpm, with a PIN and
//! without one.
#![allow(clippy::unwrap_used)]

use keyward_backend::conformance::Fixture;
use keyward_protocol::SecretBytes;
use keyward_tests::{RemoteBackend, TpmToken, Worker, swtpm::wire::code};

struct Tpm<const PIN: bool> {
    backend: RemoteBackend,
    token: TpmToken,
    _dir: tempfile::TempDir,
}

impl<const PIN: bool> Fixture for Tpm<PIN> {
    type Backend = RemoteBackend;

    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let token = TpmToken::new(&dir.path().join("keys"), PIN);
        Self {
            backend: RemoteBackend::new(Worker::start_tpm(&token)),
            token,
            _dir: dir,
        }
    }

    fn backend(&self) -> &RemoteBackend {
        &self.backend
    }

    fn pin(&self) -> SecretBytes {
        SecretBytes::copy_from(self.token.pin().as_bytes())
    }

    fn pins_sent(&self) -> usize {
        self.token.pins_sent()
    }

    fn remove(&self) {
        self.token.proxy().unplug();
    }

    fn replace(&self) {
        self.token.replace();
    }

    fn put_back(&self) {
        self.token.put_back();
    }

    fn stall(&self) {
        self.token.proxy().stall(&code::USES);
    }

    fn wait_until_stalled(&self) {
        self.token.proxy().wait_until_stalled();
    }

    fn resume(&self) {
        self.token.proxy().resume();
    }
}

mod with_a_pin {
    keyward_backend::conformance!(super::Tpm<true>);
}

mod without_a_pin {
    keyward_backend::conformance!(super::Tpm<false>);
}
