//! The power is cut, or a sync or a write fails, at any step of a random workload.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::common::{
    Content, Model, Plan, content, for_seeds, open, open_with_power, options, run_seed, step, sync_failure,
};
use alex_store::Error;
use alex_store::disk::sim::{Fault, Loss, Rng, SimDisk, SyncFailure};

#[test]
fn power_cut_that_drops_all_unsynced_data_keeps_a_prefix() {
    for_seeds("power_cut_that_drops_all_unsynced_data_keeps_a_prefix", 20, |seed| {
        run_seed(seed, |rng| Plan {
            faults: vec![(1 + rng.below(90), Fault::Cut)],
            losses: vec![Loss::Everything],
        });
    });
}

#[test]
fn power_cut_that_tears_and_reorders_unsynced_sectors_keeps_a_prefix_without_holes() {
    for_seeds("power_cut_that_tears_and_reorders", 35, |seed| {
        run_seed(seed, |rng| Plan {
            faults: vec![(1 + rng.below(90), Fault::Cut)],
            losses: vec![Loss::Random],
        });
    });
}

#[test]
fn process_kill_loses_no_returned_write() {
    for_seeds("process_kill_loses_no_returned_write", 5, |seed| {
        let mut rng = Rng::new(seed);
        let mut disk = SimDisk::new(seed);
        let mut model = Model::new();
        for _ in 0..4 {
            let options = options(&mut rng);
            disk.plan(1 + rng.below(60), Fault::Cut);
            if let Some(store) = open_with_power(&disk, &options) {
                model.judge(&content(&store), "after a kill");
                while step(&store, &mut model, &mut rng, &options, &disk) {
                    // Every call that returned is there after a kill, whatever its durability.
                    model.all_durable();
                }
            }
            disk = disk.restart(Loss::ProcessOnly);
        }
        let store = open(&disk, &options(&mut rng))
            .unwrap_or_else(|error| panic!("the last opening failed: {error}\n{}", model.log.join("\n")));
        model.judge(&content(&store), "at the end");
    });
}

#[test]
fn power_cut_during_recovery_five_times_over_ends_in_the_same_state() {
    for_seeds("power_cut_during_recovery_five_times_over", 15, |seed| {
        let mut rng = Rng::new(seed);
        let mut disk = SimDisk::new(seed);
        let mut model = Model::new();
        let first = options(&mut rng);
        let store = open(&disk, &first).expect("a new store opens");
        for _ in 0..rng.below(40) {
            assert!(step(&store, &mut model, &mut rng, &first, &disk), "no fault was planned");
        }
        drop(store);
        let mut loss = if rng.one_in(2) { Loss::Random } else { Loss::ProcessOnly };
        for _ in 0..5 {
            disk = disk.restart(loss);
            disk.plan(1 + rng.below(25), Fault::Cut);
            if let Some(store) = open_with_power(&disk, &options(&mut rng)) {
                // Recovery was finished before the cut, so what it showed must stay.
                model.judge(&content(&store), "after recovery");
            }
            loss = if rng.one_in(2) { Loss::Random } else { Loss::Everything };
        }
        disk = disk.restart(loss);
        let store = open(&disk, &options(&mut rng)).expect("opens once nothing fails");
        model.judge(&content(&store), "at the end");
    });
}

#[test]
fn failed_sync_poisons_and_the_reopened_store_holds_the_durable_prefix() {
    for_seeds("failed_sync_poisons_and_the_reopened_store", 20, |seed| {
        run_seed(seed, |rng| {
            let mut faults: Vec<_> =
                (0..=rng.below(3)).map(|_| (1 + rng.below(60), sync_failure(rng))).collect();
            if rng.one_in(3) {
                faults.push((1 + rng.below(60), Fault::Cut));
            }
            Plan { faults, losses: vec![Loss::Random, Loss::Everything, Loss::ProcessOnly] }
        });
    });
}

#[test]
fn full_disk_refuses_one_commit_and_the_store_goes_on() {
    for_seeds("full_disk_refuses_one_commit", 5, |seed| {
        run_seed(seed, |rng| Plan {
            faults: (0..=rng.below(4)).map(|_| (1 + rng.below(80), Fault::Full)).collect(),
            losses: vec![Loss::Random, Loss::Everything, Loss::ProcessOnly],
        });
    });
}

#[test]
fn a_write_that_fails_half_way_leaves_its_commit_absent_also_after_a_crash() {
    for_seeds("a_write_that_fails_half_way", 10, |seed| {
        run_seed(seed, |rng| {
            let mut faults: Vec<_> = (0..=rng.below(4)).map(|_| (1 + rng.below(80), Fault::Write)).collect();
            faults.extend((0..rng.below(3)).map(|_| (1 + rng.below(80), Fault::Full)));
            Plan { faults, losses: vec![Loss::Random, Loss::Everything, Loss::ProcessOnly] }
        });
    });
}

