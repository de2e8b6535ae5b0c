//! Read-only handles opened while a writer commits and flushes: each sees a prefix, and none is refused.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use alex_store::{Durability, Options, Store};

#[test]
fn opening_read_only_beside_a_busy_sync_writer_shows_a_prefix_and_never_refuses() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let writing = Options { durability: Durability::Sync, segment_bytes: 1 << 18, ..Options::default() };
    let reading = Options { read_only: true, ..writing.clone() };
    let writer = Store::open(dir.path(), &writing, &mut |_| true).expect("opens");
    writer.put(0, &[7; 500]).expect("writes");
    let (acknowledged, done) = (AtomicI64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // In key order, so that a prefix of commits is a prefix of keys.
            for key in 1.. {
                if done.load(Ordering::Relaxed) {
                    return;
                }
                writer.put(key, &[7; 500]).expect("writes");
                acknowledged.store(key, Ordering::Release);
            }
        });
        let begun = Instant::now();
        let mut openings = 0;
        let mut outcome = Ok(());
        // Until segments have rolled, however slow the device.
        let enough =
            || acknowledged.load(Ordering::Relaxed) > 1000 && begun.elapsed() > Duration::from_secs(3);
        while outcome.is_ok() && !enough() {
            let floor = i128::from(acknowledged.load(Ordering::Acquire));
            outcome = Store::open(dir.path(), &reading, &mut |_| true).and_then(|reader| {
                let (count, last) = (i128::from(reader.len()?), reader.last()?.map(|(key, _)| key));
                assert_eq!(last, Some(count - 1), "no hole");
                assert!(count > floor, "{count} keys, and {floor} were acknowledged before");
                Ok(())
            });
            openings += 1;
        }
        done.store(true, Ordering::Relaxed);
        outcome.unwrap_or_else(|error| panic!("opening {openings} was refused: {error}"));
        assert!(openings > 10, "{openings} openings");
    });
    let stats = writer.stats().expect("open");
    assert!(stats.segments + stats.compaction.freed_segments > 1, "segments rolled under the readers");
}
