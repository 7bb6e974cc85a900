//! A test that runs partly in a process of its own: for what belongs to a process, such as a loaded PKCS#11 module and its
//! environment.
//!
//! ```no_run
//! use keyward_tests::child;
//!
//! // #[test]
//! fn a_crash_is_seen() {
//!     if child::is("a_crash_is_seen") {
//!         std::process::abort();
//!     }
//!     let output = child::command("a_crash_is_seen").output().unwrap();
//!     assert!(!output.status.success());
//! }
//! ```

use std::{
    env,
    process::{Command, Output, Stdio},
};

const VARIABLE: &str = "KEYWARD_TEST_CHILD";

/// Whether this process is the child of the test of that name.
#[must_use]
pub fn is(test: &str) -> bool {
    env::var(VARIABLE).as_deref() == Ok(test)
}

/// This test executable again, for that one test (its full path, `module::name`), in which [`is`] is then true.
#[must_use]
pub fn command(test: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("the path of the test"));
    command
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(VARIABLE, test)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Fails unless the child's test ran and passed.
#[track_caller]
pub fn assert_passed(output: &Output) {
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && stdout.contains(" 1 passed"),
        "the child failed: {}\n{stdout}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}
