//! `/v1/session`.

use std::time::Duration;

use hyper::{Method, StatusCode};
use rollcall_api::GoDuration;
use rollcall_api::session::Created;
use serde::Serialize;

use crate::Session;
use crate::error::Error;
use crate::http::{Answer, Call, Client, ReadOptions, escaped, parsed, refused};

/// Sessions.
#[derive(Debug, Clone)]
pub struct Sessions<'a>(pub(crate) &'a Client);

/// A session to be created. What is `None` or empty is the server's default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewSession {
    /// For people.
    pub name: String,
    /// The node it is bound to; by default the asked server's.
    pub node: Option<String>,
    /// It ends when not renewed for this long (at most twice as long).
    pub ttl: Option<Duration>,
    /// How long its locks stay closed after it is gone.
    pub lock_delay: Option<Duration>,
    /// Whether its keys are deleted with it, or only released.
    pub delete_keys: bool,
    /// Checks of the node it depends on; `Some(vec![])`: none.
    pub node_checks: Option<Vec<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    #[serde(rename = "TTL", skip_serializing_if = "Option::is_none")]
    ttl: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lock_delay: Option<String>,
    behavior: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_checks: Option<&'a [String]>,
}

impl Client {
    /// Sessions.
    pub fn sessions(&self) -> Sessions<'_> {
        Sessions(self)
    }
}

impl Sessions<'_> {
    /// Creates a session and gives its id.
    pub async fn create(&self, new: &NewSession) -> Result<String, Error> {
        let written = |duration| GoDuration::from_std(duration).to_string();
        let body = Body {
            name: &new.name,
            node: new.node.as_deref(),
            ttl: new.ttl.map(written),
            lock_delay: new.lock_delay.map(written),
            behavior: if new.delete_keys { "delete" } else { "release" },
            node_checks: new.node_checks.as_deref(),
        };
        let body = serde_json::to_vec(&body).map_err(|error| Error::Request(error.to_string()))?;
        let created = self
            .0
            .json::<Created>(&Call::new(Method::PUT, "session/create").body(body))
            .await?;
        Ok(created.value.id)
    }

    /// Ends a session; one that is not there is no error.
    pub async fn destroy(&self, id: &str) -> Result<(), Error> {
        self.0
            .decision(&Call::new(
                Method::PUT,
                format!("session/destroy/{}", escaped(id)),
            ))
            .await
            .map(drop)
    }

    /// Keeps a session alive. `None`: it is gone, and its locks with it.
    pub async fn renew(&self, id: &str) -> Result<Option<Session>, Error> {
        let call = Call::new(Method::PUT, format!("session/renew/{}", escaped(id)));
        let (status, _, body) = self.0.exchange(&call).await?;
        match status {
            StatusCode::OK => Ok(parsed::<Vec<Session>>(&call, &body)?.into_iter().next()),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(refused(status, &body)),
        }
    }

    /// One session.
    pub async fn info(
        &self,
        id: &str,
        options: &ReadOptions,
    ) -> Result<Answer<Option<Session>>, Error> {
        let call = Call::new(Method::GET, format!("session/info/{}", escaped(id))).read(options);
        let answer = self.0.json::<Option<Vec<Session>>>(&call).await?;
        Ok(answer.map(|sessions| sessions.and_then(|sessions| sessions.into_iter().next())))
    }

    /// All sessions, or those of a node.
    pub async fn list(
        &self,
        node: Option<&str>,
        options: &ReadOptions,
    ) -> Result<Answer<Vec<Session>>, Error> {
        let path = match node {
            Some(node) => format!("session/node/{}", escaped(node)),
            None => "session/list".to_owned(),
        };
        let answer = self
            .0
            .json::<Option<Vec<Session>>>(&Call::new(Method::GET, path).read(options))
            .await?;
        Ok(answer.map(Option::unwrap_or_default))
    }
}
