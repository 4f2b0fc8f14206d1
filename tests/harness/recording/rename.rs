//! The same exchange under other names, ids and values.
//!
//! Every segment of a key, every value and every name gets one suffix, so that the order of keys stays what it was.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use super::{Body, Recording};

/// The id that the recordings use where none may exist.
const UNKNOWN_ID: &str = "00000000-0000-0000-0000-000000000000";
/// The node whose server was recorded.
const RECORDED_NODE: &str = "dev-node";
/// The query that `{query}` stood for.
const RECORDED_QUERY: &str = "c4c24c12-aa00-dce1-1792-9340d3d49536";
/// Names in requests and answers that are neither keys nor values.
const NAMES: [&str; 6] = ["txnode", "s1", "c1", "ghost", "bogus", "lock"];

/// Groups whose names stand anywhere: in paths, filters, keys of maps and error words.
const CATALOG_GROUPS: [&str; 3] = ["catalog", "health", "query"];
/// Those names. `service:web-1` is one of its own.
const CATALOG_NAMES: [&str; 21] = [
    "ext1",
    "ext2",
    "ext3",
    "web",
    "web-1",
    "web-2",
    "db",
    "service:web-1",
    "service:web-2",
    "node-up",
    "bad",
    "orphan",
    "ghost",
    "none",
    "v1",
    "v2",
    "prod",
    "old",
    "web-q",
    "web-q2",
    "noaddr",
];

/// What recorded names become.
#[derive(Debug, Clone)]
pub struct Renaming {
    /// Appended to each segment of a key, to each value and to each name.
    pub suffix: String,
    /// Stands where the recordings have an id that does not exist.
    pub unknown_id: String,
    /// The node name of the server that is asked.
    pub node: String,
    /// What `{session}` is, once one was created.
    pub session: String,
    /// What `{query}` is, once one was created.
    pub query: String,
}

impl Renaming {
    /// Everything as recorded, but for the node.
    pub fn none(node: &str) -> Self {
        Self {
            suffix: String::new(),
            unknown_id: UNKNOWN_ID.to_owned(),
            node: node.to_owned(),
            session: String::new(),
            query: String::new(),
        }
    }

    /// A key or prefix: each segment that is not empty gets the suffix.
    fn key(&self, key: &str) -> String {
        let segments = key.split('/').map(|segment| match segment {
            "" => String::new(),
            name => format!("{name}{}", self.suffix),
        });
        segments.collect::<Vec<_>>().join("/")
    }

    fn name(&self, name: &str) -> String {
        if NAMES.contains(&name) {
            format!("{name}{}", self.suffix)
        } else {
            name.to_owned()
        }
    }

