//! `/v1/catalog`: its reads. What a read waits on stands with it; options that choose among rows wait on the same.

use std::sync::Arc;

use hyper::Response;
use rollcall_api::json;
use rollcall_edge::{Body, Error};
use rollcall_state::row::{Node, Service};
use rollcall_state::{Answer, Instance, SortedMap, State, Topic};

use super::call::Call;
use super::filter_fields::{INSTANCE, InstanceRow, NODE, NodeRow, SERVICE};
use super::reading::{Reading, list};
use super::rows::Show;

/// `GET /v1/catalog/datacenters`: there is one.
pub(super) fn datacenters(call: &Call<'_>) -> Response<Body> {
    call.json(&[&call.edge.config().datacenter])
}

/// `GET /v1/catalog/nodes`.
pub(super) async fn nodes(call: &Call<'_>) -> Result<Response<Body>, Error> {
    let reading = Reading::parse(call)?;
    let filter = reading.filter(&NODE).map_err(Error::of_read)?;
    let read = reading.read(|| vec![Topic::Nodes], |state| state.catalog_nodes());
    let (meta, mut rows) = read.await.map_err(Error::of_read)?;
    rows.retain(|row| reading.suits_node(row));
    if let Some(filter) = filter {
        let datacenter = datacenter(call);
        rows.retain(|row| filter.matches(&placed(row, &datacenter)));
    }
    let show = Show::usual(&call.edge.config().datacenter);
    let json = list(rows.iter().map(|row| show.node(row)));
    Ok(reading.respond(meta, json))
}

/// `GET /v1/catalog/services`: names and their tags.
pub(super) async fn services(call: &Call<'_>) -> Result<Response<Body>, Error> {
    let reading = Reading::parse(call)?;
    let filter = reading.filter(&INSTANCE).map_err(Error::of_read)?;
    if filter.is_none() && !reading.asks_for_node_meta() {
        let read = reading.read(|| vec![Topic::Services], |state| state.catalog_services());
        let (meta, names) = read.await.map_err(Error::of_read)?;
        let names = (names.iter())
            .map(|(name, service)| (&**name, service.tags().map(|tag| &**tag).collect()));
        return Ok(reading.respond(meta, names_and_tags(names)));
    }
    let read = reading.read(|| vec![Topic::Instances], |state| state.catalog_instances());
    let (meta, rows) = read.await.map_err(Error::of_read)?;
    let datacenter = datacenter(call);
    let mut names: std::collections::BTreeMap<&str, std::collections::BTreeSet<&str>> =
        Default::default();
    for row in rows.iter().filter(|row| reading.suits_node(&row.node)) {
        let suits = |filter: &rollcall_filter::Filter<_>| {
            filter.matches(&instance(&row.node, &row.service, &datacenter))
        };
        if filter.as_ref().is_none_or(suits) {
            let tags = row.service.spec.tags.as_deref().unwrap_or_default();
            (names.entry(&row.service.spec.service).or_default())
                .extend(tags.iter().map(|tag| &**tag));
        }
    }
    let names = names
        .into_iter()
        .map(|(name, tags)| (name, tags.into_iter().collect()));
    Ok(reading.respond(meta, names_and_tags(names)))
}

fn names_and_tags<'r>(names: impl Iterator<Item = (&'r str, Vec<&'r str>)>) -> Vec<u8> {
    let mut out = vec![b'{'];
    for (name, tags) in names {
        if out.len() > 1 {
            out.push(b',');
        }
        json::write_str(&mut out, name);
        out.push(b':');
        json::write(&mut out, &tags);
    }
    out.push(b'}');
    out
}

/// `GET /v1/catalog/service/NAME`: its instances, whatever their health.
pub(super) async fn service(call: &Call<'_>) -> Result<Response<Body>, Error> {
    let reading = Reading::parse(call)?;
    let name = reading.name("Missing service name")?;
    let filter = reading.filter(&INSTANCE).map_err(Error::of_read)?;
    let encode = |mut rows: Vec<Instance>| {
        rows.retain(|row| reading.suits_node(&row.node) && reading.suits_tags(&row.service));
        if let Some(filter) = filter {
            let datacenter = datacenter(call);
            rows.retain(|row| filter.matches(&instance(&row.node, &row.service, &datacenter)));
        }
        let show = Show::usual(&call.edge.config().datacenter);
        let no_meta = SortedMap::default();
        list((rows.iter()).map(|row| show.instance(&row.node, &row.service, &no_meta)))
    };
    let query = |state: &State| state.service_instances(name);
    let read = reading.read_json(|| vec![Topic::service(name)], query, encode);
    let (meta, json) = read.await.map_err(Error::of_read)?;
    Ok(reading.respond(meta, json))
}

