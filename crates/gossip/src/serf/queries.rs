//! Queries: a question to all members or some of them, answered directly, within a time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use regex::RegexBuilder;

use super::api::{CommandError, Effect, QueryAsked, QueryHandle, QueryParams, Status};
use super::clock::Clock;
use super::{Out, Pool, QueueName};
use crate::count::DropReason;
use crate::step::TimerKind;
use crate::swim::Name;
use crate::wire::WireError;
use crate::wire::query::{FLAG_ACK, Filter, Query, QueryResponse};
use crate::wire::serf::Relay;

/// Questions of ours that wait for answers.
const RUNNING_MAX: usize = 256;
/// Different questions of one Lamport time.
const QUERIES_AT_ONE_TIME_MAX: usize = 256;
/// What an expression of a stranger may compile to.
const EXPRESSION_BYTES_MAX: usize = 64 * 1024;

/// Recent queries and our own.
#[derive(Debug, Clone)]
pub(super) struct Queries {
    pub(super) clock: Clock,
    not_before: u64,
    window: u64,
    recent: BTreeMap<u64, Vec<u32>>,
    running: BTreeMap<u64, Running>,
}

#[derive(Debug, Clone)]
struct Running {
    id: u32,
    request: u64,
    acks: BTreeSet<Name>,
    responses: BTreeSet<Name>,
}

impl Queries {
    pub(super) fn new(window: usize, last: u64) -> Self {
        Self {
            clock: Clock::after(last),
            not_before: last + 1,
            window: window as u64,
            recent: BTreeMap::new(),
            running: BTreeMap::new(),
        }
    }

    fn note(&mut self, query: &Query<'_>) -> Result<(), Option<DropReason>> {
        self.clock.witness(query.ltime);
        if query.ltime < self.not_before {
            return Err(None);
        }
        let oldest = self.clock.time().saturating_sub(self.window);
        if query.ltime < oldest || query.ltime > self.clock.time() {
            return Err(Some(DropReason::Old));
        }
        self.recent = self.recent.split_off(&oldest);
        let known = self.recent.entry(query.ltime).or_default();
        if known.contains(&query.id) {
            return Err(None);
        }
        if known.len() >= QUERIES_AT_ONE_TIME_MAX {
            return Err(Some(DropReason::Full));
        }
        known.push(query.id);
        Ok(())
    }
}

impl Pool {
    // === asked by us ===

    pub(super) fn ask(
        &mut self,
        now: Duration,
        request: u64,
        params: &QueryParams,
        out: &mut Out,
        effects: &mut Vec<Effect>,
    ) -> Result<(), CommandError> {
        if self.queries.running.len() >= RUNNING_MAX {
            return Err(CommandError::TooMany {
                what: "queries",
                max: RUNNING_MAX,
            });
        }
        let timeout = if params.timeout.is_zero() {
            self.default_timeout()
        } else {
            params.timeout
        };
        // Serf draws 31 bits.
        let id = u32::try_from(self.swim.random().next() >> 33).expect("31 bits must fit");
        let filters: Vec<_> = params.filters.iter().map(Filter::encode).collect();
        let name = self.swim.name().clone();
        let query = Query {
            ltime: self.queries.clock.time(),
            id,
            source: self.swim.address(),
            source_node: &name,
            filters: filters.iter().map(Vec::as_slice).collect(),
            flags: if params.wants_ack { FLAG_ACK } else { 0 },
            relay_factor: params.relay_factor,
            timeout,
            name: &params.name,
            payload: &params.payload,
        };
        let message = query.encode();
        let max = self.config.query_bytes_max;
        if message.len() > max {
            return Err(CommandError::TooLarge {
                what: "query",
                bytes: message.len(),
                max,
            });
        }
        let running = Running {
            id,
            request,
            acks: BTreeSet::new(),
            responses: BTreeSet::new(),
        };
        let ltime = self.queries.clock.tick();
        self.queries.running.insert(ltime, running);
        out.timer(now + timeout, TimerKind::Query { ltime });
        self.query(now, &query, out, effects);
        self.broadcast(now, QueueName::Queries, &message, None, out);
        Ok(())
    }

    /// Serf's: so many gossip intervals as the pool needs for a word to get around.
    fn default_timeout(&self) -> Duration {
        let alive = |status| matches!(status, Status::Alive | Status::Leaving);
        let members = self
            .roster
            .iter()
            .filter(|member| alive(member.status))
            .count();
        let scale = crate::swim::transmits_max(1, members);
        self.timing.gossip_interval * self.config.query_timeout_mult * scale
    }

    pub(super) fn query_response(
        &mut self,
        response: &QueryResponse<'_>,
        bytes: &Bytes,
        effects: &mut Vec<Effect>,
    ) {
        let running = self.queries.running.get_mut(&response.ltime);
        let Some(running) = running.filter(|running| running.id == response.id) else {
            return self.swim.counters_mut().count_dropped(DropReason::Unasked);
        };
        let from: Name = response.from.into();
        let request = running.request;
        if response.is_ack() {
            if running.acks.insert(from.clone()) {
                effects.push(Effect::QueryAck { request, from });
            }
        } else if running.responses.insert(from.clone()) {
            effects.push(Effect::QueryResponse {
                request,
                from,
                payload: if response.payload.is_empty() {
                    Bytes::new()
                } else {
                    bytes.slice_ref(response.payload)
                },
            });
        }
    }

