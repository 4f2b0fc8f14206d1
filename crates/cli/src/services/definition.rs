//! Definitions of instances in files: Consul's spelling, in snake case as its configuration has it or as its API has it.
//!
//! What the API would pass over in silence is an error here: a key that is misspelt, a number where Consul wants text. Values that
//! are right are handed on as they are.

use anyhow::{Context as _, bail, ensure};
use rollcall_api::agent_check::CheckBody;
use serde::Deserialize as _;
use serde_json::{Map, Value};

/// What a value must be.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Number,
    Flag,
    /// Text such as `10s`, or nanoseconds.
    Duration,
    Texts,
    /// Text by text.
    Pairs,
    /// A list of texts by text.
    Lists,
    Weights,
    /// An address and a port by text.
    Addresses,
    Check,
    Checks,
}

/// The API's names of a service's fields. A file may write them in any case and with underscores.
const SERVICE: &[(&str, Kind)] = &[
    ("ID", Kind::Text),
    ("Name", Kind::Text),
    ("Tags", Kind::Texts),
    ("Address", Kind::Text),
    ("TaggedAddresses", Kind::Addresses),
    ("Port", Kind::Number),
    ("Meta", Kind::Pairs),
    ("Weights", Kind::Weights),
    ("EnableTagOverride", Kind::Flag),
    ("Token", Kind::Text),
    ("Check", Kind::Check),
    ("Checks", Kind::Checks),
];

/// The API's names of a check's fields.
const CHECK: &[(&str, Kind)] = &[
    ("CheckID", Kind::Text),
    ("ID", Kind::Text),
    ("Name", Kind::Text),
    ("Notes", Kind::Text),
    ("Status", Kind::Text),
    ("Args", Kind::Texts),
    ("ScriptArgs", Kind::Texts),
    ("HTTP", Kind::Text),
    ("Header", Kind::Lists),
    ("Method", Kind::Text),
    ("Body", Kind::Text),
    ("DisableRedirects", Kind::Flag),
    ("TCP", Kind::Text),
    ("TCPUseTLS", Kind::Flag),
    ("UDP", Kind::Text),
    ("GRPC", Kind::Text),
    ("GRPCUseTLS", Kind::Flag),
    ("H2PING", Kind::Text),
    ("H2PingUseTLS", Kind::Flag),
    ("OSService", Kind::Text),
    ("DockerContainerID", Kind::Text),
    ("Shell", Kind::Text),
    ("TLSServerName", Kind::Text),
    ("TLSSkipVerify", Kind::Flag),
    ("AliasNode", Kind::Text),
    ("AliasService", Kind::Text),
    ("Interval", Kind::Duration),
    ("Timeout", Kind::Duration),
    ("TTL", Kind::Duration),
    ("SuccessBeforePassing", Kind::Number),
    ("FailuresBeforeWarning", Kind::Number),
    ("FailuresBeforeCritical", Kind::Number),
    ("DeregisterCriticalServiceAfter", Kind::Duration),
    ("OutputMaxSize", Kind::Number),
];

const WEIGHTS: &[(&str, Kind)] = &[("Passing", Kind::Number), ("Warning", Kind::Number)];

const ADDRESS: &[(&str, Kind)] = &[("Address", Kind::Text), ("Port", Kind::Number)];

/// Fields of a service that only Consul's mesh has.
const MESH: &[&str] = &["kind", "proxy", "connect", "socketpath", "locality"];

/// A definition in the API's spelling, which has a name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Definition(Map<String, Value>);

impl Definition {
    /// From fields in the API's spelling.
    pub(super) fn new(fields: Map<String, Value>) -> Definition {
        Definition(fields)
    }

