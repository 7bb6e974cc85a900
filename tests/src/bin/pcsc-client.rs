//! Another program that uses a card, for tests: see `keyward_tests::piv::client`.

use std::process::ExitCode;

fn main() -> ExitCode {
    keyward_tests::piv::client::main()
}
