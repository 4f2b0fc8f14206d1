//! Given, when, then for the scheduler; and properties over long random histories.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);
const BOUNDS: Bounds = Bounds {
    network: 1000,
    process: 1000,
};

fn plan(interval: Duration, class: Class) -> Plan<String> {
    Plan {
        probe: Arc::new("probe".to_owned()),
        class,
        every: Every {
            interval,
            timeout: None,
        },
        thresholds: Thresholds::default(),
    }
}

fn network(interval_ms: u32) -> Plan<String> {
    plan(interval_ms * MS, Class::Network)
}

fn running_now(scheduler: &Scheduler<String>) -> usize {
    scheduler.network.running + scheduler.process.running
}

/// Hands in a result; what is told of it.
fn end(
    scheduler: &mut Scheduler<String>,
    now: Time,
    run: &Start<String>,
    outcome: Outcome,
) -> Option<CheckResult> {
    let told = scheduler.judge(run.token, outcome);
    scheduler.finished(now, run.token, Class::Network);
    told
}

/// Starts what is due at the time when something is.
fn start(scheduler: &mut Scheduler<String>, now: &mut Time) -> Vec<Start<String>> {
    *now = scheduler
        .next_wake(*now)
        .expect("something must be due")
        .max(*now);
    scheduler.due(*now)
}

#[test]
fn a_check_runs_once_in_its_interval_and_not_twice_at_once() {
    let mut scheduler = Scheduler::new(BOUNDS);
    let mut now = Duration::ZERO;
    scheduler.set(now, "web", network(10_000));
    let first = start(&mut scheduler, &mut now);
    assert_eq!(first.len(), 1);
    assert!(now < 10_000 * MS);
    assert!(scheduler.due(now + 60_000 * MS).is_empty());

    // It took 25 s: the two runs that were missed are not made up for.
    let late = now + 25_000 * MS;
    let told = end(&mut scheduler, late, &first[0], Outcome::passing("ok"));
    assert_eq!(told.map(|result| result.status), Some(Status::Passing));
    assert_eq!(scheduler.next_wake(late), Some(now + 30_000 * MS));
}

#[test]
fn the_same_result_is_told_once() {
    let mut scheduler = Scheduler::new(BOUNDS);
    let mut now = Duration::ZERO;
    scheduler.set(now, "web", network(1000));
    let mut told = |outcome: Outcome| {
        let run = start(&mut scheduler, &mut now).remove(0);
        end(&mut scheduler, now, &run, outcome).map(|result| result.output)
    };
    assert_eq!(told(Outcome::passing("a")).as_deref(), Some("a"));
    assert_eq!(told(Outcome::passing("a")), None);
    assert_eq!(told(Outcome::passing("b")).as_deref(), Some("b"));
    assert_eq!(told(Outcome::critical("b")).as_deref(), Some("b"));
}

#[test]
fn a_result_of_an_earlier_registration_counts_no_more() {
    let mut scheduler = Scheduler::new(BOUNDS);
    let mut now = Duration::ZERO;
    scheduler.set(now, "web", network(1000));
    let old = start(&mut scheduler, &mut now).remove(0);
    scheduler.set(now, "web", network(1000));
    let told = end(&mut scheduler, now, &old, Outcome::critical("old"));
    assert_eq!(told, None);
    let new = start(&mut scheduler, &mut now).remove(0);
    let told = end(&mut scheduler, now, &new, Outcome::passing("new"));
    assert_eq!(told.map(|result| result.output).as_deref(), Some("new"));
    assert_eq!(running_now(&scheduler), 0);
}

#[test]
fn a_check_that_is_registered_again_every_second_runs_in_its_interval_all_the_same() {
    let mut scheduler = Scheduler::new(BOUNDS);
    let mut runs = 0;
    for second in 0..100u32 {
        let now = 1000 * second * MS;
        scheduler.set(now, "web", network(10_000));
        for run in scheduler.due(now + 999 * MS) {
            runs += 1;
            end(&mut scheduler, now + 999 * MS, &run, Outcome::passing(""));
        }
    }
    assert_eq!(runs, 10);
}

