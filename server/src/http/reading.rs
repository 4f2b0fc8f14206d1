//! What the reads of catalog, health and queries have in common: their options, and the headers of their answers.

use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use rollcall_api::SortedMap;
use rollcall_api::json;
use rollcall_api::query::ReadOptions;
use rollcall_edge::{Body, Error, Meta, answer};
use rollcall_filter::{Field, Filter};
use rollcall_state::row::{Node, Service};
use rollcall_state::{Answer, State, Topic};
use serde::Serialize;

use super::answer_cache::{self, Version};
use super::blocking;
use super::call::Call;

/// How fresh the answer is, in Consul's words.
const CONSISTENCY: HeaderName = HeaderName::from_static("x-consul-effective-consistency");
/// Whether the answer was an older one.
const CACHE: HeaderName = HeaderName::from_static("x-cache");
/// Who reads with it sees whose each row is; who writes with it says whose the rows are.
pub(super) const OWNER: &str = "x-rollcall-owner";

/// A read and its options.
pub(super) struct Reading<'a> {
    call: &'a Call<'a>,
    options: ReadOptions,
    /// `node-meta`: each pair must stand in the node's meta.
    node_meta: Vec<(String, String)>,
    /// `tag`: each must be one of the instance's.
    tags: Vec<String>,
}

impl<'a> Reading<'a> {
    /// The options of a request.
    pub(super) fn parse(call: &'a Call<'a>) -> Result<Self, Error> {
        let options = ReadOptions::parse(call.query)?;
        let (mut node_meta, mut tags) = (Vec::new(), Vec::new());
        for (name, value) in call.query.pairs() {
            match name.as_ref() {
                "node-meta" => {
                    let (key, value) = value.split_once(':').unwrap_or((&value, ""));
                    node_meta.retain(|(known, _)| known != key);
                    node_meta.push((key.to_owned(), value.to_owned()));
                }
                "tag" => tags.push(value.into_owned()),
                _ => {}
            }
        }
        Ok(Reading {
            call,
            options,
            node_meta,
            tags,
        })
    }

    /// What stands behind the pattern; without it the request makes no sense.
    pub(super) fn name(&self, missing: &'static str) -> Result<&'a str, Error> {
        match self.call.call.rest {
            "" => Err(Error::bad_request(missing)),
            name => Ok(name),
        }
    }

    /// The filter, checked against the fields of the rows.
    pub(super) fn filter<T>(
        &self,
        fields: &'static [Field<T>],
    ) -> Result<Option<Filter<T>>, Error> {
        let Some(text) = self
            .call
            .query
            .get("filter")
            .filter(|text| !text.is_empty())
        else {
            return Ok(None);
        };
        Filter::new(&text, fields)
            .map(Some)
            .map_err(|error| Error::internal(error.to_string()))
    }

    /// Whether nodes are chosen by their meta.
    pub(super) fn asks_for_node_meta(&self) -> bool {
        !self.node_meta.is_empty()
    }

    /// Whether a node's meta is as asked for.
    pub(super) fn suits_node(&self, node: &Node) -> bool {
        suits_meta(node.spec.meta.as_ref(), &self.node_meta)
    }

    /// Whether an instance has all tags asked for. As in Consul, their case does not count.
    pub(super) fn suits_tags(&self, service: &Service) -> bool {
        let own = service.spec.tags.as_deref().unwrap_or_default();
        (self.tags.iter()).all(|tag| own.iter().any(|own| own.eq_ignore_ascii_case(tag)))
    }

    /// Whether the rows are shown with their owners.
    pub(super) fn asks_for_owners(&self) -> bool {
        self.call.head.headers.contains_key(OWNER)
    }

    /// Whether an older answer would do.
    pub(super) fn cached(&self) -> bool {
        self.options.cached
    }

    /// The answer, now or once it changes.
    pub(super) async fn read<T>(
        &self,
        topics: impl FnOnce() -> Vec<Topic>,
        query: impl Fn(&State) -> Answer<T>,
    ) -> Result<(Meta, T), Error> {
        blocking::read(self.call, self.options, topics, query).await
    }

    fn consistency(&self) -> &'static str {
        match self.options {
            ReadOptions { stale: true, .. } => "stale",
            ReadOptions {
                consistent: true, ..
            } => "consistent",
            _ => "leader",
        }
    }

    /// What Go writes at the end of answers that carry their own freshness.
    pub(super) fn write_meta(&self, out: &mut Vec<u8>, meta: Meta) {
        out.extend_from_slice(b",\"Index\":");
        json::write_u64(out, meta.index);
        // Go writes its durations in nanoseconds.
        out.extend_from_slice(b",\"LastContact\":");
        json::write_u64(out, meta.last_contact_ms.saturating_mul(1_000_000));
        let known: &[u8] = if meta.known_leader { b"true" } else { b"false" };
        out.extend_from_slice(b",\"KnownLeader\":");
        out.extend_from_slice(known);
        out.extend_from_slice(b",\"ConsistencyLevel\":");
        json::write_str(out, self.consistency());
        out.extend_from_slice(
            b",\"NotModified\":false,\"Backend\":0,\"ResultsFilteredByACLs\":false",
        );
    }

    /// The answer now, whatever index the client has.
    pub(super) async fn read_now<T>(
        &self,
        query: impl Fn(&State) -> Answer<T>,
    ) -> Result<(Meta, T), Error> {
        let options = ReadOptions {
            index: 0,
            ..self.options
        };
        blocking::read(self.call, options, Vec::new, query).await
    }

    /// The answer as JSON, now or once it changes. `encode` must make of equal answers equal JSON: it is asked once a change.
    pub(super) async fn read_json<T>(
        &self,
        topics: impl FnOnce() -> Vec<Topic>,
        query: impl Fn(&State) -> Answer<T>,
        encode: impl FnOnce(T) -> Vec<u8>,
    ) -> Result<(Meta, Bytes), Error> {
        let Call { call, api } = self.call;
        let seen = blocking::see(self.call, self.options, topics, query).await?;
        let at = Version {
            index: seen.meta.index,
            offset: seen.offset,
        };
        let key = answer_cache::key(call.pattern, call.rest, call.query, self.asks_for_owners());
        let json = (api.answers).get(key, at, || encode(seen.value));
        Ok((seen.meta, json))
    }

    /// JSON with the headers of a read.
    pub(super) fn respond(&self, meta: Meta, json: impl Into<Bytes>) -> Response<Body> {
        let json = json.into();
        let mut response = match self.call.query.has("pretty") {
            true => answer::json(StatusCode::OK, json::indent(&json)),
            false => answer::json(StatusCode::OK, json),
        };
        meta.add_to(&mut response);
        let consistency = self.consistency();
        let headers = response.headers_mut();
        headers.insert(CONSISTENCY, HeaderValue::from_static(consistency));
        if self.options.cached {
            // No answer of ours is older than the question.
            headers.insert(CACHE, HeaderValue::from_static("MISS"));
        }
        response
    }
}

/// Whether a row's meta has all these pairs.
pub(super) fn suits_meta(meta: Option<&SortedMap>, wanted: &[(String, String)]) -> bool {
    let value = |key: &str| meta.and_then(|meta| meta.get(key));
    (wanted.iter()).all(|(key, wanted)| value(key).is_some_and(|value| **value == **wanted))
}

/// A JSON list.
pub(super) fn list<T: Serialize>(rows: impl Iterator<Item = T>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    out.push(b'[');
    for row in rows {
        if out.len() > 1 {
            out.push(b',');
        }
        json::write(&mut out, &row);
    }
    out.push(b']');
    out
}