#[test]
fn a_second_reading_that_finds_less_ends_the_opening_before_anything_counts() {
    let refused = AtomicU64::new(0);
    for_seeds("a_second_reading_that_finds_less", 10, |seed| {
        let mut rng = Rng::new(seed);
        let mut disk = SimDisk::new(seed);
        let mut model = Model::new();
        for life in 0..5 {
            let options = options(&mut rng);
            disk.plan_forgetting(1 + rng.below(60));
            let opened = open(&disk, &options);
            let forgot = disk.unplan_forgetting();
            model.note(format!("life {life}: forgot {forgot}, {:?}", opened.as_ref().err()));
            match opened {
                Ok(store) => {
                    model.judge(&content(&store), "after opening");
                    disk.plan(1 + rng.below(60), Fault::Sync(SyncFailure::MarkedClean));
                    for _ in 0..rng.below(40) {
                        if !step(&store, &mut model, &mut rng, &options, &disk) {
                            break;
                        }
                    }
                }
                Err(error) => {
                    assert!(forgot && matches!(error, Error::Corruption { .. }), "{error}");
                    refused.fetch_add(1, Ordering::Relaxed);
                }
            }
            disk.unplan();
            let loss = [Loss::ProcessOnly, Loss::ProcessOnly, Loss::Random][rng.below(3) as usize];
            disk = disk.restart(loss);
        }
        let store = open(&disk, &options(&mut rng)).expect("opens once memory forgets nothing");
        let found = content(&store);
        model.judge(&found, "at the end");
        drop(store);
        let again = open(&disk.restart(Loss::Everything), &options(&mut rng)).expect("opens a second time");
        assert_eq!(content(&again), found, "the second opening finds the same");
    });
    if crate::common::seeds(10).end > 500 {
        assert!(refused.load(Ordering::Relaxed) > 10, "the case comes up");
    }
}

#[test]
fn one_fixed_workload_survives_a_cut_at_every_single_step() {
    let run = |cut: Option<u64>, loss: Loss, seed: u64| -> u64 {
        let mut rng = Rng::new(seed);
        let disk = SimDisk::new(seed);
        let options = options(&mut rng);
        if let Some(cut) = cut {
            disk.plan(cut, Fault::Cut);
        }
        let mut model = Model::new();
        if let Ok(store) = open(&disk, &options) {
            let mut alive = true;
            for _ in 0..40 {
                alive = alive && step(&store, &mut model, &mut rng, &options, &disk);
            }
            if alive && store.close().is_ok() {
                model.all_durable();
            }
        }
        let steps = disk.steps();
        let disk = disk.restart(loss);
        let store = open(&disk, &options).expect("opens after the cut");
        model.judge(&content(&store), &format!("cut at step {cut:?} of seed {seed}"));
        steps
    };
    // Eighteen workloads: each durability and write mode comes up several times.
    for seed in 0..18 {
        let steps = run(None, Loss::ProcessOnly, seed);
        assert!(steps > 20, "the workload does something");
        for cut in 1..=steps {
            run(Some(cut), Loss::Everything, seed);
            run(Some(cut), Loss::Random, seed);
        }
    }
}

#[test]
fn writes_after_a_failed_sync_are_refused_and_reads_go_on() {
    let mut rng = Rng::new(1);
    let disk = SimDisk::new(1);
    let store = open(&disk, &options(&mut rng)).expect("opens");
    store.put(1, b"one").expect("no fault yet");
    store.flush().expect("no fault yet");
    for _ in 0..2 {
        disk.plan(1, sync_failure(&mut rng));
        disk.plan(2, sync_failure(&mut rng));
    }
    let _ = store.put(2, b"two");
    assert!(store.flush().is_err(), "the device failed");
    disk.unplan();
    let poisoned =
        |outcome: Result<(), alex_store::Error>| matches!(outcome, Err(alex_store::Error::Poisoned { .. }));
    assert!(poisoned(store.put(3, b"three")), "no write after a failed flush");
    assert!(poisoned(store.flush()), "a flush is never retried");
    assert_eq!(store.get(1).expect("reads go on").as_deref(), Some(&b"one"[..]));
    let expected: Content = Content::from([(1, b"one".to_vec())]);
    drop(store);
    let again = open(&disk.restart(Loss::Everything), &options(&mut rng)).expect("opens");
    assert_eq!(content(&again), expected);
}
