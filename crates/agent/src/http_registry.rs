//! The catalog over HTTP: `catalog/node`, `health/node`, `catalog/register` and `catalog/deregister`, with this agent's owner.
//!
//! Servers show the owner of each row to whoever says its own (`X-Rollcall-Owner`), and keep it with what is written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use rollcall_api::agent::Member;
use rollcall_api::query::encode_path;
use rollcall_rt as rt;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::checks::NodeReads;
use crate::checks::alias::{CheckRow, NodeHealth, Reading};
use crate::definition::Status;
use crate::registry::{Boxed, ReadError, Registry, Seen, Write, WriteError, steps};
use crate::rows::{Change, CheckSpec, NodeSpec, Row, Rows, ServiceSpec, TaggedAddress, Weights};
use crate::servers::{Asked, SendError, Sent, Servers};

/// Says whose rows are written, and asks whose rows are shown.
pub const OWNER: HeaderName = HeaderName::from_static("x-rollcall-owner");
/// How long a parked read waits.
const WAIT: Duration = Duration::from_secs(300);
/// How long any other answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an answer: a node of ten thousand services with checks and full outputs.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// The body of a GET.
fn nothing() -> Sent {
    Full::new(Bytes::new())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// One node's rows.
pub struct HttpRegistry {
    servers: Arc<Servers>,
    node: String,
    owner: HeaderValue,
}

/// An answer: its index and body.
struct Answered {
    status: StatusCode,
    index: u64,
    body: Vec<u8>,
}

impl HttpRegistry {
    /// Of `node`, in the name of `owner`.
    pub fn new(servers: Arc<Servers>, node: &str, owner: &str) -> Self {
        let owner = HeaderValue::from_str(owner);
        HttpRegistry {
            servers,
            node: node.to_owned(),
            owner: owner.expect("an owner must be header text"),
        }
    }

    async fn ask(
        &self,
        mut asked: Asked,
        patience: Duration,
        parks: bool,
    ) -> Result<Answered, SendError> {
        asked.headers.insert(OWNER, self.owner.clone());
        let whole = async {
            let answer = match parks {
                false => self.servers.ask(&asked).await?,
                // Once: whoever answers the next attempt may have lost everything, and the index with it.
                true => self.servers.stream(&asked, nothing()).await?,
            };
            let status = answer.status();
            let index = index_of(answer.headers());
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
                .collect()
                .await;
            let body = body.map_err(|error| SendError::Unknown(error.to_string()))?;
            let body = body.to_bytes().into();
            Ok(Answered {
                status,
                index,
                body,
            })
        };
        let unknown = || SendError::Unknown(format!("no answer within {patience:?}"));
        rt::timeout(patience, whole)
            .await
            .unwrap_or_else(|| Err(unknown()))
    }

    async fn get(
        &self,
        target: &str,
        seen: Option<(u64, Duration)>,
    ) -> Result<Answered, ReadError> {
        let wait = seen.map_or(Duration::ZERO, |(_, wait)| wait);
        let target = match seen {
            Some((index, wait)) => format!("{target}?index={index}&wait={}ms", wait.as_millis()),
            None => target.to_owned(),
        };
        let patience = ANSWER_TIMEOUT + wait + wait / 16;
        let answer = self.ask(Asked::get(target), patience, seen.is_some()).await;
        let answer = answer.map_err(|error| ReadError(error.to_string()))?;
        if answer.status != StatusCode::OK {
            let words = String::from_utf8_lossy(&answer.body);
            return Err(ReadError(format!("{}: {}", answer.status, words.trim())));
        }
        Ok(answer)
    }

    async fn read(&self) -> Result<(Rows, Seen), ReadError> {
        let services = self.get(&services_of(&self.node), None).await?;
        let checks = self.get(&checks_of(&self.node), None).await?;
        let seen = Seen {
            services: services.index,
            checks: checks.index,
            epoch: 0,
        };
        Ok((rows(&services.body, &checks.body)?, seen))
    }

    /// Waits until a target's index is another than the one that was seen.
    async fn moved(&self, target: String, seen: u64) -> Result<(), ReadError> {
        self.get(&target, Some((seen, WAIT))).await.map(drop)
    }

    /// Members, as a server says. `None`: none answers.
    pub async fn members(&self) -> Option<Vec<Member>> {
        let answer = self.get("/v1/agent/members", None).await.ok()?;
        serde_json::from_slice(&answer.body).ok()
    }

    /// Takes the node off the roll, with everything on it.
    ///
    /// # Errors
    /// No server has done so, as far as is known.
    pub async fn deregister_node(&self) -> Result<(), String> {
        let asked = Asked {
            method: Method::PUT,
            target: "/v1/catalog/deregister".to_owned(),
            headers: HeaderMap::new(),
            body: json!({ "Node": self.node }).to_string().into(),
            repeatable: true,
        };
        // Without an owner: a leave is an explicit call, and takes everything on the node with it.
        match rt::timeout(ANSWER_TIMEOUT, self.servers.ask(&asked)).await {
            Some(Ok(answer)) if answer.status() == StatusCode::OK => Ok(()),
            Some(Ok(answer)) => Err(answer.status().to_string()),
            Some(Err(error)) => Err(error.to_string()),
            None => Err(format!("no answer within {ANSWER_TIMEOUT:?}")),
        }
    }

    async fn write_one(&self, (write, places): (Write<'_>, Vec<usize>)) -> Result<(), WriteError> {
        let (target, body) = self.body(&write);
        let asked = Asked {
            method: Method::PUT,
            target: target.to_owned(),
            headers: HeaderMap::new(),
            body: body.to_string().into(),
            // Each says the whole row, and this agent is its only writer.
            repeatable: true,
        };
        let answer = self.ask(asked, ANSWER_TIMEOUT, false).await;
        let answer = answer.map_err(|error| WriteError::Failed(error.to_string()))?;
        if answer.status == StatusCode::OK {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&answer.body).trim().to_owned();
        // A server without a leader says so with 500 too, as Consul does.
        let passing = [
            "No cluster leader",
            "outcome unknown",
            "server is stopping",
            "No known Consul servers",
        ];
        let passes = matches!(answer.status.as_u16(), 429 | 503)
            || passing.iter().any(|known| words.contains(known));
        if passes {
            return Err(WriteError::Failed(words));
        }
        Err(WriteError::Refused {
            at: places[0],
            words: format!("{}: {words}", answer.status),
        })
    }

    fn body(&self, write: &Write<'_>) -> (&'static str, Value) {
        const REGISTER: &str = "/v1/catalog/register";
        const DEREGISTER: &str = "/v1/catalog/deregister";
        match write {
            Write::Node(node) => (
                REGISTER,
                json!({
                    "ID": node.id,
                    "Node": node.node,
                    "Address": node.address,
                    "TaggedAddresses": node.tagged_addresses,
                    "NodeMeta": node.meta,
                }),
            ),
            Write::Rows(service, checks) => {
                let checks: Vec<Value> = checks.iter().map(|check| self.check(check)).collect();
                let mut body =
                    json!({ "Node": self.node, "SkipNodeUpdate": true, "Checks": checks });
                if let Some(service) = service {
                    body["Service"] = service_json(service);
                }
                (REGISTER, body)
            }
            Write::NoCheck(id) => (DEREGISTER, json!({ "Node": self.node, "CheckID": id })),
            Write::NoService(id) => (DEREGISTER, json!({ "Node": self.node, "ServiceID": id })),
        }
    }

    fn check(&self, check: &CheckSpec) -> Value {
        json!({
            "Node": self.node,
            "CheckID": check.check_id,
            "Name": check.name,
            "Status": check.status.as_str(),
            "Notes": check.notes,
            "Output": check.output,
            "ServiceID": check.service_id,
            "Type": check.check_type,
            "Interval": check.interval,
            "Timeout": check.timeout,
        })
    }
}

impl Registry for HttpRegistry {
    fn rows(&self, seen: Option<Seen>) -> Boxed<'_, Result<(Rows, Seen), ReadError>> {
        Box::pin(async move {
            if let Some(seen) = seen {
                tokio::select! {
                    moved = self.moved(services_of(&self.node), seen.services) => moved?,
                    moved = self.moved(checks_of(&self.node), seen.checks) => moved?,
                }
            }
            self.read().await
        })
    }

    fn write<'a>(&'a self, changes: &'a [Change]) -> Boxed<'a, Result<(), WriteError>> {
        Box::pin(async move {
            for step in steps(changes) {
                // Together: the servers' log takes many with one sync.
                try_join_all(step.into_iter().map(|write| self.write_one(write))).await?;
            }
            Ok(())
        })
    }
}

impl NodeReads for HttpRegistry {
    fn node_health<'a>(&'a self, node: &'a str, after: u64, wait: Duration) -> Reading<'a> {
        Box::pin(async move {
            let said = |error: ReadError| error.0;
            let target = |path: String| format!("{path}?stale");
            let index = (after > 0).then_some((after, wait));
            let checks = self.get(&checks_of(node), index).await.map_err(said)?;
            let services = self
                .get(&target(services_of(node)), None)
                .await
                .map_err(said)?;
            let rows = rows(&services.body, &checks.body).map_err(said)?;
            Ok(NodeHealth {
                index: checks.index,
                checks: (rows.checks.into_values())
                    .map(|row| CheckRow {
                        name: row.spec.name,
                        service_id: row.spec.service_id,
                        status: row.spec.status,
                        output: row.spec.output,
                    })
                    .collect(),
                services: rows.services.into_keys().collect(),
            })
        })
    }
}

fn services_of(node: &str) -> String {
    format!("/v1/catalog/node/{}", encode_path(node))
}

fn checks_of(node: &str) -> String {
    format!("/v1/health/node/{}", encode_path(node))
}

fn index_of(headers: &HeaderMap) -> u64 {
    let index = headers
        .get("x-consul-index")
        .and_then(|index| index.to_str().ok());
    index.and_then(|index| index.parse().ok()).unwrap_or(0)
}

fn service_json(service: &ServiceSpec) -> Value {
    let addresses: BTreeMap<&str, Value> = (service.tagged_addresses.iter())
        .map(|(kind, at)| {
            (
                kind.as_str(),
                json!({ "Address": at.address, "Port": at.port }),
            )
        })
        .collect();
    let mut body = json!({
        "ID": service.id,
        "Service": service.service,
        "Tags": service.tags,
        "Address": service.address,
        "Port": service.port,
        "Weights": { "Passing": service.weights.passing, "Warning": service.weights.warning },
        "EnableTagOverride": service.enable_tag_override,
    });
    if !addresses.is_empty() {
        body["TaggedAddresses"] = json!(addresses);
    }
    if !service.meta.is_empty() {
        body["Meta"] = json!(service.meta);
    }
    body
}

// === What servers answer ===

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NodeAnswer {
    node: NodeJson,
    services: Option<BTreeMap<String, ServiceJson>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct NodeJson {
    #[serde(rename = "ID")]
    id: String,
    node: String,
    address: String,
    tagged_addresses: Option<BTreeMap<String, String>>,
    meta: Option<BTreeMap<String, String>>,
    owner: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct ServiceJson {
    #[serde(rename = "ID")]
    id: String,
    service: String,
    tags: Option<Vec<String>>,
    address: String,
    tagged_addresses: Option<BTreeMap<String, AddressJson>>,
    meta: Option<BTreeMap<String, String>>,
    port: u16,
    weights: WeightsJson,
    enable_tag_override: bool,
    owner: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct AddressJson {
    address: String,
    port: u16,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct WeightsJson {
    passing: u32,
    warning: u32,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct CheckJson {
    #[serde(rename = "CheckID")]
    check_id: String,
    name: String,
    status: String,
    notes: String,
    output: String,
    #[serde(rename = "ServiceID")]
    service_id: String,
    r#type: String,
    interval: String,
    timeout: String,
    owner: String,
}

/// Rows from the two answers.
fn rows(services: &[u8], checks: &[u8]) -> Result<Rows, ReadError> {
    let wrong = |error: serde_json::Error| {
        ReadError(format!("a server's answer is not understood: {error}"))
    };
    let node: Option<NodeAnswer> = serde_json::from_slice(services).map_err(wrong)?;
    let checks: Vec<CheckJson> = serde_json::from_slice(checks).map_err(wrong)?;
    let mut rows = Rows::default();
    if let Some(answer) = node {
        rows.node = Some(Row {
            spec: NodeSpec {
                id: answer.node.id,
                node: answer.node.node,
                address: answer.node.address,
                tagged_addresses: answer.node.tagged_addresses.unwrap_or_default(),
                meta: answer.node.meta.unwrap_or_default(),
            },
            owner: answer.node.owner,
        });
        let services = answer.services.unwrap_or_default();
        rows.services = services
            .into_iter()
            .map(|(id, json)| (id, service_row(json)))
            .collect();
    }
    rows.checks = (checks.into_iter())
        .map(|check| (check.check_id.clone(), check_row(check)))
        .collect();
    Ok(rows)
}

fn service_row(json: ServiceJson) -> Row<ServiceSpec> {
    let address = |at: AddressJson| TaggedAddress {
        address: at.address,
        port: at.port,
    };
    let addresses = json.tagged_addresses.unwrap_or_default();
    Row {
        spec: ServiceSpec {
            id: json.id,
            service: json.service,
            tags: json.tags.unwrap_or_default(),
            address: json.address,
            tagged_addresses: addresses
                .into_iter()
                .map(|(kind, at)| (kind, address(at)))
                .collect(),
            meta: json.meta.unwrap_or_default(),
            port: json.port,
            weights: Weights {
                passing: json.weights.passing,
                warning: json.weights.warning,
            },
            enable_tag_override: json.enable_tag_override,
        },
        owner: json.owner,
    }
}

fn check_row(json: CheckJson) -> Row<CheckSpec> {
    Row {
        spec: CheckSpec {
            check_id: json.check_id,
            name: json.name,
            status: Status::from_text(&json.status).unwrap_or(Status::Critical),
            notes: json.notes,
            output: json.output,
            service_id: json.service_id,
            check_type: json.r#type,
            interval: json.interval,
            timeout: json.timeout,
        },
        owner: json.owner,
    }
}
