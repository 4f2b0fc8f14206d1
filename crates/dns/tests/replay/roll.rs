//! A lookup over the catalog that Consul had when it was recorded.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use domain::base::name::RelativeName;
use rollcall_dns::{Boxed, Host, Instance, Lookup, Node, Pointer, Prepared, Service, Unavailable};
use serde_json::Value;

/// The catalog, by lower-case names.
#[derive(Default)]
pub(crate) struct Roll {
    nodes: BTreeMap<String, Arc<Node>>,
    services: BTreeMap<String, Arc<Service>>,
    queries: BTreeMap<String, Prepared>,
    servers: Vec<Arc<Node>>,
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or_default()
}

impl Roll {
    /// What `consul-dns-setup.json` registers.
    pub(crate) fn recorded(setup: &Value) -> Self {
        let mut roll = Roll::default();
        for registration in setup["register"]
            .as_array()
            .expect("a list of registrations")
        {
            roll.register(registration);
        }
        for i in 1..=60 {
            roll.register(&serde_json::json!({
                "Node": format!("m{i}"), "Address": format!("10.9.0.{i}"),
                "Service": {"Service": "many", "Port": 9000 + i},
            }));
        }
        roll.register(&serde_json::json!({
            "Node": "dev-node", "Address": "127.0.0.1",
            "NodeMeta": {"consul-version": "1.20.1", "consul-network-segment": ""},
            "Service": {"Service": "consul", "Port": 8300},
        }));
        roll.servers = vec![Arc::clone(&roll.nodes["dev-node"])];
        let query = &setup["query"];
        let passing = |instance: &&Instance| instance.passing;
        let web = &roll.services[text(&query["Service"], "Service")];
        let prepared = Prepared {
            service: Arc::new(Service {
                instances: web.instances.iter().filter(passing).cloned().collect(),
            }),
            ttl: Some(Duration::from_secs(7)),
            name: "web".to_owned(),
        };
        roll.queries
            .insert(text(query, "Name").to_owned(), prepared);
        roll
    }

    /// One registration as `PUT /v1/catalog/register` takes it.
    fn register(&mut self, registration: &Value) {
        let name = text(registration, "Node");
        let meta = registration["NodeMeta"].as_object();
        let meta = meta
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()));
        let node = Arc::new(Node::new(name, text(registration, "Address"), meta));
        self.nodes
            .insert(name.to_ascii_lowercase(), Arc::clone(&node));
        let service = &registration["Service"];
        let status = registration["Check"]["Status"]
            .as_str()
            .unwrap_or("passing");
        let entry = self
            .services
            .entry(text(service, "Service").to_ascii_lowercase());
        let all = Arc::make_mut(entry.or_default());
        if status == "critical" {
            return;
        }
        let weight = |kind: &str| service["Weights"][kind].as_u64().unwrap_or(1);
        let weight = match status {
            "warning" => weight("Warning"),
            _ => weight("Passing"),
        };
        let tags = service["Tags"].as_array().into_iter().flatten();
        all.instances.push(Instance {
            node,
            host: service["Address"].as_str().map(Host::parse),
            port: u16::try_from(service["Port"].as_u64().unwrap_or(0)).expect("a port"),
            weight: u16::try_from(weight).expect("a weight"),
            passing: status == "passing",
            tags: tags.filter_map(Value::as_str).map(Arc::from).collect(),
        });
    }
}

impl Lookup for Roll {
    fn settle(&self) -> Option<Boxed<'_, Result<(), Unavailable>>> {
        None
    }

    fn service(&self, name: &str) -> Option<Arc<Service>> {
        self.services.get(&name.to_ascii_lowercase()).cloned()
    }

    fn node(&self, name: &str) -> Option<Arc<Node>> {
        self.nodes.get(&name.to_ascii_lowercase()).cloned()
    }

    fn query(&self, name: &str) -> Option<Prepared> {
        self.queries.get(name).cloned()
    }

    fn pointer(&self, address: IpAddr) -> Option<Pointer> {
        let label = |name: &str| RelativeName::from_str(name).expect("a label");
        let is = |host: &Host| match host {
            Host::V4(own) => IpAddr::V4(*own) == address,
            Host::V6(own) => IpAddr::V6(*own) == address,
            Host::Name(_) | Host::Unusable => false,
        };
        let node = self.nodes.iter().find(|(_, node)| is(&node.host));
        if let Some((name, _)) = node {
            return Some(Pointer::Node(label(name)));
        }
        let service = self.services.iter().find(|(_, service)| {
            (service.instances.iter()).any(|instance| instance.host.as_ref().is_some_and(is))
        });
        service.map(|(name, _)| Pointer::Service(label(name)))
    }

    fn servers(&self) -> Vec<Arc<Node>> {
        self.servers.clone()
    }
}