    /// As the API takes it.
    pub(super) fn fields(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The service's name.
    pub(super) fn name(&self) -> &str {
        self.text("Name")
    }

    /// The instance's id: the name unless it is given.
    pub(super) fn id(&self) -> &str {
        match self.text("ID") {
            "" => self.name(),
            id => id,
        }
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

/// Reads a file's text: YAML of one or more documents, hence JSON too.
pub(super) fn parse(text: &str) -> anyhow::Result<Vec<Definition>> {
    let mut definitions = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let document = Value::deserialize(document).context("neither YAML nor JSON")?;
        collect(document, "", &mut definitions)?;
    }
    Ok(definitions)
}

/// The definitions in a document: itself, a list, or what stands below `service` and `services`.
fn collect(value: Value, at: &str, found: &mut Vec<Definition>) -> anyhow::Result<()> {
    match value {
        Value::Null => Ok(()),
        Value::Array(items) => {
            for (position, item) in items.into_iter().enumerate() {
                collect(item, &format!("{at}[{position}]"), found)?;
            }
            Ok(())
        }
        Value::Object(fields) => {
            let outer = |name: &str| ["service", "services"].contains(&folded(name).as_str());
            if !fields.is_empty() && fields.keys().all(|name| outer(name)) {
                for (name, below) in fields {
                    collect(below, &path(at, &name), found)?;
                }
                return Ok(());
            }
            found.push(definition(fields, at)?);
            Ok(())
        }
        other => bail!("{}expected a definition, found {other}", prefix(at)),
    }
}

fn definition(fields: Map<String, Value>, at: &str) -> anyhow::Result<Definition> {
    for name in fields.keys() {
        ensure!(
            !MESH.contains(&folded(name).as_str()),
            "{}: only Consul's service mesh has it, which Rollcall leaves out",
            path(at, name)
        );
    }
    let definition = Definition(object(fields, SERVICE, at)?);
    ensure!(
        !definition.name().is_empty(),
        "{}a service needs a name",
        prefix(at)
    );
    Ok(definition)
}

/// The object with the API's names.
fn object(
    fields: Map<String, Value>,
    known: &[(&str, Kind)],
    at: &str,
) -> anyhow::Result<Map<String, Value>> {
    let mut read = Map::new();
    for (name, value) in fields {
        let at = path(at, &name);
        let same = |(api, _): &&(&str, Kind)| folded(api) == folded(&name);
        let Some((api, kind)) = known.iter().find(same) else {
            let names: Vec<&str> = known.iter().map(|(api, _)| *api).collect();
            bail!("{at}: unknown, expected one of {}", names.join(", "));
        };
        if value.is_null() {
            continue;
        }
        ensure!(
            read.insert((*api).to_owned(), convert(value, *kind, &at)?)
                .is_none(),
            "{at}: stands there twice"
        );
    }
    Ok(read)
}

fn convert(value: Value, kind: Kind, at: &str) -> anyhow::Result<Value> {
    let wrong = |value: &Value, wanted: &str| match value {
        Value::Number(_) | Value::Bool(_) if wanted == "text" => {
            anyhow::anyhow!("{at}: {value} is no text; put it in quotes")
        }
        other => anyhow::anyhow!("{at}: expected {wanted}, found {other}"),
    };
    match (kind, value) {
        (Kind::Text, Value::String(text)) => Ok(text.into()),
        (Kind::Text, other) => Err(wrong(&other, "text")),
        (Kind::Number, value @ Value::Number(_)) => Ok(value),
        (Kind::Number, other) => Err(wrong(&other, "a number")),
        (Kind::Flag, value @ Value::Bool(_)) => Ok(value),
        (Kind::Flag, other) => Err(wrong(&other, "true or false")),
        (Kind::Duration, value @ (Value::String(_) | Value::Number(_))) => Ok(value),
        (Kind::Duration, other) => Err(wrong(&other, "a duration such as 10s")),
        (Kind::Texts, value) => list(value, Kind::Text, at),
        (Kind::Checks, value) => list(value, Kind::Check, at),
        (Kind::Pairs, value) => map(value, Kind::Text, at),
        (Kind::Lists, value) => map(value, Kind::Texts, at),
        (Kind::Weights, Value::Object(fields)) => Ok(object(fields, WEIGHTS, at)?.into()),
        (Kind::Addresses, Value::Object(fields)) => {
            let address = |(name, value): (String, Value)| match value {
                Value::Object(fields) => {
                    let fields = object(fields, ADDRESS, &path(at, &name))?;
                    Ok((name, Value::Object(fields)))
                }
                other => bail!(
                    "{}: expected address and port, found {other}",
                    path(at, &name)
                ),
            };
            let addresses = fields.into_iter().map(address);
            Ok(Value::Object(addresses.collect::<anyhow::Result<_>>()?))
        }
        (Kind::Check, Value::Object(fields)) => check(fields, at),
        (Kind::Weights | Kind::Addresses | Kind::Check, other) => Err(wrong(&other, "a map")),
    }
}

fn list(value: Value, kind: Kind, at: &str) -> anyhow::Result<Value> {
    let Value::Array(items) = value else {
        bail!("{at}: expected a list, found {value}");
    };
    let items = items.into_iter().enumerate();
    let read = items.map(|(position, item)| convert(item, kind, &format!("{at}[{position}]")));
    Ok(Value::Array(read.collect::<anyhow::Result<_>>()?))
}

fn map(value: Value, kind: Kind, at: &str) -> anyhow::Result<Value> {
    let Value::Object(fields) = value else {
        bail!("{at}: expected a map, found {value}");
    };
    let read = fields.into_iter().map(|(name, value)| {
        let value = convert(value, kind, &path(at, &name))?;
        anyhow::Ok((name, value))
    });
    Ok(Value::Object(read.collect::<anyhow::Result<_>>()?))
}

/// Tells what the agent would, before anything is registered.
fn check(fields: Map<String, Value>, at: &str) -> anyhow::Result<Value> {
    let check = Value::Object(object(fields, CHECK, at)?);
    let body = CheckBody::from_value(&check).with_context(|| at.to_owned())?;
    if let Err(why) = body.validate() {
        bail!("{at}: {why}");
    }
    Ok(check)
}

/// Without underscores and in lower case: `tls_skip_verify` and `TLSSkipVerify` are the same.
fn folded(name: &str) -> String {
    let letters = name.chars().filter(|c| *c != '_');
    letters.flat_map(char::to_lowercase).collect()
}

fn path(at: &str, name: &str) -> String {
    if at.is_empty() {
        name.to_owned()
    } else {
        format!("{at}.{name}")
    }
}

fn prefix(at: &str) -> String {
    if at.is_empty() {
        String::new()
    } else {
        format!("{at}: ")
    }
}
