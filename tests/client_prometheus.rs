//! Prometheus with `consul_sd_configs` over the real binary: it discovers, follows, and scrapes us. Not Debian's, which is built
//! without it.
//!
//! It watches the map of services and each service with long polls, and throttles twice by 5 s itself: once before it hands
//! targets on and once before it scrapes them. So what we answer is measured with a query of our own, parked beside its
//! with the same words, and its list of targets with the bound that the throttles give.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::program::{Program, installed};
use harness::server::{Scratch, free_port, loopback_address};
use harness::{Connection, Request, Server, Settings, http, wait_for};
use serde_json::{Value, json};

/// A parked query is answered this soon after a change.
const ANSWER_BOUND: Duration = Duration::from_millis(100);
/// The list of targets follows within this.
const TARGETS_BOUND: Duration = Duration::from_secs(12);
/// Prometheus has started, and has passed its first two throttles.
const START_BOUND: Duration = Duration::from_secs(60);
/// Changes that are timed. One may be late, since the other tests have the same two cores.
const CHANGES: usize = 7;

struct Prometheus {
    // Held so that it ends with the test.
    _program: Program,
    address: SocketAddr,
}

impl Prometheus {
    fn start(server: &Server, scratch: &Scratch) -> Self {
        let ip = loopback_address(9);
        let address = SocketAddr::new(ip, free_port(ip));
        let config = scratch.path().join("prometheus.yml");
        let document = json!({
            "global": { "scrape_interval": "1s", "scrape_timeout": "1s" },
            "scrape_configs": [
                {
                    "job_name": "discovered",
                    "consul_sd_configs": [{ "server": server.http().to_string(), "refresh_interval": "1s" }],
                },
                {
                    "job_name": "registry",
                    "metrics_path": "/v1/agent/metrics",
                    "params": { "format": ["prometheus"] },
                    "static_configs": [{ "targets": [server.http().to_string()] }],
                },
            ],
        });
        fs::write(&config, document.to_string()).expect("the test's directory must be writable");
        let mut command = Command::new(installed("prometheus").join("prometheus"));
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--web.listen-address={address}"))
            .arg(format!(
                "--storage.tsdb.path={}",
                scratch.path().join("tsdb").display()
            ));
        Self {
            _program: Program::start("prometheus", command, scratch.path()),
            address,
        }
    }

    fn get(&self, path: &str) -> Result<Value, String> {
        let answer = http::send(self.address, &Request::new("GET", path));
        let answer = answer.map_err(|error| error.to_string())?;
        match answer.status {
            200 => Ok(answer.json()["data"].clone()),
            status => Err(format!("{status} {}", answer.text())),
        }
    }

    /// The labels that it discovered, of every target of a service.
    fn targets(&self, service: &str) -> Result<Vec<Value>, String> {
        let data = self.get("/api/v1/targets?state=active")?;
        let targets = data["activeTargets"].as_array().ok_or("no targets")?;
        let labels = targets.iter().map(|target| &target["discoveredLabels"]);
        let mut found: Vec<Value> = labels
            .filter(|labels| labels["__meta_consul_service"] == service)
            .cloned()
            .collect();
        found.sort_by_key(|labels| labels["__meta_consul_service_id"].to_string());
        Ok(found)
    }

    fn wait_for_targets(&self, service: &str, ids: &[&str], bound: Duration) -> Vec<Value> {
        wait_for(&format!("targets {ids:?} of {service}"), bound, || {
            let targets = self.targets(service)?;
            let seen: Vec<&str> = targets
                .iter()
                .filter_map(|labels| labels["__meta_consul_service_id"].as_str())
                .collect();
            if seen == ids {
                Ok(targets)
            } else {
                Err(format!("{seen:?}"))
            }
        })
    }

    /// The first value of a query.
    fn value(&self, query: &str) -> Result<String, String> {
        let data = self.get(&format!("/api/v1/query?query={query}"))?;
        let value = data["result"][0]["value"][1].as_str().map(str::to_owned);
        value.ok_or_else(|| format!("no value: {data}"))
    }
}

