//! That what clients record reaches the checkers.

use super::*;

fn session(recorder: &Recorder, id: &str) -> usize {
    let life = Life {
        id: id.into(),
        ..Life::default()
    };
    recorder.session(life, false)
}

#[test]
fn a_quiet_run_is_right() {
    let recorder = Recorder::new(3, false);
    let ticket = recorder.begin(0, 0, "put");
    let (returned, _) = recorder.end(0, ticket, "true");
    recorder.kv(0, ticket, Some(returned), KvOp::Put(0, 1));
    assert_eq!(recorder.verdict(0), Vec::<String>::new());
}

#[test]
fn a_lost_write_is_found() {
    let recorder = Recorder::new(3, false);
    for op in [KvOp::Put(0, 1), KvOp::Get(0, None)] {
        let ticket = recorder.begin(0, 0, "call");
        let (returned, _) = recorder.end(0, ticket, "answer");
        recorder.kv(1, ticket, Some(returned), op);
    }
    let wrong = recorder.verdict(0);
    assert!(wrong[0].contains("not linearizable"), "{wrong:?}");
}

#[test]
fn two_holders_of_sessions_without_an_end_are_found() {
    let recorder = Recorder::new(3, false);
    for id in ["a", "b"] {
        let number = session(&recorder, id);
        recorder.life(number, |life| life.ttl_ns = 1);
        let ticket = recorder.begin(0, 0, "acquire");
        let (returned, now) = recorder.end(0, ticket, "true");
        let op = LockCall::Acquire(number, 7, Some(Acquired::Yes));
        recorder.lock(0, ticket, Some(returned), op);
        recorder.lock(0, ticket, Some(returned), LockCall::Get(None));
        recorder.taken(Taken {
            key: 0,
            session: number,
            asked: ticket.at_ns,
            answered: now,
            released: false,
        });
    }
    let wrong = recorder.verdict(0);
    assert!(wrong[0].contains("lock l/0"), "{wrong:?}");
}

#[test]
fn the_trace_is_the_lines_with_their_times() {
    let traces: Vec<u64> = [(1, "a"), (1, "a"), (2, "a"), (1, "b")]
        .map(|(at, line)| {
            let recorder = Recorder::new(1, false);
            recorder.set_now(Duration::from_millis(at));
            recorder.note(line);
            recorder.trace()
        })
        .to_vec();
    assert_eq!(traces[0], traces[1]);
    assert_ne!(traces[0], traces[2]);
    assert_ne!(traces[0], traces[3]);
}
