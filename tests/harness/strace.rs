//! Reads what `strace -f -ttt -T -yy` wrote, and judges it: no acknowledgement may leave before a majority has synced.
//!
//! For one write, known by a token that occurs in nothing else, a server *has it on disk* once a file of its data
//! directory was written with the token in it, and a sync of that file began after that write ended and succeeded.
//! The acknowledgement is the first send on the client's connection after the request was read from it. strace stops
//! a thread at the entry of a call before it takes the time, and at the exit before it lets it go on; so "sync ended
//! before send began" in the traces means that it was so, and a server that waits is never blamed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

/// What strace is told to follow: syncs, and everything that writes to a file or moves bytes over a socket.
pub const CALLS: &str = "trace=fsync,fdatasync,sync_file_range,msync,pwrite64,pwritev,pwritev2,write,writev,\
    read,readv,sendto,sendmsg,sendmmsg,recvfrom,recvmsg";

/// Times are printed in whole microseconds, begin and duration each rounded.
const ROUNDING_US: u64 = 2;

/// A system call, with times in microseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// Everything between its parentheses and after, as printed.
    pub text: String,
    /// Entry.
    pub begin_us: u64,
    /// Exit.
    pub end_us: u64,
}

impl Call {
    fn is_sync(&self) -> bool {
        matches!(self.name.as_str(), "fsync" | "fdatasync") && self.text.contains(" = 0")
    }

    fn writes_file(&self) -> bool {
        matches!(
            self.name.as_str(),
            "pwrite64" | "pwritev" | "pwritev2" | "write" | "writev"
        )
    }

    fn sends(&self) -> bool {
        matches!(
            self.name.as_str(),
            "write" | "writev" | "sendto" | "sendmsg" | "sendmmsg"
        )
    }

    fn receives(&self) -> bool {
        matches!(
            self.name.as_str(),
            "read" | "readv" | "recvfrom" | "recvmsg"
        )
    }

    /// What `-yy` says the first argument is: a path, or `TCP:[here->there]`.
    fn what(&self) -> &str {
        let Some(begin) = self.text.find('<') else {
            return "";
        };
        let rest = &self.text[begin + 1..];
        // A connection's name holds "->", so its end is "]>".
        let end = if rest.starts_with("TCP") {
            rest.find("]>").map(|end| end + 1)
        } else {
            rest.find('>')
        };
        end.map_or("", |end| &rest[..end])
    }
}

/// The calls of one server, by their begin.
pub fn parse(trace: &str) -> Vec<Call> {
    let mut open: BTreeMap<&str, Call> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in trace.lines() {
        let Some((pid, rest)) = line.split_once(' ') else {
            continue;
        };
        let Some((time, text)) = rest.trim_start().split_once(' ') else {
            continue;
        };
        let Some(begin_us) = microseconds(time) else {
            continue;
        };
        let call = if let Some(resumed) = text.strip_prefix("<... ") {
            let Some(mut call) = open.remove(pid) else {
                continue;
            };
            let rest = resumed.split_once(" resumed>").map_or("", |(_, rest)| rest);
            call.text.push_str(rest);
            call
        } else {
            let Some((name, arguments)) = text.split_once('(') else {
                continue;
            };
            let mut call = Call {
                name: name.to_owned(),
                text: arguments.to_owned(),
                begin_us,
                end_us: begin_us,
            };
            if let Some(entered) = call.text.strip_suffix("<unfinished ...>") {
                call.text = entered.to_owned();
                open.insert(pid, call);
                continue;
            }
            call
        };
        calls.push(Call {
            end_us: call.begin_us + duration_us(&call.text),
            ..call
        });
    }
    calls.sort_by_key(|call| call.begin_us);
    calls
}

fn microseconds(time: &str) -> Option<u64> {
    let (seconds, fraction) = time.split_once('.')?;
    let fraction = format!("{fraction:0<6}");
    Some(seconds.parse::<u64>().ok()? * 1_000_000 + fraction[..6].parse::<u64>().ok()?)
}

/// `<0.000123>` at the end of a line. A call without one never returned: it counts as endless.
fn duration_us(text: &str) -> u64 {
    let inner = text
        .trim_end()
        .strip_suffix('>')
        .and_then(|text| text.rsplit_once('<'));
    inner
        .and_then(|(_, time)| microseconds(time))
        .unwrap_or(u64::MAX / 4)
}

/// One server's trace.
#[derive(Debug)]
pub struct Trace<'a> {
    /// Its calls.
    pub calls: Vec<Call>,
    /// Its data directory.
    pub data_dir: &'a Path,
    /// Where its clients connect.
    pub http: SocketAddr,
}

impl Trace<'_> {
    /// When the token was durable here: the end of the first sync that covers it.
    fn durable_us(&self, token: &str) -> Option<u64> {
        let directory = self.data_dir.to_str()?;
        let writes = self.calls.iter().filter(|call| {
            call.writes_file() && call.what().starts_with(directory) && call.text.contains(token)
        });
        writes
            .filter_map(|write| {
                let covering = self.calls.iter().filter(|sync| {
                    sync.is_sync() && sync.what() == write.what() && sync.begin_us >= write.end_us
                });
                covering.map(|sync| sync.end_us).min()
            })
            .min()
    }

    /// When the answer to the request that holds the token began to leave.
    fn acknowledged_us(&self, token: &str) -> Option<u64> {
        // The head may have come in several pieces; the token is also the body.
        let clients = format!("TCP:[{}->", self.http);
        let request = self.calls.iter().find(|call| {
            call.receives() && call.what().starts_with(&clients) && call.text.contains(token)
        })?;
        let answer = self.calls.iter().find(|call| {
            call.sends() && call.begin_us >= request.end_us && call.what() == request.what()
        })?;
        Some(answer.begin_us)
    }
}