    /// Every name of the catalog in a text; what is percent-encoded parts names. Names stay words of a filter.
    fn catalog_text(&self, text: &str) -> String {
        let suffix = self.suffix.replace('-', "x");
        let mut renamed = String::with_capacity(text.len());
        let mut rest = text;
        while !rest.is_empty() {
            let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '_');
            let length = rest.find(|c| !is_of_name(c)).unwrap_or(rest.len());
            let (name, tail) = rest.split_at(length);
            renamed.push_str(name);
            if CATALOG_NAMES.contains(&name) {
                renamed.push_str(&suffix);
            }
            let escape = if tail.starts_with('%') { 3 } else { 1 };
            let after = tail
                .char_indices()
                .nth(escape)
                .map_or(tail.len(), |(at, _)| at);
            renamed.push_str(&tail[..after]);
            rest = &tail[after..];
        }
        renamed
    }

    fn catalog_json(&self, json: &Value) -> Value {
        match json {
            Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| (self.catalog_text(name), self.catalog_json(value)))
                .collect(),
            Value::Array(values) => values
                .iter()
                .map(|value| self.catalog_json(value))
                .collect(),
            Value::String(node) if node == RECORDED_NODE => Value::String(self.node.clone()),
            Value::String(text) if CATALOG_NAMES.contains(&text.trim_start_matches('!')) => {
                Value::String(self.catalog_text(text))
            }
            other => other.clone(),
        }
    }

    /// The path to ask.
    pub fn path(&self, recording: &Recording) -> String {
        let path = recording
            .path
            .replace("{node}", &self.node)
            .replace("{session}", &self.session)
            .replace("{query}", &self.query);
        let path = path.replace(UNKNOWN_ID, &self.unknown_id);
        if is_catalog(recording) {
            return match path.strip_prefix("/v1/") {
                Some(rest) if !self.query.is_empty() && rest.contains(&self.query) => path,
                Some(rest) => format!("/v1/{}", self.catalog_text(rest)),
                None => path,
            };
        }
        let (path, query) = path
            .split_once('?')
            .map_or((path.as_str(), None), |(p, q)| (p, Some(q)));
        let renamed = match path.strip_prefix("/v1/kv/") {
            Some(key) => {
                // A slash that is spelt %2F parts segments as well.
                let parts = key.split("%2F").map(|part| self.key(part));
                format!("/v1/kv/{}", parts.collect::<Vec<_>>().join("%2F"))
            }
            None => path.replace("bogus", &self.name("bogus")),
        };
        match query {
            Some(query) => format!("{renamed}?{}", query.replace("bogus", &self.name("bogus"))),
            None => renamed,
        }
    }

    /// The body to send.
    pub fn request_body(&self, recording: &Recording) -> Vec<u8> {
        let body = recording.request_body.as_str();
        if let Some((length, of)) = body
            .strip_prefix('<')
            .and_then(|b| b.split_once(" bytes of "))
        {
            let length: usize = length.parse().expect("a recorded length must be a number");
            return if of.starts_with("'['") {
                too_many_operations()
            } else {
                vec![b'B'; length]
            };
        }
        if recording.path.starts_with("/v1/kv/") {
            return self.value(body).into_bytes();
        }
        match serde_json::from_str(body) {
            Ok(json) if is_catalog(recording) => self.catalog_json(&json).to_string().into_bytes(),
            Ok(json) => self.json(&json).to_string().into_bytes(),
            // Broken on purpose.
            Err(_) => body.as_bytes().to_vec(),
        }
    }

    fn value(&self, value: &str) -> String {
        if value.is_empty() {
            String::new()
        } else {
            format!("{value}{}", self.suffix)
        }
    }

    /// What the body of the answer should be.
    pub fn answer(&self, recording: &Recording) -> Body {
        match &recording.body {
            Body::Json(json) if is_catalog(recording) => Body::Json(self.catalog_json(json)),
            Body::Text(text) if is_catalog(recording) => {
                let known = (RECORDED_QUERY, self.query.as_str());
                let text = match self.query.is_empty() {
                    true => text.clone(),
                    false => text.replace(known.0, known.1),
                };
                Body::Text(self.catalog_text(&text))
            }
            Body::Json(Value::Array(keys)) if recording.path.contains("keys") => {
                let keys = keys.iter().filter_map(Value::as_str);
                Body::Json(keys.map(|key| Value::String(self.key(key))).collect())
            }
            Body::Json(json) => Body::Json(self.json(json)),
            Body::Text(text) if recording.path.contains("?raw") => Body::Text(self.value(text)),
            Body::Text(text) => Body::Text(self.text(text)),
        }
    }

    /// What a header of the answer should be.
    pub fn header(&self, name: &str, value: &str) -> String {
        match (name, value.strip_prefix("/v1/kv/")) {
            ("Location", Some(key)) => format!("/v1/kv/{}", self.key(key)),
            _ => value.to_owned(),
        }
    }

    fn json(&self, json: &Value) -> Value {
        match json {
            Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| (name.clone(), self.field(name, value)))
                .collect(),
            Value::Array(values) => values.iter().map(|value| self.json(value)).collect(),
            Value::String(text) => Value::String(self.name(text)),
            other => other.clone(),
        }
    }

    fn field(&self, name: &str, value: &Value) -> Value {
        match (name, value) {
            ("Key", Value::String(key)) => Value::String(self.key(key)),
            ("Value", Value::String(value)) => {
                let bytes = BASE64
                    .decode(value)
                    .expect("a recorded value must be base64");
                let value = self.value(&String::from_utf8_lossy(&bytes));
                Value::String(BASE64.encode(value))
            }
            ("What", Value::String(what)) => Value::String(self.text(what)),
            ("Node", Value::String(node)) if node == RECORDED_NODE => {
                Value::String(self.node.clone())
            }
            _ => self.json(value),
        }
    }

    /// Error words: what stands in quotation marks after `key` is a key, otherwise a name.
    fn text(&self, text: &str) -> String {
        let text = text.replace(UNKNOWN_ID, &self.unknown_id);
        let mut parts = text.split('"');
        let mut renamed = parts.next().unwrap_or_default().to_owned();
        let mut quoted = true;
        for part in parts {
            renamed.push('"');
            let is_key = quoted && renamed.ends_with("key \"");
            renamed.push_str(&if is_key {
                self.key(part)
            } else {
                self.name(part)
            });
            quoted = !quoted;
        }
        (renamed.replace(RECORDED_NODE, &self.node))
            .replace("'ghost'", &format!("'{}'", self.name("ghost")))
    }
}

