//! Recorded exchanges with Consul 1.20.1, and the comparison of our answers with them.
//!
//! tests/data/consul-http.jsonl holds a request and its answer a line. A replay may carry other names, ids and values
//! than were recorded ([`Renaming`]): what comes back must then be the recorded answer, renamed. Compared are the
//! status, the names of all headers (case included) and the values of those that are constant, the whole JSON but for
//! ids, indexes and addresses, and the error words. Indexes must keep their order and their equalities within a group.

mod compare;
mod rename;

pub use compare::{Indexes, differences};
pub use rename::Renaming;

use serde_json::Value;

/// One recorded exchange.
#[derive(Debug, Clone)]
pub struct Recording {
    /// Its line in the file, from 1.
    pub line: usize,
    /// Which run of Consul it belongs to.
    pub group: String,
    /// The method.
    pub method: String,
    /// The path with its query, perhaps with `{node}` and `{session}`.
    pub path: String,
    /// The request's body; the recordings shorten long ones to `<N bytes of 'x'>`.
    pub request_body: String,
    /// The status.
    pub status: u16,
    /// The headers, without `Date`.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Body,
}

/// A recorded body.
#[derive(Debug, Clone)]
pub enum Body {
    /// It was JSON.
    Json(Value),
    /// It was something else, or empty.
    Text(String),
}

impl Recording {
    /// How to speak of it.
    pub fn title(&self) -> String {
        format!("line {} ({} {})", self.line, self.method, self.path)
    }
}

/// All recordings, in the order they were made.
///
/// # Panics
/// When the file is not as expected.
pub fn load() -> Vec<Recording> {
    include_str!("../data/consul-http.jsonl")
        .lines()
        .enumerate()
        .map(|(index, line)| {
            let row: Value = serde_json::from_str(line).expect("a recording must be JSON");
            let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
            let headers = row["headers"]
                .as_object()
                .expect("a recording must have headers");
            Recording {
                line: index + 1,
                group: text("group"),
                method: text("method"),
                path: text("path"),
                request_body: text("request_body"),
                status: row["status"]
                    .as_u64()
                    .and_then(|status| u16::try_from(status).ok())
                    .expect("a recording must have a status"),
                headers: headers
                    .iter()
                    .map(|(name, value)| {
                        (name.clone(), value.as_str().unwrap_or_default().to_owned())
                    })
                    .collect(),
                body: match row.get("json") {
                    Some(json) => Body::Json(json.clone()),
                    None => Body::Text(text("text")),
                },
            }
        })
        .collect()
}