/// Judges one acknowledged write: `asked` is the trace of the server that the client talked to. Returns by how many
/// microseconds the majority's sync was earlier than the acknowledgement.
pub fn judge(token: &str, asked: usize, traces: &[Trace<'_>]) -> Result<u64, String> {
    let acknowledged = traces[asked]
        .acknowledged_us(token)
        .ok_or_else(|| format!("{token}: its acknowledgement is not in the trace"))?;
    let mut durable: Vec<Option<u64>> = traces.iter().map(|t| t.durable_us(token)).collect();
    let seen = format!("{token}: acknowledged at {acknowledged} us, durable at {durable:?}");
    durable.sort_by_key(|time| time.unwrap_or(u64::MAX));
    let majority = durable[traces.len() / 2].ok_or_else(|| seen.clone())?;
    (acknowledged + ROUNDING_US)
        .checked_sub(majority)
        .ok_or(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "7</data/raft.redb>";
    const CLIENT: &str = "9<TCP:[127.80.0.1:8500->127.0.0.1:41000]>";

    fn server(lines: &[String]) -> Trace<'static> {
        Trace {
            calls: parse(&lines.join("\n")),
            data_dir: Path::new("/data"),
            http: SocketAddr::from(([127, 80, 0, 1], 8500)),
        }
    }

    fn line(at: &str, call: &str, took: &str) -> String {
        format!("42 1700000000.{at} {call} <{took}>")
    }

    fn follower(written: &str, synced: &str) -> Trace<'static> {
        server(&[
            line(
                written,
                &format!("pwrite64({FILE}, \"..tok..\", 4096, 0) = 4096"),
                "0.000010",
            ),
            line(synced, &format!("fdatasync({FILE}) = 0"), "0.001000"),
        ])
    }

    fn leader(answered: &str) -> Trace<'static> {
        server(&[
            line(
                "000100",
                &format!("recvfrom({CLIENT}, \"PUT /v1/kv/tok HTTP/1.1\", 99) = 99"),
                "0.000001",
            ),
            line(
                "000200",
                &format!("pwrite64({FILE}, \"..tok..\", 4096, 0) = 4096"),
                "0.000010",
            ),
            line(
                "000300",
                &format!("fdatasync({FILE}) = 0 (DELAYED)"),
                "0.001000",
            ),
            line(
                answered,
                &format!("sendto({CLIENT}, \"HTTP/1.1 200 OK\", 99) = 99"),
                "0.000001",
            ),
        ])
    }

    #[test]
    fn an_acknowledgement_after_two_of_three_syncs_is_right() {
        let traces = [
            leader("005000"),
            follower("000500", "000600"),
            follower("008000", "009000"),
        ];
        assert_eq!(judge("tok", 0, &traces), Ok(5000 - 1600 + ROUNDING_US));
    }

    #[test]
    fn an_acknowledgement_after_the_leaders_sync_only_is_found() {
        let traces = [
            leader("001500"),
            follower("000500", "000600"),
            follower("000500", "000700"),
        ];
        let fault = judge("tok", 0, &traces).unwrap_err();
        assert!(
            fault.contains("acknowledged at 1700000000001500 us"),
            "{fault}"
        );
    }

    #[test]
    fn a_sync_that_began_before_the_write_does_not_cover_it() {
        let traces = [
            leader("005000"),
            follower("000500", "000499"),
            follower("008000", "009000"),
        ];
        assert!(judge("tok", 0, &traces).is_err());
    }

    #[test]
    fn a_sync_of_another_file_does_not_cover_it() {
        let other = server(&[
            line(
                "000500",
                &format!("pwrite64({FILE}, \"..tok..\", 4096, 0) = 4096"),
                "0.000010",
            ),
            line("000600", "fdatasync(8</data/vote>) = 0", "0.001000"),
        ]);
        assert!(
            judge(
                "tok",
                0,
                &[leader("005000"), other, follower("008000", "009000")]
            )
            .is_err()
        );
    }

    #[test]
    fn joins_a_call_that_another_thread_interrupted() {
        let calls = parse(
            "42 1700000000.000100 fdatasync(7</data/raft.redb> <unfinished ...>\n\
             43 1700000000.000110 read(9<TCP:[a->b]>, \"x\", 1) = 1 <0.000002>\n\
             42 1700000000.000900 <... fdatasync resumed>) = 0 <0.000800>",
        );
        assert_eq!(calls[0].name, "fdatasync");
        assert_eq!(
            (calls[0].begin_us, calls[0].end_us),
            (1_700_000_000_000_100, 1_700_000_000_000_900)
        );
        assert!(calls[0].is_sync());
        assert_eq!(calls[1].what(), "TCP:[a->b]");
    }

    #[test]
    fn a_sync_that_never_returned_covers_nothing() {
        let hangs = server(&[
            line(
                "000500",
                &format!("pwrite64({FILE}, \"..tok..\", 4096, 0) = 4096"),
                "0.000010",
            ),
            format!("42 1700000000.000600 fdatasync({FILE} <unfinished ...>"),
        ]);
        assert!(
            judge(
                "tok",
                0,
                &[leader("005000"), hangs, follower("008000", "009000")]
            )
            .is_err()
        );
    }
}
