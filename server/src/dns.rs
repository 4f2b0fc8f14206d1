//! What DNS knows on a server: this server's own state, made ready a service at a time.
//!
//! A service's answer is made once and holds until its index moves; hence no query walks over checks that did not change. The ready answers
//! stand in a persistent map that is replaced as a whole: readers take no lock. As in Consul a DNS answer may be as stale as the configuration
//! allows; past that, one read-index round brings the state up to date first.

use std::collections::HashMap;
use std::net::IpAddr;
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use imbl::HashMap as SharedMap;
use parking_lot::Mutex;
use rollcall_api::GoDuration;
use rollcall_dns::{
    Boxed, Host, Instance, LabelText, Lookup, Node, Pointer, Prepared, Service, Unavailable,
};
use rollcall_state::command::Status;
use rollcall_state::{InstanceHealth, State, row};

use crate::door::{Consistency, Door};
use crate::{prepared_query, rt};

/// Ready answers may be kept for so many services that are gone before all are dropped at once.
const GONE_MAX: usize = 1_000;
/// How old the map from addresses to names may be: it is made from the whole catalog, and only when somebody asks.
const ADDRESSES_MAX_AGE: Duration = Duration::from_secs(1);
/// The service under which servers are registered.
const SERVERS: &str = "consul";

/// When an answer was made, and of what.
struct Ready {
    /// Restores that happened before: rows may come back under their old indexes.
    offset: u64,
    /// The answer's own index.
    index: u64,
    /// The catalog's when the answer was last seen to hold.
    holds_at: AtomicU64,
    service: Arc<Service>,
}

/// Who has which address, and when that was so.
struct Addresses {
    made: rt::Instant,
    catalog: (u64, u64),
    names: HashMap<IpAddr, Pointer>,
}

/// A server's state as DNS asks it.
pub struct Roll {
    door: Arc<dyn Door>,
    /// `None`: every answer must be fresh.
    max_stale: Option<Duration>,
    ready: ArcSwap<SharedMap<Arc<str>, Arc<Ready>>>,
    addresses: Mutex<Option<Arc<Addresses>>>,
}

impl std::fmt::Debug for Roll {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Roll")
            .field("max_stale", &self.max_stale)
            .field("ready", &self.ready.load().len())
            .finish_non_exhaustive()
    }
}

impl Roll {
    /// `max_stale`: how long ago the leader may have been heard of; `None`: it is asked for every answer.
    pub fn new(door: Arc<dyn Door>, max_stale: Option<Duration>) -> Self {
        Roll {
            door,
            max_stale,
            ready: ArcSwap::default(),
            addresses: Mutex::new(None),
        }
    }

    /// The ready answer of a service that exists, made anew if it does not hold any more.
    fn ready(&self, state: &State, name: &str) -> Arc<Service> {
        let (offset, catalog) = (state.offset(), state.catalog_index());
        if let Some(ready) = self.ready.load().get(name)
            && ready.offset == offset
        {
            // Another thread may have seen a later state; then this one's answer is made for itself below.
            if ready.holds_at.load(Ordering::Acquire) == catalog {
                return Arc::clone(&ready.service);
            }
            if state.health_service_index(name) == ready.index {
                ready.holds_at.store(catalog, Ordering::Release);
                return Arc::clone(&ready.service);
            }
        }
        let health = state.health_service(name);
        let service = Arc::new(Service {
            instances: health.value.iter().filter_map(instance).collect(),
        });
        if !health.value.is_empty() {
            let ready = Arc::new(Ready {
                offset,
                index: health.index,
                holds_at: AtomicU64::new(catalog),
                service: Arc::clone(&service),
            });
            self.keep(state, name, &ready);
        }
        service
    }

    fn keep(&self, state: &State, name: &str, ready: &Arc<Ready>) {
        let kept_max = state.counts().services + GONE_MAX;
        self.ready.rcu(|all| {
            let mut all = match all.len() < kept_max {
                true => SharedMap::clone(all),
                false => SharedMap::new(),
            };
            all.insert(Arc::from(name), Arc::clone(ready));
            all
        });
    }

