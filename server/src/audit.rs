//! The audit log: a line for every write, who, what and which index.
//!
//! Lines are written by one task in batches, in the order they came. A request waits when the writer is behind, but never
//! for longer than [`PATIENCE`]: its write has happened already, and a full disk under the audit log must not take the
//! registry down. Lines that are lost are counted and reported as errors.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rollcall_api::json;
use rollcall_api::query::Query;
use rollcall_state::Index;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::rt;

/// Lines that wait for the writer: some tenths of a second of writes at full speed.
const QUEUE_LINES: usize = 8_192;
/// Lines written in one go.
const BATCH_LINES: usize = 1_024;
/// How long a request waits for room.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a line tells.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Address of the client.
    pub client: &'a str,
    /// Accessor id of its token; empty until there are tokens.
    pub accessor: &'a str,
    /// HTTP method.
    pub method: &'a str,
    /// Path as it was sent.
    pub path: &'a str,
    /// Options. Tokens are left out.
    pub query: Query<'a>,
    /// The state's index of the write.
    pub index: Index,
}

/// A handle to the log; cheap to clone. The writer ends when the last one is dropped and everything is written.
#[derive(Debug, Clone)]
pub struct Audit {
    lines: mpsc::Sender<Vec<u8>>,
    lost: Arc<AtomicU64>,
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    client: &'a str,
    accessor: &'a str,
    method: &'a str,
    path: &'a str,
    index: Index,
}

impl Audit {
    /// Opens the file, made if it is not there, and appends to it. The error names the file.
    pub fn open(path: &Path) -> io::Result<Self> {
        let named = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("audit log {}: {error}", path.display()),
            )
        };
        let mut options = OpenOptions::new();
        let file = options
            .append(true)
            .create(true)
            .open(path)
            .map_err(named)?;
        let (lines, queue) = mpsc::channel(QUEUE_LINES);
        let lost = Arc::new(AtomicU64::new(0));
        rt::spawn(write(
            file,
            path.display().to_string(),
            queue,
            Arc::clone(&lost),
        ));
        Ok(Audit { lines, lost })
    }

    /// Records a write that has happened.
    pub async fn record(&self, entry: &Entry<'_>) {
        let mut line = json::to_vec(&Line {
            time: rfc3339(rt::time_of_day()),
            client: entry.client,
            accessor: entry.accessor,
            method: entry.method,
            path: &without_token(entry),
            index: entry.index,
        });
        line.push(b'\n');
        let line = match self.lines.try_send(line) {
            Ok(()) => return,
            Err(
                mpsc::error::TrySendError::Full(line) | mpsc::error::TrySendError::Closed(line),
            ) => line,
        };
        match rt::timeout(PATIENCE, self.lines.send(line)).await {
            Some(Ok(())) => {}
            Some(Err(_)) | None => lost(&self.lost, 1, "its queue is full"),
        }
    }

    /// Lines that could not be written since the start.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

fn lost(counter: &AtomicU64, lines: u64, why: &str) {
    let total = counter.fetch_add(lines, Ordering::Relaxed) + lines;
    tracing::error!(lines, total, why, "lines of the audit log are lost");
}

async fn write(
    file: File,
    path: String,
    mut queue: mpsc::Receiver<Vec<u8>>,
    counter: Arc<AtomicU64>,
) {
    let file = Arc::new(parking_lot::Mutex::new(file));
    let mut lines = Vec::with_capacity(BATCH_LINES);
    while queue.recv_many(&mut lines, BATCH_LINES).await > 0 {
        let count = lines.len() as u64;
        let batch = lines.concat();
        lines.clear();
        let file = Arc::clone(&file);
        if let Err(error) = rt::blocking(move || file.lock().write_all(&batch)).await {
            lost(&counter, count, &format!("cannot write {path}: {error}"));
        }
    }
}

fn without_token(entry: &Entry<'_>) -> String {
    let mut path = entry.path.to_owned();
    let mut mark = '?';
    for pair in entry.query.0.split('&').filter(|pair| !pair.is_empty()) {
        path.push(mark);
        mark = '&';
        let is_token = Query(pair).has("token");
        path.push_str(if is_token { "token=hidden" } else { pair });
    }
    path
}

/// `2026-11-22T14:07:02.123Z`.
fn rfc3339(time: SystemTime) -> String {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60,
        since.subsec_millis()
    )
}

/// `2026-11-22 14:07:02 +0000 UTC`, as Go prints it.
pub(crate) fn go_time(time: SystemTime) -> String {
    let time = rfc3339(time);
    let (date, clock) = time.split_once('T').unwrap_or_default();
    let seconds = clock.split('.').next().unwrap_or_default();
    format!("{date} {seconds} +0000 UTC")
}

/// Year, month and day of a number of days since 1970-01-01. Years begin in March here, so that the leap day is a year's last.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    /// From 0000-03-01 to 1970-01-01.
    const EPOCH: u64 = 719_468;
    let days = days + EPOCH;
    let (era, day_of_era) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let leap_corrected =
        day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096;
    let year_of_era = leap_corrected / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(11_017), (2000, 3, 1));
        assert_eq!(civil(20_779), (2026, 11, 22));
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(20_779 * 86_400_000 + 50_822_123);
        assert_eq!(rfc3339(time), "2026-11-22T14:07:02.123Z");
        assert_eq!(go_time(time), "2026-11-22 14:07:02 +0000 UTC");
    }

    #[tokio::test]
    async fn a_line_says_who_did_what_and_hides_the_token() {
        let directory = tempfile::tempdir().expect("must have a temporary directory");
        let path = directory.path().join("audit.log");
        let audit = Audit::open(&path).expect("must open");
        for index in [7, 8] {
            let entry = Entry {
                client: "127.0.0.1:5000",
                accessor: "",
                method: "PUT",
                path: "/v1/kv/a",
                query: Query("cas=1&token=secret&flags=2"),
                index,
            };
            audit.record(&entry).await;
        }
        let mut text = String::new();
        for _ in 0..1_000 {
            text = std::fs::read_to_string(&path).expect("must be readable");
            if text.lines().count() == 2 {
                break;
            }
            tokio::task::yield_now().await;
            rt::sleep(Duration::from_millis(1)).await;
        }
        let line = text
            .lines()
            .nth(1)
            .unwrap_or_else(|| panic!("two lines, not {text:?}"));
        let line: serde_json::Value = serde_json::from_str(line).expect("must be JSON");
        assert_eq!(line["path"], "/v1/kv/a?cas=1&token=hidden&flags=2");
        assert_eq!(
            (line["method"].as_str(), line["index"].as_u64()),
            (Some("PUT"), Some(8))
        );
        assert!(!text.contains("secret"));
        assert_eq!(audit.lost(), 0);
    }
}
