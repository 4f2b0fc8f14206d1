//! Answers as `dig` prints them: taken apart, and made from messages.

use std::collections::{BTreeMap, BTreeSet};

use domain::base::iana::Rtype;
use domain::base::{Message, ParsedRecord};
use domain::rdata::AllRecordData;

/// An answer, reduced to what must be the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: String,
    /// `qr`, `aa`, …
    pub(crate) flags: BTreeSet<String>,
    /// Section to records, sorted; each `name ttl IN type data`. The OPT record stands in none.
    pub(crate) sections: BTreeMap<String, Vec<String>>,
    pub(crate) edns: Option<u16>,
    /// Of answers, authority and additional records, OPT among them.
    pub(crate) counts: [usize; 3],
}

impl Answer {
    pub(crate) fn section(&self, name: &str) -> &[String] {
        self.sections.get(name).map_or(&[], Vec::as_slice)
    }

    /// What `dig` printed.
    pub(crate) fn printed(text: &str) -> Self {
        let mut answer = Answer::default();
        let mut section = None;
        for line in text.lines() {
            if let Some((_, rest)) = line.split_once("status: ") {
                answer.status = rest.split(',').next().unwrap_or_default().to_owned();
            } else if let Some(rest) = line.strip_prefix(";; flags: ") {
                let flags = rest.split(';').next().unwrap_or_default();
                answer.flags = flags.split_whitespace().map(str::to_owned).collect();
                answer.counts = ["ANSWER: ", "AUTHORITY: ", "ADDITIONAL: "].map(|count| {
                    let (_, rest) = rest.split_once(count).expect("a count");
                    let digits = rest.split(',').next().unwrap_or_default();
                    digits.trim().parse().expect("a number")
                });
            } else if let Some((_, size)) = line.split_once("udp: ") {
                answer.edns = size.trim().parse().ok();
            } else if let Some(name) = line.strip_prefix(";; ") {
                section = name.strip_suffix(" SECTION:").map(str::to_owned);
            } else if let Some(name) = section
                .as_ref()
                .filter(|_| !line.is_empty() && !line.starts_with(';'))
            {
                let records = answer.sections.entry(name.clone()).or_default();
                records.push(plain(line));
            }
        }
        answer
            .sections
            .values_mut()
            .for_each(|records| records.sort());
        answer
    }

    /// A message.
    pub(crate) fn received(bytes: &[u8]) -> Self {
        let message = Message::from_octets(bytes).expect("a message");
        let header = message.header();
        let flags = [
            ("qr", header.qr()),
            ("aa", header.aa()),
            ("tc", header.tc()),
            ("rd", header.rd()),
            ("ra", header.ra()),
            ("ad", header.ad()),
        ];
        let mut answer = Answer {
            status: header.rcode().to_string(),
            flags: flags
                .iter()
                .filter(|(_, set)| *set)
                .map(|(flag, _)| (*flag).to_owned())
                .collect(),
            sections: BTreeMap::new(),
            edns: message.opt().map(|opt| opt.udp_payload_size()),
            counts: [
                message.header_counts().ancount(),
                message.header_counts().nscount(),
                message.header_counts().arcount(),
            ]
            .map(usize::from),
        };
        let (_, answers, authority, additional) = message.sections().expect("whole sections");
        for (name, section) in [
            ("ANSWER", answers),
            ("AUTHORITY", authority),
            ("ADDITIONAL", additional),
        ] {
            let mut records: Vec<String> = section
                .map(|record| record.expect("a whole record"))
                .filter(|record| record.rtype() != Rtype::OPT)
                .map(|record| shown(&record))
                .collect();
            records.sort();
            if !records.is_empty() {
                answer.sections.insert(name.to_owned(), records);
            }
        }
        answer
    }
}

fn shown(record: &ParsedRecord<'_, &[u8]>) -> String {
    let data = record
        .to_record::<AllRecordData<_, _>>()
        .expect("whole data")
        .expect("known data");
    let ttl = record.ttl().as_secs();
    let (owner, kind, data) = (record.owner(), record.rtype(), data.data());
    plain(&format!("{owner} {ttl} IN {kind} {data}"))
}

/// One space between words, and no final dots: printers differ in both.
fn plain(record: &str) -> String {
    let words: Vec<&str> = record
        .split_whitespace()
        .map(|word| word.strip_suffix('.').unwrap_or(word))
        .collect();
    words.join(" ")
}
