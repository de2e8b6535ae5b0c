//! What errors say to people who may use the store from a program or from a command line.

use std::path::PathBuf;
use std::sync::Arc;

use alex_store::{Error, Operation};

fn store() -> PathBuf {
    PathBuf::from("/data/store")
}

#[test]
fn no_message_names_an_interface_that_its_reader_may_not_have() {
    let full = std::io::Error::from_raw_os_error(libc::ENOSPC);
    let flush = Error::Io { operation: Operation::Sync, path: store(), source: Arc::new(full) };
    let defect = Error::Panicked { what: "alexpy-flush", message: "index 3 out of bounds".to_owned() };
    for error in [
        Error::Moved { path: store() },
        Error::Poisoned { path: store(), cause: Box::new(flush) },
        Error::Poisoned { path: store(), cause: Box::new(defect.clone()) },
        defect,
    ] {
        let text = error.to_string();
        for word in ["handle", "reopen", "panic", "thread '", "Error", "None"] {
            assert!(!text.contains(word), "{word:?} in {text:?}");
        }
        assert!(!text.contains('\n'), "{text}");
    }
}

#[test]
fn a_poisoned_store_and_a_moved_one_say_how_to_go_on() {
    let flush = Error::Io {
        operation: Operation::Sync,
        path: store(),
        source: Arc::new(std::io::ErrorKind::Other.into()),
    };
    let text = Error::Poisoned { path: store(), cause: Box::new(flush) }.to_string();
    assert!(text.ends_with("reads go on, and writes once the store has been opened anew"), "{text}");
    let text = Error::Moved { path: store() }.to_string();
    assert!(text.ends_with("committed is in the store's own directory: to go on, open that"), "{text}");
}

#[test]
fn a_lock_of_this_process_says_what_to_share_and_another_one_where_to_close() {
    let mine = Error::Locked { path: store(), pid: Some(std::process::id()) }.to_string();
    assert!(mine.contains("this very process; use what it has open"), "{mine}");
    for other in [Some(1), None] {
        let text = Error::Locked { path: store(), pid: other }.to_string();
        assert!(text.contains("; close it there, or open with read_only=True"), "{text}");
    }
}