#[test]
fn a_full_lane_makes_wait_in_order_and_leaves_the_other_alone() {
    let mut scheduler = Scheduler::new(Bounds {
        network: 2,
        process: 1,
    });
    for id in ["a", "b", "c", "d"] {
        scheduler.set(Duration::ZERO, id, network(1000));
    }
    scheduler.set(Duration::ZERO, "script", plan(1000 * MS, Class::Process));
    let started = scheduler.due(1000 * MS);
    assert_eq!(started.len(), 3, "two of the network and the script");
    assert_eq!(scheduler.next_wake(1000 * MS), None);

    let now = 1500 * MS;
    let first = &started[0];
    end(&mut scheduler, now, first, Outcome::passing(""));
    assert_eq!(scheduler.next_wake(now), Some(now), "one place is free");
    let next = scheduler.due(now);
    assert_eq!(next.len(), 1);
    assert!(next[0].late >= 500 * MS, "{:?}", next[0].late);
}

#[test]
fn registering_again_and_again_leaves_nothing_behind() {
    let mut scheduler = Scheduler::new(BOUNDS);
    for _ in 0..10_000 {
        scheduler.set(Duration::ZERO, "web", network(3_600_000));
    }
    assert_eq!(scheduler.len(), 1);
    assert!(scheduler.due.len() < 100, "{} entries", scheduler.due.len());
    assert!(scheduler.remove("web"));
    assert!(!scheduler.remove("web"));
    assert_eq!(scheduler.len(), 0);
}

#[derive(Debug, Clone)]
enum Step {
    Set(u8, u16),
    Remove(u8),
    Pass(u16),
    Finish(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0u8..6, 1u16..5000).prop_map(|(id, interval)| Step::Set(id, interval)),
        1 => (0u8..6).prop_map(Step::Remove),
        6 => (0u16..3000).prop_map(Step::Pass),
        6 => any::<u8>().prop_map(Step::Finish),
    ]
}

proptest! {
    /// Whatever happens: bounds hold, nobody runs twice at once, nobody starts before its time, and once all is quiet every check that is
    /// there runs in every interval.
    #[test]
    fn every_check_runs_and_none_too_often(steps in prop::collection::vec(step(), 0..80)) {
        let bounds = Bounds { network: 3, process: 1 };
        let mut scheduler = Scheduler::new(bounds);
        let mut now = Duration::ZERO;
        let mut running: Vec<Start<String>> = Vec::new();
        let mut there: BTreeMap<String, u16> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Set(id, interval) => {
                    let id = format!("c{id}");
                    scheduler.set(now, &id, network(interval.into()));
                    there.insert(id, interval);
                }
                Step::Remove(id) => {
                    let id = format!("c{id}");
                    prop_assert_eq!(scheduler.remove(&id), there.remove(&id).is_some());
                }
                Step::Pass(ms) => {
                    now += u32::from(ms) * MS;
                    running.extend(scheduler.due(now));
                }
                Step::Finish(which) => {
                    if !running.is_empty() {
                        let run = running.remove(usize::from(which) % running.len());
                        end(&mut scheduler, now, &run, Outcome::passing(""));
                    }
                }
            }
            prop_assert!(running.len() <= bounds.network);
            prop_assert_eq!(running_now(&scheduler), running.len());
            let mut tokens: Vec<_> = running.iter().map(|run| run.token).collect();
            tokens.sort();
            tokens.dedup();
            prop_assert_eq!(tokens.len(), running.len(), "one runs twice at once");
        }
        for run in running {
            end(&mut scheduler, now, &run, Outcome::passing(""));
        }
        prop_assert_eq!(scheduler.len(), there.len());

        let until = now + 20_000 * MS;
        let mut runs: BTreeMap<String, u32> = BTreeMap::new();
        while let Some(wake) = scheduler.next_wake(now) {
            if wake >= until {
                break;
            }
            now = now.max(wake);
            for run in scheduler.due(now) {
                let id = scheduler.slots[&run.token].id.clone();
                *runs.entry(id).or_default() += 1;
                end(&mut scheduler, now, &run, Outcome::passing(""));
            }
        }
        for (id, interval) in there {
            let expected = 20_000 / u32::from(interval);
            let runs = runs.get(&id).copied().unwrap_or_default();
            // One more for a run that was due when it grew quiet.
            prop_assert!(
                runs >= expected && runs <= expected + 2,
                "{id} every {interval} ms ran {runs} times in 20 s"
            );
        }
    }
}