    fn addresses(&self, state: &State) -> Arc<Addresses> {
        let catalog = (state.offset(), state.catalog_index());
        let mut kept = self.addresses.lock();
        if let Some(addresses) = &*kept
            && (addresses.catalog == catalog || addresses.made.elapsed() < ADDRESSES_MAX_AGE)
        {
            return Arc::clone(addresses);
        }
        let mut names = HashMap::new();
        for instance in state.catalog_instances().value {
            let spec = &instance.service.spec;
            if let (Ok(address), Some(label)) = (spec.address.parse(), label(&spec.service)) {
                names.entry(address).or_insert(Pointer::Service(label));
            }
        }
        for node in state.catalog_nodes().value {
            if let (Ok(address), Some(label)) = (node.spec.address.parse(), label(&node.spec.node))
            {
                names.insert(address, Pointer::Node(label));
            }
        }
        let made = Arc::new(Addresses {
            made: rt::Instant::now(),
            catalog,
            names,
        });
        *kept = Some(Arc::clone(&made));
        made
    }
}

impl Lookup for Roll {
    fn settle(&self) -> Option<Boxed<'_, Result<(), Unavailable>>> {
        if let Some(max_stale) = self.max_stale
            && self.door.local().last_contact <= max_stale
        {
            return None;
        }
        Some(Box::pin(async {
            match self.door.read(Consistency::Linearizable).await {
                Ok(_) => Ok(()),
                Err(error) => Err(Unavailable(error.to_string())),
            }
        }))
    }

    fn service(&self, name: &str) -> Option<Arc<Service>> {
        let state = self.door.local().state;
        let name = name.to_ascii_lowercase();
        Some(self.ready(&state, &name)).filter(|service| !service.instances.is_empty())
    }

    fn node(&self, name: &str) -> Option<Arc<Node>> {
        let node = self.door.local().state.node(name).value?;
        Some(Arc::new(shown(&node)))
    }

    fn query(&self, name: &str) -> Option<Prepared> {
        let state = self.door.local().state;
        let query = state.query_by_id_or_name(name)?;
        let mut found = prepared_query::execute(&state, &query.spec);
        for instance in &mut found {
            (instance.checks).retain(|check| prepared_query::counts(&query.spec.service, check));
        }
        let ttl = Some(&*query.spec.dns_ttl).filter(|ttl| !ttl.is_empty());
        let ttl = ttl.and_then(|ttl| ttl.parse().ok()).map(GoDuration::to_std);
        Some(Prepared {
            service: Arc::new(Service {
                instances: found.iter().filter_map(instance).collect(),
            }),
            ttl,
            name: query.spec.service.service.to_string(),
        })
    }

    fn pointer(&self, address: IpAddr) -> Option<Pointer> {
        let state = self.door.local().state;
        self.addresses(&state).names.get(&address).cloned()
    }

    fn servers(&self) -> Vec<Arc<Node>> {
        let servers = self.service(SERVERS);
        let instances = servers.iter().flat_map(|servers| &servers.instances);
        instances
            .map(|instance| Arc::clone(&instance.node))
            .collect()
    }
}

/// An instance as DNS shows it; `None`: it is critical.
fn instance(health: &InstanceHealth) -> Option<Instance> {
    let mut passing = true;
    for check in &health.checks {
        match check.spec.status {
            Status::Passing => {}
            Status::Critical => return None,
            Status::Warning | Status::Other(_) => passing = false,
        }
    }
    let spec = &health.service.spec;
    let weight = match passing {
        true => spec.weights.passing,
        false => spec.weights.warning,
    };
    Some(Instance {
        node: Arc::new(shown(&health.node)),
        host: Some(&*spec.address)
            .filter(|address| !address.is_empty())
            .map(Host::parse),
        port: spec.port,
        weight: u16::try_from(weight).unwrap_or(u16::MAX),
        passing,
        tags: spec.tags.clone().unwrap_or_default(),
    })
}

fn shown(node: &row::Node) -> Node {
    let meta = node.spec.meta.iter().flat_map(|meta| meta.iter());
    let meta = meta.map(|(key, value)| (&**key, &**value));
    Node::new(&node.spec.node, &node.spec.address, meta)
}

/// A name that can stand in DNS.
fn label(name: &str) -> Option<LabelText> {
    LabelText::from_str(name).ok()
}
