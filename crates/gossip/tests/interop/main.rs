//! One pool of ours and HashiCorp's `serf` (Debian's package): each sees the other come, speak, leave and die, every kind of
//! message goes both ways, and neither finds anything wrong with the other's bytes.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that shows what it counted"
)]

mod driver;
mod serf_agent;

use std::time::Duration;

use bytes::Bytes;
use driver::Driver;
use rollcall_gossip::{Command, DropReason, Effect, Filter, Kind, QueryParams, Status};
use serf_agent::{SerfAgent, wait_for};

const SECOND: Duration = Duration::from_secs(1);
/// Within this whatever was said has reached everybody. A broadcast is sent a few times to members picked at random, dead ones among them,
/// so it may miss somebody; the next push/pull, 30 s later at the most, brings it.
const EPIDEMIC: Duration = Duration::from_secs(45);

fn wait_status(driver: &Driver, name: &str, status: Status, limit: Duration) {
    wait_for(&format!("we see {name} {status:?}"), limit, || {
        let seen = driver.status(name);
        if seen == Some(status) {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        }
    });
}

fn wait_said(
    driver: &Driver,
    what: &str,
    limit: Duration,
    is_it: impl Fn(&Effect) -> bool,
) -> Effect {
    let mut found = None;
    wait_for(what, limit, || {
        let said = driver.said();
        found = said.iter().find(|effect| is_it(effect)).cloned();
        if found.is_some() {
            Ok(())
        } else {
            Err(format!("{said:?}"))
        }
    });
    found.unwrap()
}

fn exchange_events(ours: &Driver, serf: &SerfAgent) {
    serf.command(&["event", "from-serf", "payload-one"]);
    wait_said(ours, "the event of serf", EPIDEMIC, |effect| {
        matches!(effect, Effect::UserEvent(event)
            if event.name == "from-serf" && event.payload == b"payload-one"[..])
    });
    ours.command(Command::UserEvent {
        name: "from-us".to_owned(),
        payload: Bytes::from_static(b"payload-two"),
        coalesce: false,
    });
    wait_for("serf has our event", EPIDEMIC, || {
        let log = serf.log();
        if log.contains("user-event: from-us") {
            Ok(())
        } else {
            Err(log)
        }
    });
}

fn exchange_queries(ours: &Driver, serf: &SerfAgent) {
    let serf_asks = std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            serf.command(&[
                "query",
                "-timeout=5s",
                "-relay-factor=1",
                "-tag",
                "role=^roll",
                "load",
                "how much",
            ])
        });
        let query = wait_said(
            ours,
            "the query of serf",
            EPIDEMIC,
            |effect| matches!(effect, Effect::Query(asked) if asked.name == "load"),
        );
        let Effect::Query(query) = query else {
            unreachable!()
        };
        assert_eq!(query.payload, b"how much"[..]);
        let payload = Bytes::from_static(b"not much");
        ours.command(Command::Respond {
            query: query.handle,
            payload,
        });
        asked.join().unwrap()
    });
    assert!(
        serf_asks.contains("Response from 'roll-one': not much"),
        "{serf_asks}"
    );
    assert!(
        serf_asks.contains("Total Acks: 2"),
        "only ours are meant: {serf_asks}"
    );

    let tag = Filter::Tag {
        tag: "role".to_owned(),
        expression: "web".to_owned(),
    };
    ours.command(Command::Query(QueryParams {
        name: "uptime".to_owned(),
        filters: vec![tag],
        wants_ack: true,
        relay_factor: 1,
        timeout: 5 * SECOND,
        ..QueryParams::default()
    }));
    let from_serf = |name: &str| name == serf.name;
    wait_said(
        ours,
        "serf's ack",
        EPIDEMIC,
        |effect| matches!(effect, Effect::QueryAck { from, .. } if from_serf(from)),
    );
    wait_said(ours, "serf's answer", EPIDEMIC, |effect| {
        matches!(effect, Effect::QueryResponse { from, payload, .. }
            if from_serf(from) && payload.starts_with(b"answered"))
    });
    let reachability = serf.command(&["reachability"]);
    assert!(
        reachability.contains("Successfully contacted all live nodes"),
        "{reachability}"
    );
}

