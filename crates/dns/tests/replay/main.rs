//! The recorded answers of Consul 1.20.1, asked of the responder: sections, codes, flags and TTLs are the same.
//!
//! Where ours differ on purpose, `DIFFERENT` says why.

mod dig;
mod malformed;
mod roll;

use std::fs;
use std::path::Path;
use std::str::FromStr as _;

use dig::Answer;
use domain::base::iana::{Opcode, Rtype};
use domain::base::{MessageBuilder, Name};
use roll::Roll;
use rollcall_dns::{Config, Outcome, Responder, Shuffle, Transport};
use serde_json::Value;

const NOW: u32 = 1_800_000_000;

/// Questions whose answers differ on purpose: what ours is, and the reason.
const DIFFERENT: [(&str, Difference); 6] = [
    // A question for TXT answered with A records is no answer; resolvers drop it.
    ("web.service.consul TXT", Difference::NoData),
    // A negative answer says how long it holds (RFC 2308), also where a TXT record is added.
    ("n1.node.dc1.consul AAAA", Difference::WithSoa),
    // Who asks with EDNS is answered with EDNS (RFC 6891).
    ("example.com A", Difference::WithEdns),
    // What does not fit is said (TC), and more fits: targets are written once, additional records only as far as there is room.
    ("many.service.consul SRV", Difference::Truncated),
    // Three of sixty, at random.
    ("many.service.consul A +noedns", Difference::SomeOf(3)),
    // `ad` in a question is no business of an answer that is not signed.
    ("web.service.consul A +opcode=UPDATE", Difference::WithoutAd),
];

#[derive(Debug, Clone, Copy)]
enum Difference {
    None,
    NoData,
    WithSoa,
    WithEdns,
    Truncated,
    SomeOf(usize),
    WithoutAd,
}

fn data(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/data")
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A question as `dig NAME TYPE OPTIONS` sends it.
fn question(query: &str) -> (Vec<u8>, Transport) {
    let mut words = query.split_whitespace();
    let name = Name::<Vec<u8>>::from_str(words.next().expect("a name")).expect("a name");
    let kind = Rtype::from_str(words.next().expect("a type")).expect("a type");
    let options: Vec<&str> = words.collect();
    let mut builder = MessageBuilder::new_vec();
    let header = builder.header_mut();
    header.set_id(4711);
    header.set_rd(!options.contains(&"+norecurse"));
    if options.contains(&"+opcode=UPDATE") {
        header.set_opcode(Opcode::UPDATE);
    }
    let mut builder = builder.question();
    builder.push((name, kind)).expect("room");
    let mut builder = builder.additional();
    let size = options
        .iter()
        .find_map(|option| option.strip_prefix("+bufsize="));
    let size = size.map_or(1232, |size| size.parse().expect("a size"));
    if !options.contains(&"+noedns") {
        let opt = builder.opt(|opt| {
            opt.set_udp_payload_size(size);
            Ok(())
        });
        opt.expect("room");
    }
    let transport = match options.contains(&"+tcp") {
        true => Transport::Tcp,
        false => Transport::Udp,
    };
    (builder.finish(), transport)
}

fn ask(responder: &Responder<Roll>, query: &str) -> Answer {
    let (request, transport) = question(query);
    let mut out = Vec::new();
    let mut shuffle = Shuffle::new(3);
    let outcome = responder.respond(&request, transport, NOW, None, &mut shuffle, &mut out);
    assert_eq!(outcome, Outcome::Reply, "{query}");
    Answer::received(&out)
}

/// SOA's serial is the time.
fn timeless(mut answer: Answer) -> Answer {
    for record in answer.sections.values_mut().flatten() {
        if record.contains(" SOA ") {
            let words = record.split(' ').enumerate();
            let words: Vec<&str> = words
                .map(|(i, word)| if i == 6 { "SERIAL" } else { word })
                .collect();
            *record = words.join(" ");
        }
    }
    answer
}

#[test]
fn answers_are_those_of_consul() {
    let setup: Value = serde_json::from_str(&data("consul-dns-setup.json")).expect("JSON");
    let responder = Responder::new(Config::default(), Roll::recorded(&setup));
    let mut compared = 0;
    for line in data("consul-dns.jsonl").lines() {
        let recorded: Value = serde_json::from_str(line).expect("JSON");
        let query = recorded["query"].as_str().expect("a query");
        let printed = recorded["dig"].as_str().expect("an answer");
        let mut theirs = timeless(Answer::printed(printed));
        let mut ours = timeless(ask(&responder, query));
        if printed.contains("...<") {
            // The recording leaves lines out: the counts are compared.
            theirs.sections.clear();
            ours.sections.clear();
        }
        let difference = DIFFERENT.iter().find(|(known, _)| *known == query);
        let difference = difference.map_or(Difference::None, |(_, difference)| *difference);
        compare(query, difference, &theirs, &ours);
        compared += 1;
    }
    assert_eq!(compared, 51);
    let known = |query: &str| data("consul-dns.jsonl").contains(&format!("\"{query}\""));
    assert!(DIFFERENT.iter().all(|(query, _)| known(query)));
}

fn compare(query: &str, difference: Difference, theirs: &Answer, ours: &Answer) {
    let mut expected = theirs.clone();
    let soa = "consul 0 IN SOA ns.consul hostmaster.consul SERIAL 3600 600 86400 0".to_owned();
    match difference {
        Difference::None => {}
        Difference::NoData => {
            expected.sections.clear();
            expected.sections.insert("AUTHORITY".to_owned(), vec![soa]);
            expected.counts = [0, 1, 1];
        }
        Difference::WithSoa => {
            expected.sections.insert("AUTHORITY".to_owned(), vec![soa]);
            expected.counts[1] = 1;
        }
        Difference::WithEdns => {
            expected.edns = Some(1232);
            expected.counts[2] = 1;
        }
        Difference::WithoutAd => {
            expected.flags.remove("ad");
        }
        Difference::SomeOf(count) => {
            assert_eq!(ours.section("ANSWER").len(), count, "{query}");
            assert_eq!(theirs.section("ANSWER").len(), count, "{query}");
            expected.sections.clone_from(&ours.sections);
        }
        Difference::Truncated => {
            assert!(ours.flags.contains("tc"), "{query}: {ours:?}");
            let (more, fewer) = (ours.counts[0], theirs.counts[0]);
            assert!(more >= fewer, "{query}: {more} answers, Consul has {fewer}");
            return;
        }
    }
    assert_eq!(*ours, expected, "{query}");
}
