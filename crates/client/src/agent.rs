//! `/v1/agent`: the asked node's own half. What is written here the agent carries into the catalog by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::catalog::Selection;
use crate::entry::{Check, Service, or_default};
use crate::error::Error;
use crate::http::{Call, Client, ReadOptions, empty, escaped, refused};

/// How long a log may take to begin.
const MONITOR_BEGIN_TIMEOUT: Duration = Duration::from_secs(60);

/// The asked node's own half.
#[derive(Debug, Clone)]
pub struct Agent<'a>(pub(crate) &'a Client);

/// Who the agent is: the answer of `/v1/agent/self`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AgentSelf {
    /// What others need to know of its configuration.
    pub config: AgentConfig,
    /// Figures of its parts: each a name and its values.
    #[serde(deserialize_with = "or_default")]
    pub stats: BTreeMap<String, BTreeMap<String, Value>>,
    /// The rest as it came: `Member`, `Coord`, `DebugConfig`, `Meta`.
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

/// The part of an agent's configuration that has a fixed form.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AgentConfig {
    /// Where it is.
    pub datacenter: String,
    /// Its node's name.
    pub node_name: String,
    /// Its node's id.
    #[serde(rename = "NodeID")]
    pub node_id: String,
    /// Whether it is a server.
    pub server: bool,
    /// Version of the API it speaks.
    pub version: String,
    /// The rest as it came.
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

/// A log being received.
#[derive(Debug)]
pub struct LogStream {
    client: Client,
    body: Incoming,
}

impl Client {
    /// The asked node's own half.
    pub fn agent(&self) -> Agent<'_> {
        Agent(self)
    }
}

impl Agent<'_> {
    /// Who it is.
    pub async fn info(&self) -> Result<AgentSelf, Error> {
        let call = Call::new(Method::GET, "agent/self");
        Ok(self.0.json(&call).await?.value)
    }

    /// The instances registered with it, by id.
    pub async fn services(
        &self,
        selection: &Selection,
    ) -> Result<BTreeMap<String, Service>, Error> {
        let call = Call::new(Method::GET, "agent/services").select(selection);
        Ok(self.0.list(call, &ReadOptions::default()).await?.value)
    }

    /// The checks registered with it, by id.
    pub async fn checks(&self, selection: &Selection) -> Result<BTreeMap<String, Check>, Error> {
        let call = Call::new(Method::GET, "agent/checks").select(selection);
        Ok(self.0.list(call, &ReadOptions::default()).await?.value)
    }

    /// Registers an instance, or puts this definition in place of the one that has its id. The definition is an object in the
    /// spelling of Consul's API: `Name`, `ID`, `Tags`, `Port`, `Check` and so on.
    pub async fn register_service(
        &self,
        definition: &serde_json::Map<String, Value>,
        replace_checks: bool,
    ) -> Result<(), Error> {
        let body =
            serde_json::to_vec(definition).map_err(|error| Error::Request(error.to_string()))?;
        let mut call = Call::new(Method::PUT, "agent/service/register").body(body);
        if replace_checks {
            call = call.with("replace-existing-checks", true);
        }
        self.0.call(&call).await.map(drop)
    }

    /// Removes an instance and its checks. `false`: there was none of this id.
    pub async fn deregister_service(&self, id: &str) -> Result<bool, Error> {
        let call = Call::new(
            Method::PUT,
            format!("agent/service/deregister/{}", escaped(id)),
        );
        self.there(call).await
    }

    /// Switches the maintenance of the node on, for a reason, or (`None`) off.
    pub async fn maintain_node(&self, reason: Option<&str>) -> Result<(), Error> {
        let call = maintenance("agent/maintenance".to_owned(), reason);
        self.0.call(&call).await.map(drop)
    }

    /// Switches the maintenance of an instance on, for a reason, or (`None`) off. `false`: there is no instance of this id.
    pub async fn maintain_service(&self, id: &str, reason: Option<&str>) -> Result<bool, Error> {
        let path = format!("agent/service/maintenance/{}", escaped(id));
        self.there(maintenance(path, reason)).await
    }

    /// The agent's log from now on, at this level and above.
    pub async fn monitor(&self, level: &str) -> Result<LogStream, Error> {
        let call = Call::new(Method::GET, "agent/monitor").with("loglevel", level);
        let response = tokio::time::timeout(MONITOR_BEGIN_TIMEOUT, self.0.send(&call, empty()))
            .await
            .map_err(|_| Error::Timeout {
                address: self.0.address().clone(),
                after: MONITOR_BEGIN_TIMEOUT,
            })??;
        let status = response.status();
        let body = response.into_body();
        if status != StatusCode::OK {
            return Err(refused(
                status,
                &self.0.collect("agent/monitor", body).await?,
            ));
        }
        Ok(LogStream {
            client: self.0.clone(),
            body,
        })
    }

    /// `false` for the 404 that speaks of an id; one that speaks of the path is an error like any other.
    async fn there(&self, call: Call) -> Result<bool, Error> {
        let (status, _, body) = self.0.exchange(&call).await?;
        match status {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND if body.starts_with(b"Unknown service ID") => Ok(false),
            _ => Err(refused(status, &body)),
        }
    }
}

fn maintenance(path: String, reason: Option<&str>) -> Call {
    let call = Call::new(Method::PUT, path).with("enable", reason.is_some());
    match reason {
        Some(reason) if !reason.is_empty() => call.with("reason", reason),
        _ => call,
    }
}

impl LogStream {
    /// The next bytes, whole lines or not; `None` at the end. A log may be silent for as long as it likes.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(self.client.broken(error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}