fn is_catalog(recording: &Recording) -> bool {
    CATALOG_GROUPS.contains(&recording.group.as_str())
}

/// One operation more than a transaction may have.
fn too_many_operations() -> Vec<u8> {
    let operation =
        |n: usize| format!(r#"{{"KV": {{"Verb": "set", "Key": "m{n}", "Value": "MQ=="}}}}"#);
    let operations: Vec<String> = (0..129).map(operation).collect();
    format!("[{}]", operations.join(", ")).into_bytes()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn renaming() -> Renaming {
        Renaming {
            suffix: "-x".to_owned(),
            unknown_id: "11111111-0000-0000-0000-000000000000".to_owned(),
            node: "server-2".to_owned(),
            session: "5e5510".to_owned(),
            query: String::new(),
        }
    }

    fn recorded(path: &str, body: &str, answer: Body) -> Recording {
        Recording {
            line: 1,
            group: "kv".to_owned(),
            method: "PUT".to_owned(),
            path: path.to_owned(),
            request_body: body.to_owned(),
            status: 200,
            headers: Vec::new(),
            body: answer,
        }
    }

    #[test]
    fn renames_each_segment_of_a_path_and_leaves_its_query() {
        let path = |path| renaming().path(&recorded(path, "", Body::Text(String::new())));
        assert_eq!(
            path("/v1/kv/dir/sub/?keys&separator=/"),
            "/v1/kv/dir-x/sub-x/?keys&separator=/"
        );
        assert_eq!(
            path("/v1/kv/sp%20ace%2Fslash"),
            "/v1/kv/sp%20ace-x%2Fslash-x"
        );
        assert_eq!(path("/v1/kv//lead"), "/v1/kv//lead-x");
        assert_eq!(
            path("/v1/kv/lock?acquire={session}"),
            "/v1/kv/lock-x?acquire=5e5510"
        );
        assert_eq!(path("/v1/session/info/bogus"), "/v1/session/info/bogus-x");
    }

    #[test]
    fn renames_what_is_in_the_catalog_wherever_it_stands() {
        let mut renaming = renaming();
        renaming.suffix = "-77".to_owned();
        assert_eq!(
            renaming.catalog_text("catalog/service/web?filter=ServiceName%20%3D%3D%20web&tag=v1"),
            "catalog/service/webx77?filter=ServiceName%20%3D%3D%20webx77&tag=v1x77"
        );
        let answer = json!({"Node": "dev-node", "Services": {"web-1": {"Tags": ["v1", "x"]}}, "Output": "web"});
        let expected = json!({"Node": "server-2", "Services": {"web-1x77": {"Tags": ["v1x77", "x"]}}, "Output": "webx77"});
        assert_eq!(renaming.catalog_json(&answer), expected);
    }

    #[test]
    fn renames_keys_values_and_names_in_an_answer() {
        let answer = json!([{"Key": "t/a", "Value": "b25l", "Node": "dev-node", "Name": "lock", "Flags": 7}]);
        let Body::Json(renamed) = renaming().answer(&recorded("/v1/txn", "", Body::Json(answer)))
        else {
            panic!("JSON must stay JSON")
        };
        let expected = json!([{"Key": "t-x/a-x", "Value": BASE64.encode("one-x"), "Node": "server-2",
            "Name": "lock-x", "Flags": 7}]);
        assert_eq!(renamed, expected);
    }

    #[test]
    fn renames_what_error_words_quote() {
        let text =
            renaming().text("failed index check for key \"t/b\", current modify index 50 != 1");
        assert_eq!(
            text,
            "failed index check for key \"t-x/b-x\", current modify index 50 != 1"
        );
        let text = renaming().text("raft apply failed: invalid session \"bogus\"");
        assert_eq!(text, "raft apply failed: invalid session \"bogus-x\"");
        let text = renaming().text("apply failed: Missing check 'ghost' registration");
        assert_eq!(text, "apply failed: Missing check 'ghost-x' registration");
    }
}