/// Both sides lose UDP to us for a while; TCP must carry us over it.
fn lose_udp(ours: &Driver, serf: &SerfAgent) {
    let before = ours.counters();
    ours.set_deaf(true);
    wait_for("both fall back on TCP", 20 * SECOND, || {
        let now = ours.counters();
        let pinged = now.received(Kind::StreamPing) > before.received(Kind::StreamPing);
        let pings = now.received(Kind::StreamAck) > before.received(Kind::StreamAck);
        if pinged && pings {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    });
    ours.set_deaf(false);
    serf.wait_member("roll-one", "alive", EPIDEMIC);
}

/// Kinds that a pool must have seen in both directions after all this.
const BOTH_WAYS: [Kind; 22] = [
    Kind::Ping,
    Kind::IndirectPing,
    Kind::Ack,
    Kind::Nack,
    Kind::Suspect,
    Kind::Alive,
    Kind::Dead,
    Kind::PushPull,
    Kind::StreamPing,
    Kind::StreamAck,
    Kind::Compound,
    Kind::Compressed,
    Kind::Checksum,
    Kind::User,
    Kind::JoinIntent,
    Kind::LeaveIntent,
    Kind::SerfState,
    Kind::UserEvent,
    Kind::Query,
    Kind::QueryResponse,
    Kind::QueryAck,
    Kind::Relay,
];

fn print_counts(drivers: &[&Driver]) {
    println!("{:<14} {:>8} {:>8}", "kind", "sent", "received");
    for kind in Kind::ALL {
        let sent: u64 = drivers
            .iter()
            .map(|driver| driver.counters().sent(kind))
            .sum();
        let received: u64 = drivers
            .iter()
            .map(|driver| driver.counters().received(kind))
            .sum();
        println!("{:<14} {sent:>8} {received:>8}", format!("{kind:?}"));
    }
    for reason in DropReason::ALL {
        let dropped: u64 = drivers
            .iter()
            .map(|driver| driver.counters().dropped(reason))
            .sum();
        println!("dropped {reason:?}: {dropped}");
    }
}

fn check_counts(drivers: &[&Driver], kinds: &[Kind]) {
    print_counts(drivers);
    for kind in kinds {
        let sent: u64 = drivers
            .iter()
            .map(|driver| driver.counters().sent(*kind))
            .sum();
        let received: u64 = drivers
            .iter()
            .map(|driver| driver.counters().received(*kind))
            .sum();
        assert!(
            sent > 0 && received > 0,
            "{kind:?}: {sent} sent, {received} received"
        );
    }
    for reason in [
        DropReason::Malformed,
        DropReason::Unknown,
        DropReason::Checksum,
        DropReason::Undecryptable,
        DropReason::Encryption,
        DropReason::Label,
        DropReason::Versions,
    ] {
        let dropped: u64 = drivers
            .iter()
            .map(|driver| driver.counters().dropped(reason))
            .sum();
        assert_eq!(dropped, 0, "{reason:?}");
    }
}

#[test]
fn a_pool_with_real_serfs_works_in_both_directions() {
    let handler = [
        "-tag",
        "role=web",
        "-event-handler=query:uptime=echo answered",
    ];
    let serf = SerfAgent::start("serf-one", &handler);
    let mut second = SerfAgent::start("serf-two", &["-tag", "role=db"]);
    let third = SerfAgent::start("serf-three", &[]);
    let ours = Driver::start("roll-one", &[("role", "roll"), ("id", "1")], None);
    let other = Driver::start("roll-two", &[("role", "roll"), ("id", "2")], None);

    // We join them, they join us, and ours join each other.
    ours.join(serf.address);
    wait_status(&ours, "serf-one", Status::Alive, EPIDEMIC);
    let line = serf.wait_member("roll-one", "alive", EPIDEMIC);
    assert!(
        line.contains("id=1") && line.contains("role=roll"),
        "{line}"
    );
    second.command(&["join", &ours.address.to_string()]);
    third.command(&["join", &ours.address.to_string()]);
    other.join(ours.address);
    for name in ["serf-two", "serf-three", "roll-two"] {
        wait_status(&ours, name, Status::Alive, EPIDEMIC);
        serf.wait_member(name, "alive", EPIDEMIC);
    }
    assert_eq!(ours.tags("serf-one")["role"], "web");

    // Tags change on both sides.
    serf.command(&["tags", "-set", "colour=blue"]);
    wait_for("serf's new tag", EPIDEMIC, || {
        match ours.tags("serf-one").get("colour") {
            Some(colour) if colour == "blue" => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    });
    let tags = [("role", "roll"), ("id", "1"), ("colour", "red")];
    let tags = tags
        .iter()
        .map(|(tag, value)| ((*tag).into(), (*value).into()))
        .collect();
    ours.command(Command::SetTags(tags));
    wait_for("our new tag", EPIDEMIC, || {
        let line = serf.member("roll-one");
        if line.contains("colour=red") {
            Ok(())
        } else {
            Err(line)
        }
    });

    exchange_events(&ours, &serf);
    exchange_queries(&ours, &serf);
    lose_udp(&ours, &serf);

    // One of theirs dies, then one of ours.
    second.kill();
    wait_status(&ours, "serf-two", Status::Failed, 30 * SECOND);
    serf.wait_member("serf-two", "failed", 30 * SECOND);
    other.kill();
    wait_status(&ours, "roll-two", Status::Failed, 30 * SECOND);
    serf.wait_member("roll-two", "failed", 30 * SECOND);
    serf.command(&["force-leave", "serf-two"]);
    wait_status(&ours, "serf-two", Status::Left, EPIDEMIC);
    ours.command(Command::ForceLeave {
        name: "roll-two".to_owned(),
        prune: false,
    });
    serf.wait_member("roll-two", "left", EPIDEMIC);

    // One of theirs leaves, then one of ours.
    third.command(&["leave"]);
    wait_status(&ours, "serf-three", Status::Left, 20 * SECOND);
    ours.command(Command::Leave);
    wait_said(&ours, "we have left", 20 * SECOND, |effect| {
        *effect == Effect::Left
    });
    serf.wait_member("roll-one", "left", EPIDEMIC);

    check_counts(&[&ours, &other], &BOTH_WAYS);
    for agent in [&serf, &second, &third] {
        assert_eq!(agent.complaints(), Vec::<String>::new(), "{}", agent.name);
    }
}

#[test]
fn an_encrypted_pool_with_a_real_serf_works_and_a_wrong_key_does_not() {
    // 16 bytes of 'k', and of 'w', in base64.
    let key = [
        "-encrypt=a2tra2tra2tra2tra2traw==",
        "-tag",
        "role=web",
        "-event-handler=query:uptime=echo answered",
    ];
    let serf = SerfAgent::start("serf-sealed", &key);
    let ours = Driver::start("roll-one", &[("role", "roll")], Some(&[b'k'; 16]));
    let other = Driver::start("roll-two", &[("role", "roll")], Some(&[b'k'; 16]));
    ours.join(serf.address);
    other.join(serf.address);
    wait_status(&ours, "serf-sealed", Status::Alive, EPIDEMIC);
    wait_status(&ours, "roll-two", Status::Alive, EPIDEMIC);
    serf.wait_member("roll-one", "alive", EPIDEMIC);
    serf.wait_member("roll-two", "alive", EPIDEMIC);
    exchange_events(&ours, &serf);
    exchange_queries(&ours, &serf);
    check_counts(
        &[&ours, &other],
        &[
            Kind::Encrypted,
            Kind::PushPull,
            Kind::Ping,
            Kind::Compressed,
        ],
    );
    assert_eq!(serf.complaints(), Vec::<String>::new());

    let stranger = Driver::start("stranger", &[], Some(&[b'w'; 16]));
    stranger.join(ours.address);
    stranger.join(serf.address);
    wait_said(&stranger, "the joins failed", 20 * SECOND, |effect| {
        matches!(effect, Effect::JoinDone { joined: 0, .. })
    });
    assert_eq!(ours.status("stranger"), None);
    assert_eq!(serf.member("stranger"), "");
    assert!(ours.counters().dropped(DropReason::Undecryptable) > 0);
}
