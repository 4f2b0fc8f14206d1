//! `GET /v1/operator/usage`: how much of everything there is.

use hyper::Response;
use rollcall_api::json;
use rollcall_edge::{Body, Error};
use rollcall_state::{Answer, Topic};

use super::call::Call;
use super::reading::Reading;

/// Consul's own service, which it does not count.
const OWN_SERVICE: &str = "consul";

/// `GET /v1/operator/usage`.
pub(super) async fn usage(call: &Call<'_>) -> Result<Response<Body>, Error> {
    let reading = Reading::parse(call)?;
    let read = reading.read(
        || vec![Topic::Nodes, Topic::Instances],
        |state| {
            let own = state.service_instances(OWN_SERVICE).value.len();
            let index = state
                .catalog_nodes()
                .index
                .max(state.catalog_instances().index);
            Answer {
                index,
                value: (state.counts(), own),
            }
        },
    );
    let (meta, (counts, own)) = read.await.map_err(Error::of_read)?;
    let mut out = b"{\"Usage\":{".to_vec();
    json::write_str(&mut out, &call.edge.config().datacenter);
    out.extend_from_slice(b":{\"Services\":");
    json::write_u64(&mut out, counts.services as u64);
    out.extend_from_slice(b",\"ServiceInstances\":");
    json::write_u64(&mut out, counts.instances as u64);
    out.extend_from_slice(
        b",\"ConnectServiceInstances\":{\"api-gateway\":0,\"connect-native\":0,\"connect-proxy\":0,\
          \"ingress-gateway\":0,\"mesh-gateway\":0,\"terminating-gateway\":0},\"BillableServiceInstances\":",
    );
    json::write_u64(&mut out, (counts.instances - own) as u64);
    out.extend_from_slice(b",\"Nodes\":");
    json::write_u64(&mut out, counts.nodes as u64);
    out.extend_from_slice(b"}}");
    reading.write_meta(&mut out, meta);
    out.push(b'}');
    Ok(reading.respond(meta, out))
}
