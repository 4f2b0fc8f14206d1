//! `/v1/health`: who is well.

use hyper::Method;

use crate::catalog::Selection;
use crate::entry::{Check, ServiceEntry};
use crate::error::Error;
use crate::http::{Answer, Call, Client, ReadOptions, escaped};
use crate::poll::LongPoll;

/// Checks and what they say.
#[derive(Debug, Clone)]
pub struct Health<'a>(pub(crate) &'a Client);

/// Whose checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChecksOf {
    /// The node's of this name and its instances'.
    Node(String),
    /// Those of a service's instances.
    Service(String),
    /// All in this state: `passing`, `warning`, `critical` or `any`.
    State(String),
}

impl ChecksOf {
    fn call(&self, selection: &Selection) -> Call {
        let path = match self {
            ChecksOf::Node(name) => format!("health/node/{}", escaped(name)),
            ChecksOf::Service(name) => format!("health/checks/{}", escaped(name)),
            ChecksOf::State(state) => format!("health/state/{}", escaped(state)),
        };
        Call::new(Method::GET, path).select(selection)
    }
}

fn service(name: &str, passing: bool, selection: &Selection) -> Call {
    let path = format!("health/service/{}", escaped(name));
    let call = Call::new(Method::GET, path);
    let call = if passing {
        call.with("passing", 1)
    } else {
        call
    };
    call.select(selection)
}

impl Client {
    /// Checks and what they say.
    pub fn health(&self) -> Health<'_> {
        Health(self)
    }
}

impl Health<'_> {
    /// The instances of a service with their checks; on request only those whose checks all pass.
    pub async fn service(
        &self,
        name: &str,
        passing: bool,
        selection: &Selection,
        options: &ReadOptions,
    ) -> Result<Answer<Vec<ServiceEntry>>, Error> {
        self.0
            .list(service(name, passing, selection), options)
            .await
    }

    /// Checks.
    pub async fn checks(
        &self,
        of: &ChecksOf,
        selection: &Selection,
        options: &ReadOptions,
    ) -> Result<Answer<Vec<Check>>, Error> {
        self.0.list(of.call(selection), options).await
    }

    /// The instances of a service with their checks, again at every change.
    pub fn watch_service(
        &self,
        name: &str,
        passing: bool,
        selection: &Selection,
        options: ReadOptions,
    ) -> LongPoll<Vec<ServiceEntry>> {
        self.0
            .watch_list(service(name, passing, selection), options)
    }

    /// Checks, again at every change.
    pub fn watch_checks(
        &self,
        of: &ChecksOf,
        selection: &Selection,
        options: ReadOptions,
    ) -> LongPoll<Vec<Check>> {
        self.0.watch_list(of.call(selection), options)
    }
}
