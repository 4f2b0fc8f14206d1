//! Prepared queries as they are written.

use std::sync::Arc;

use rollcall_api::SortedMap;
use serde::{Deserialize, Serialize};

use super::Texts;

/// Creates or replaces a prepared query.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuerySet {
    /// The whole definition; fields that are not there are empty, as in Consul.
    pub query: QuerySpec,
    /// Refused unless a query with this id is there (an update).
    #[serde(default)]
    pub must_exist: bool,
}

/// Deletes a prepared query; refused when there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryDelete {
    /// Its id.
    pub id: Arc<str>,
}

/// A prepared query. Templates are refused at the edge, hence have no place here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuerySpec {
    /// A UUID, made at the edge.
    pub id: Arc<str>,
    /// Unique without regard to case, or empty.
    #[serde(default)]
    pub name: Arc<str>,
    /// It ends with this session; or empty.
    #[serde(default)]
    pub session: Arc<str>,
    /// Kept and shown; there are no tokens yet.
    #[serde(default)]
    pub token: Arc<str>,
    /// What it looks for.
    #[serde(default)]
    pub service: QueryService,
    /// TTL of DNS answers as the client spelt it, or empty.
    #[serde(default)]
    pub dns_ttl: Arc<str>,
}

/// What a prepared query looks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueryService {
    /// Name of the service.
    pub service: Arc<str>,
    /// Only instances all of whose checks pass; otherwise those that are not critical.
    pub only_passing: bool,
    /// Checks that do not count.
    pub ignore_check_ids: Option<Texts>,
    /// Kept and shown; we know no distances.
    pub near: Arc<str>,
    /// Tags that must, or with a leading `!` must not, be there.
    pub tags: Option<Texts>,
    /// Pairs that the node's meta must have.
    pub node_meta: Option<SortedMap>,
    /// Pairs that the instance's meta must have.
    pub service_meta: Option<SortedMap>,
    /// Only instances that speak the mesh's protocol; we have none.
    pub connect: bool,
    /// Other datacenters. Kept and shown; there is no failover yet.
    pub failover: QueryFailover,
}

/// Where a prepared query looks when there is nothing here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueryFailover {
    /// So many of the nearest.
    pub nearest_n: i64,
    /// By name.
    pub datacenters: Option<Texts>,
}
