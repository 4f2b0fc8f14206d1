//! Plans: the same from the same seed, over in time, and of every kind.

use super::*;

#[test]
fn a_seed_always_gives_the_same_plan() {
    for seed in 0..20 {
        let plan = || format!("{:?}", Plan::new(seed, 3));
        assert_eq!(plan(), plan());
    }
}

#[test]
fn every_fault_strikes_in_order_and_ends_before_the_heal() {
    for seed in 0..200 {
        let plan = Plan::new(seed, 5);
        assert!(plan.faults.is_sorted_by_key(|planned| planned.at));
        for planned in &plan.faults {
            assert!(planned.at <= planned.until, "{planned:?}");
            assert!(planned.until < Plan::HEAL, "{planned:?}");
        }
    }
}

#[test]
fn a_hundred_seeds_hold_every_kind_of_fault_and_fast_restarts() {
    let plans = (0..100).flat_map(|seed| Plan::new(seed, 3).faults);
    let faults: Vec<Fault> = plans.map(|planned| planned.fault).collect();
    let count = |is: fn(&Fault) -> bool| faults.iter().filter(|fault| is(fault)).count();
    for (name, found) in [
        ("cut off", count(|f| matches!(f, Fault::CutOff(_)))),
        ("mute", count(|f| matches!(f, Fault::Mute(_)))),
        ("deaf", count(|f| matches!(f, Fault::Deaf(_)))),
        ("broken link", count(|f| matches!(f, Fault::BrokenLink(..)))),
        ("loss", count(|f| matches!(f, Fault::Loss))),
        ("slow", count(|f| matches!(f, Fault::Slow(_)))),
        ("pause", count(|f| matches!(f, Fault::Pause(_)))),
        ("crash of all", count(|f| matches!(f, Fault::CrashAll(_)))),
        ("full disk", count(|f| matches!(f, Fault::DiskFull(_)))),
        ("slow disk", count(|f| matches!(f, Fault::SlowDisk(..)))),
        ("sync fails", count(|f| matches!(f, Fault::SyncFails(_)))),
        ("clock step", count(|f| matches!(f, Fault::ClockStep(..)))),
        ("transfer", count(|f| matches!(f, Fault::Transfer))),
        ("wipe", count(|f| matches!(f, Fault::Wipe(_)))),
        (
            "fast restart",
            count(|f| matches!(f, Fault::Crash(_, crash) if crash.down.as_millis() <= 120)),
        ),
    ] {
        assert!(found >= 5, "{name}: {found}");
    }
}