fn register(server: &Server, service: &str, id: &str, port: u16, status: &str) {
    let body = json!({
        "Node": "elsewhere",
        "Address": "127.1.2.3",
        "NodeMeta": { "rack": "r1" },
        "Service": { "ID": id, "Service": service, "Tags": ["blue", "v2"], "Port": port, "Meta": { "team": "a" } },
        "Checks": [{
            "Node": "elsewhere", "CheckID": format!("check-{id}"), "Name": "alive", "ServiceID": id, "Status": status,
        }],
    });
    let answer = server.put("/v1/catalog/register", body.to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn deregister(server: &Server, id: &str) {
    let body = json!({ "Node": "elsewhere", "ServiceID": id });
    let answer = server.put("/v1/catalog/deregister", body.to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// How long after a change a query like Prometheus' own has its answer.
fn answer_time(server: &Server, change: impl FnOnce()) -> Duration {
    let path = "/v1/health/service/web?stale=&wait=120000ms";
    let index = server.get(path).index();
    let mut parked = Connection::open(server.http()).expect("the server must take connections");
    let request = format!("GET {path}&index={index} HTTP/1.1\r\nHost: rollcall.test\r\n\r\n");
    parked.write(request.as_bytes()).expect("it must be sent");
    // A later request on another connection is answered: the server has had the time to park this one.
    server.get("/v1/status/leader");
    assert!(
        parked.is_silent().expect("it must stay open"),
        "answered before the change"
    );
    let begun = Instant::now();
    change();
    let answer = parked.read("GET").expect("it must be answered");
    assert!(answer.index() > index, "{answer:?}");
    begun.elapsed()
}

#[test]
fn prometheus_follows_the_catalog_and_scrapes_our_metrics() {
    let scratch = Scratch::new();
    let mut server = Server::new(Settings::single(scratch.path()), scratch.path());
    server.start_and_wait();
    register(&server, "web", "web-1", 8001, "passing");
    register(&server, "web", "web-2", 8002, "critical");
    let prometheus = Prometheus::start(&server, &scratch);
    let targets = prometheus.wait_for_targets("web", &["web-1", "web-2"], START_BOUND);
    let expected = json!({
        "__address__": "127.1.2.3:8001",
        "__meta_consul_address": "127.1.2.3",
        "__meta_consul_dc": "dc1",
        "__meta_consul_health": "passing",
        "__meta_consul_metadata_rack": "r1",
        "__meta_consul_node": "elsewhere",
        "__meta_consul_service": "web",
        "__meta_consul_service_id": "web-1",
        "__meta_consul_service_metadata_team": "a",
        "__meta_consul_service_port": "8001",
        "__meta_consul_tags": ",blue,v2,",
    });
    for (label, value) in expected.as_object().into_iter().flatten() {
        assert_eq!(&targets[0][label], value, "{label} of {}", targets[0]);
    }
    assert_eq!(targets[1]["__meta_consul_health"], "critical");

    // One instance goes, one comes, one becomes well, and a service appears: all within the bound.
    deregister(&server, "web-1");
    register(&server, "web", "web-2", 8002, "passing");
    register(&server, "web", "web-3", 8003, "passing");
    register(&server, "db", "db-1", 8004, "passing");
    let changed = Instant::now();
    let targets = prometheus.wait_for_targets("web", &["web-2", "web-3"], TARGETS_BOUND);
    assert_eq!(targets[0]["__meta_consul_health"], "passing");
    let rest = TARGETS_BOUND.saturating_sub(changed.elapsed());
    prometheus.wait_for_targets("db", &["db-1"], rest);

    let mut times: Vec<Duration> = (0..CHANGES)
        .map(|number| {
            let status = ["critical", "passing"][number % 2];
            answer_time(&server, || register(&server, "web", "web-2", 8002, status))
        })
        .collect();
    times.sort();
    println!("parked queries were answered after {times:?}");
    assert!(
        times[CHANGES - 2] <= ANSWER_BOUND,
        "more than one answer later than {ANSWER_BOUND:?}: {times:?}"
    );

    for query in [
        "up{job=\"registry\"}==1",
        "scrape_samples_scraped{job=\"registry\"}>20",
    ] {
        let escaped = query.replace('"', "%22").replace('=', "%3D");
        wait_for(query, START_BOUND, || prometheus.value(&escaped));
    }
}
