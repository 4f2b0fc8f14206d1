//! Counts requests by endpoint, method and status, and how long each endpoint takes.
//!
//! All places are made when the edge is: a request finds its own by number, and costs a few additions to atomics, no lock and no
//! allocation. Endpoints are the patterns of the tables, never paths, so their number is that of the program's routes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::{Method, StatusCode};
use rollcall_metrics::{Descriptor, Histogram, Labels, Reading, Registry, Source};

use crate::Edge;
use crate::route::Api;

/// Requests.
pub const REQUESTS: Descriptor = Descriptor::counter(
    "http",
    "requests",
    "Requests answered, by route, method and status",
);
/// Time of requests.
pub const REQUEST_DURATION: Descriptor = Descriptor::histogram(
    "http",
    "request_duration",
    "Time until an answer began, without the time a blocking query was parked, by route",
);
/// Connections.
pub const CONNECTIONS: Descriptor =
    Descriptor::gauge("http", "connections", "Connections that are open");
/// Parked queries.
pub const PARKED_QUERIES: Descriptor =
    Descriptor::gauge("http", "parked_queries", "Blocking queries that wait");

/// Where a request is counted that no route takes.
const OTHER: &str = "other";
/// Methods that are told apart; the rest is the last.
const METHODS: [&str; 7] = ["GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", OTHER];
/// Statuses that are told apart; the rest is the last.
const STATUSES: [(u16, &str); 20] = [
    (200, "200"),
    (204, "204"),
    (304, "304"),
    (307, "307"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (408, "408"),
    (409, "409"),
    (413, "413"),
    (415, "415"),
    (429, "429"),
    (431, "431"),
    (500, "500"),
    (501, "501"),
    (502, "502"),
    (503, "503"),
    (504, "504"),
];

/// A route's own numbers.
struct Endpoint {
    pattern: &'static str,
    requests: [[AtomicU64; STATUSES.len() + 1]; METHODS.len()],
    duration: Histogram,
}

impl Endpoint {
    fn new(pattern: &'static str) -> Self {
        Endpoint {
            pattern,
            requests: Default::default(),
            duration: Histogram::default(),
        }
    }
}

/// Which endpoint a request is counted at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(usize);

/// The numbers of all routes of an edge.
pub(crate) struct RequestMetrics {
    endpoints: Arc<[Endpoint]>,
    /// By API and the place in its table.
    places: Vec<Vec<Place>>,
}

impl RequestMetrics {
    /// For these APIs. Routes with the same pattern share their numbers.
    pub(crate) fn new(apis: &[Arc<dyn Api>]) -> Self {
        let mut patterns = vec![OTHER];
        let mut place = |pattern| {
            let known = patterns.iter().position(|known| *known == pattern);
            Place(known.unwrap_or_else(|| {
                patterns.push(pattern);
                patterns.len() - 1
            }))
        };
        let places = apis
            .iter()
            .map(|api| api.patterns().into_iter().map(&mut place).collect())
            .collect();
        RequestMetrics {
            endpoints: patterns.into_iter().map(Endpoint::new).collect(),
            places,
        }
    }

    /// Of a request that no route takes.
    pub(crate) const NOWHERE: Place = Place(0);

    /// Of a route of an API.
    pub(crate) fn place(&self, api: usize, endpoint: usize) -> Place {
        let places = self.places.get(api);
        places
            .and_then(|places| places.get(endpoint))
            .copied()
            .unwrap_or(Self::NOWHERE)
    }

    /// Counts a request.
    pub(crate) fn count(&self, place: Place, method: &Method, status: StatusCode, took: Duration) {
        let endpoint = &self.endpoints[place.0];
        let last = METHODS.len() - 1;
        let known = METHODS[..last]
            .iter()
            .position(|known| *known == method.as_str());
        let of_method = &endpoint.requests[known.unwrap_or(last)];
        let known = STATUSES
            .iter()
            .position(|(code, _)| *code == status.as_u16());
        of_method[known.unwrap_or(STATUSES.len())].fetch_add(1, Ordering::Relaxed);
        endpoint.duration.observe(took);
    }
}

/// Requests that were answered. Only lines that have counted something: most routes have one method and two statuses.
struct Requests(Arc<[Endpoint]>);

impl Source for Requests {
    fn read(&self, line: &mut dyn FnMut(Labels<'_>, Reading)) {
        for endpoint in self.0.iter() {
            for (method, statuses) in METHODS.iter().zip(&endpoint.requests) {
                let names = STATUSES.iter().map(|(_, name)| *name).chain([OTHER]);
                for (status, counted) in names.zip(statuses) {
                    let counted = counted.load(Ordering::Relaxed);
                    if counted > 0 {
                        let labels = [
                            ("route", endpoint.pattern),
                            ("method", *method),
                            ("status", status),
                        ];
                        line(&labels, Reading::Counter(counted));
                    }
                }
            }
        }
    }
}

/// How long they took.
struct Durations(Arc<[Endpoint]>);

impl Source for Durations {
    fn read(&self, line: &mut dyn FnMut(Labels<'_>, Reading)) {
        for endpoint in self
            .0
            .iter()
            .filter(|endpoint| endpoint.duration.count() > 0)
        {
            endpoint.duration.read(&mut |_, reading| {
                line(&[("route", endpoint.pattern)], reading);
            });
        }
    }

    fn begin_interval(&self) {
        for endpoint in self.0.iter() {
            endpoint.duration.begin_interval();
        }
    }
}

impl Edge {
    /// Exports the edge's numbers.
    pub fn export(self: &Arc<Self>, registry: &Registry) {
        let endpoints = &self.requests.endpoints;
        registry.add(REQUESTS, Arc::new(Requests(Arc::clone(endpoints))));
        registry.add(REQUEST_DURATION, Arc::new(Durations(Arc::clone(endpoints))));
        // Weak, since an API of the edge may hold the registry.
        let edge = Arc::downgrade(self);
        registry.gauge(CONNECTIONS, move || {
            edge.upgrade().map_or(0.0, |edge| edge.connections() as f64)
        });
        let edge = Arc::downgrade(self);
        registry.gauge(PARKED_QUERIES, move || {
            edge.upgrade().map_or(0.0, |edge| edge.parked() as f64)
        });
    }
}

#[cfg(test)]
mod tests {
    use rollcall_metrics::Exposition;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::route::{Answering, Route, Table, route};
    use crate::{Call, EdgeConfig};

    fn nothing<'a>((): &'a (), _: &'a Call<'a>, _: &'a mut hyper::body::Incoming) -> Answering<'a> {
        Box::pin(async { Ok(crate::answer::not_found()) })
    }

    static ONE: [Route<()>; 2] = [route("/v1/kv/", "", nothing), route("/v1/txn", "", nothing)];
    static OTHER_TABLE: [Route<()>; 2] = [
        route("/v1/agent/self", "", nothing),
        route("/v1/kv/", "", nothing),
    ];

    #[test]
    fn requests_are_counted_by_route_method_and_status() {
        let apis: Vec<Arc<dyn Api>> = vec![
            Arc::new(Table::new((), &ONE)),
            Arc::new(Table::new((), &OTHER_TABLE)),
        ];
        let edge = Edge::new(EdgeConfig::default(), apis, CancellationToken::new());
        let registry = Registry::default();
        edge.export(&registry);
        let took = Duration::from_millis(3);
        let count = |place, method: &str, status: u16| {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let status = StatusCode::from_u16(status).unwrap();
            edge.requests.count(place, &method, status, took);
        };
        count(edge.requests.place(0, 0), "GET", 200);
        count(edge.requests.place(1, 1), "GET", 200);
        count(edge.requests.place(1, 0), "BREW", 418);
        count(edge.requests.place(7, 7), "PUT", 404);
        let text = registry.text(Exposition::OpenMetrics);
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("rollcall_http_requests_total"))
            .collect();
        assert_eq!(
            lines,
            [
                "rollcall_http_requests_total{route=\"other\",method=\"PUT\",status=\"404\"} 1",
                "rollcall_http_requests_total{route=\"/v1/kv/\",method=\"GET\",status=\"200\"} 2",
                "rollcall_http_requests_total{route=\"/v1/agent/self\",method=\"other\",status=\"other\"} 1",
            ]
        );
        let durations = "rollcall_http_request_duration_seconds_count{route=\"/v1/kv/\"} 2\n";
        assert!(text.contains(durations), "{text}");
        assert!(
            text.contains("\nrollcall_http_parked_queries 0.0\n"),
            "{text}"
        );
    }
}
