//! For tests that change or measure their whole process: its limits, its umask, its memory, its children.

use std::process::Command;

/// Set in a process that runs only one test.
const ALONE: &str = "ALEX_STORE_TEST_ALONE";

/// For a test that must be the only one in its process. Returns false if this process runs only this test;
/// otherwise runs the test in a process of its own and returns true. cargo-nextest gives each test a process.
/// Under `cargo test`, where all tests of a program share one, the program is started again for this test.
/// The closure must stand in the test: its type's name contains the test's name.
pub fn ran_in_own_process<F: Fn()>(_: F) -> bool {
    let of_its_own = std::env::var_os(ALONE).is_some()
        || std::env::var_os("NEXTEST_EXECUTION_MODE").is_some_and(|mode| mode == "process-per-test");
    if of_its_own {
        return false;
    }
    let name = std::any::type_name::<F>();
    let test = name.split_once("::").map_or(name, |(_, path)| path).trim_end_matches("::{{closure}}");
    let program = std::env::current_exe().expect("a test program knows its path");
    let run = Command::new(program).args([test, "--exact"]).env(ALONE, "1").output().expect("starts again");
    let (said, complaints) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{test} in a process of its own:\n{said}{complaints}");
    // A name that matches nothing succeeds too.
    assert!(said.contains("1 passed"), "{test} is no test of this program:\n{said}");
    true
}