/// `GET /v1/catalog/connect/NAME` and `GET /v1/catalog/gateway-services/NAME`: there is no mesh.
pub(super) async fn mesh(call: &Call<'_>) -> Result<Response<Body>, Error> {
    let reading = Reading::parse(call)?;
    let missing = match call.pattern {
        "/v1/catalog/gateway-services/" => "Missing gateway name",
        _ => "Missing service name",
    };
    reading.name(missing)?;
    reading.filter(&INSTANCE).map_err(Error::of_read)?;
    let read = reading.read(Vec::new, |_| Answer {
        index: 1,
        value: (),
    });
    let (meta, ()) = read.await.map_err(Error::of_read)?;
    Ok(reading.respond(meta, b"[]".to_vec()))
}

/// `GET /v1/catalog/node/NAME`: a node and its services by their ids, or `null`.
pub(super) async fn node(call: &Call<'_>) -> Result<Response<Body>, Error> {
    let mut out = Vec::with_capacity(1024);
    node_and_services(call, |show, found| {
        let Some((node, mut services)) = found else {
            return b"null".to_vec();
        };
        out.extend_from_slice(b"{\"Node\":");
        json::write(&mut out, &show.node(node));
        out.extend_from_slice(b",\"Services\":{");
        services.sort_by(|a, b| a.spec.id.cmp(&b.spec.id));
        for (i, service) in services.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            json::write_str(&mut out, &service.spec.id);
            out.push(b':');
            json::write(&mut out, &show.service(service));
        }
        out.extend_from_slice(b"}}");
        std::mem::take(&mut out)
    })
    .await
}

/// `GET /v1/catalog/node-services/NAME`: a node and its services as a list.
pub(super) async fn node_services(call: &Call<'_>) -> Result<Response<Body>, Error> {
    node_and_services(call, |show, found| {
        let Some((node, services)) = found else {
            return b"{\"Node\":null,\"Services\":null}".to_vec();
        };
        let mut out = b"{\"Node\":".to_vec();
        json::write(&mut out, &show.node(node));
        out.extend_from_slice(b",\"Services\":");
        out.append(&mut list(
            services.iter().map(|service| show.service(service)),
        ));
        out.push(b'}');
        out
    })
    .await
}

async fn node_and_services(
    call: &Call<'_>,
    write: impl FnOnce(&Show<'_>, Option<(&Node, Vec<Arc<Service>>)>) -> Vec<u8>,
) -> Result<Response<Body>, Error> {
    let reading = Reading::parse(call)?;
    let name = reading.name("Missing node name")?;
    let filter = reading.filter(&SERVICE).map_err(Error::of_read)?;
    let read = reading.read(|| vec![Topic::node(name)], |state| state.catalog_node(name));
    let (meta, found) = read.await.map_err(Error::of_read)?;
    let show = Show {
        owners: reading.asks_for_owners(),
        ..Show::usual(&call.edge.config().datacenter)
    };
    let json = match &found {
        None => write(&show, None),
        Some(found) => {
            let mut services = found.services.clone();
            if let Some(filter) = filter {
                services.retain(|service| filter.matches(service));
            }
            write(&show, Some((&found.node, services)))
        }
    };
    Ok(reading.respond(meta, json))
}

/// Ours, as rows of a filter have it.
pub(super) fn datacenter(call: &Call<'_>) -> Arc<str> {
    call.edge.config().datacenter.as_str().into()
}

/// A node as a filter sees it.
pub(super) fn placed(node: &Arc<Node>, datacenter: &Arc<str>) -> NodeRow {
    NodeRow {
        node: Arc::clone(node),
        datacenter: Arc::clone(datacenter),
    }
}

fn instance(node: &Arc<Node>, service: &Arc<Service>, datacenter: &Arc<str>) -> InstanceRow {
    InstanceRow {
        node: placed(node, datacenter),
        service: Arc::clone(service),
    }
}