    pub(super) fn query_over(&mut self, ltime: u64, effects: &mut Vec<Effect>) {
        if let Some(running) = self.queries.running.remove(&ltime) {
            effects.push(Effect::QueryDone {
                request: running.request,
            });
        }
    }

    // === asked by others ===

    /// A query came. True if it is news and to be told on.
    pub(super) fn query(
        &mut self,
        now: Duration,
        query: &Query<'_>,
        out: &mut Out,
        effects: &mut Vec<Effect>,
    ) -> bool {
        if let Err(reason) = self.queries.note(query) {
            if let Some(reason) = reason {
                self.swim.counters_mut().count_dropped(reason);
            }
            return false;
        }
        match self.is_meant(query) {
            Ok(true) => {}
            Ok(false) => return query.is_broadcast(),
            Err(_) => {
                self.swim.counters_mut().count_dropped(DropReason::Filter);
                return query.is_broadcast();
            }
        }
        let source_node: Name = query.source_node.into();
        let handle = QueryHandle {
            ltime: query.ltime,
            id: query.id,
            source: query.source,
            source_node: source_node.clone(),
            relay_factor: query.relay_factor,
            deadline: now + query.timeout,
        };
        if query.wants_ack() {
            self.send_response(&handle, FLAG_ACK, &[], out);
        }
        if self.is_internal(query.name) {
            self.answer_internal(now, query.name, query.payload, &handle, out);
        } else {
            effects.push(Effect::Query(QueryAsked {
                name: query.name.to_owned(),
                payload: Bytes::copy_from_slice(query.payload),
                source_node,
                deadline: handle.deadline,
                handle,
            }));
        }
        query.is_broadcast()
    }

    /// All filters let us through.
    fn is_meant(&self, query: &Query<'_>) -> Result<bool, WireError> {
        for filter in &query.filters {
            let passes = match Filter::decode(filter)? {
                Filter::Nodes(names) => names.iter().any(|name| **name == **self.swim.name()),
                Filter::Tag { tag, expression } => {
                    let value = self.tags.get(&tag).map_or("", String::as_str);
                    let expression = RegexBuilder::new(&expression)
                        .size_limit(EXPRESSION_BYTES_MAX)
                        .dfa_size_limit(EXPRESSION_BYTES_MAX)
                        .build();
                    expression.is_ok_and(|expression| expression.is_match(value))
                }
            };
            if !passes {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn respond(
        &mut self,
        now: Duration,
        query: &QueryHandle,
        payload: &[u8],
        out: &mut Out,
    ) -> Result<(), CommandError> {
        if now > query.deadline {
            return Err(CommandError::TooLate);
        }
        let bytes = self.encode_response(query, 0, payload).len();
        let max = self.config.query_response_bytes_max;
        if bytes > max {
            return Err(CommandError::TooLarge {
                what: "query response",
                bytes,
                max,
            });
        }
        self.send_response(query, 0, payload, out);
        Ok(())
    }

    fn encode_response(&self, query: &QueryHandle, flags: u32, payload: &[u8]) -> Vec<u8> {
        let response = QueryResponse {
            ltime: query.ltime,
            id: query.id,
            from: self.swim.name(),
            flags,
            payload,
        };
        response.encode()
    }

    fn send_response(&mut self, query: &QueryHandle, flags: u32, payload: &[u8], out: &mut Out) {
        let message = self.encode_response(query, flags, payload);
        self.swim
            .send_user(&query.source_node, query.source, &message, out);
        if query.relay_factor > 0 {
            self.relay_response(query, &message, out);
        }
    }

    /// Sends the same through others, in case the direct way is blocked.
    fn relay_response(&mut self, query: &QueryHandle, message: &[u8], out: &mut Out) {
        let factor = usize::from(query.relay_factor);
        let relay = Relay {
            to: query.source,
            node: &query.source_node,
            message,
        };
        let relayed = relay.encode();
        // A pool too small for it does not need it.
        if self.roster.len() < factor + 1 || relayed.len() > self.config.query_response_bytes_max {
            return;
        }
        let name = self.swim.name().clone();
        let mut others: Vec<_> = self
            .roster
            .iter()
            .filter(|member| member.status == Status::Alive && member.versions.has_relay())
            .filter(|member| member.name != name)
            .map(|member| (member.name.clone(), member.address))
            .collect();
        self.swim.random().shuffle(&mut others);
        for (name, address) in others.into_iter().take(factor) {
            self.swim.send_user(&name, address, &relayed, out);
        }
    }

    /// Passes a message on, but only to members: not everybody's reflector.
    pub(super) fn pass_on(&mut self, node: &str, to: SocketAddr, message: &[u8], out: &mut Out) {
        let is_member = match self.roster.get(node) {
            Some(member) => member.address == to,
            None => self.roster.iter().any(|member| member.address == to),
        };
        if is_member && !message.is_empty() {
            self.swim.send_user(node, to, message, out);
        } else {
            self.swim.counters_mut().count_dropped(DropReason::Unasked);
        }
    }
}
