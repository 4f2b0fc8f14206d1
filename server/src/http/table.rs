//! Every route of a server. What does not stand here (or in the agent's table) is answered 404.

use hyper::{Method, StatusCode};
use rollcall_edge::{Route, answer, route};

use super::call::Call;
use super::{
    ServerApi, catalog, catalog_write, coordinate, health, kv, operator, prepared_query, session,
    snapshot, txn, usage,
};

/// A handler out of an endpoint's function: with the request's body, without, or at once.
macro_rules! to {
    (body $endpoint:path) => {
        |api, call, body| Box::pin(async move { $endpoint(&Call { call, api }, body).await })
    };
    (now $endpoint:path) => {
        |api, call, _| Box::pin(async move { Ok($endpoint(&Call { call, api })) })
    };
    ($endpoint:path) => {
        |api, call, _| Box::pin(async move { $endpoint(&Call { call, api }).await })
    };
}

const READ: &str = "OPTIONS,GET";

/// Everything that is served, the busiest first.
pub(super) static ROUTES: [Route<ServerApi>; 40] = [
    route("/v1/kv/", "OPTIONS,GET,PUT,DELETE", to!(body kv::kv)),
    route("/v1/health/service/", READ, to!(health::service)),
    route("/v1/catalog/service/", READ, to!(catalog::service)).errors_as_read(),
    route("/v1/catalog/services", READ, to!(catalog::services)).errors_as_read(),
    route("/v1/catalog/nodes", READ, to!(catalog::nodes)).errors_as_read(),
    route("/v1/catalog/node/", READ, to!(catalog::node)).errors_as_read(),
    route(
        "/v1/catalog/node-services/",
        READ,
        to!(catalog::node_services),
    )
    .errors_as_read(),
    route("/v1/catalog/connect/", READ, to!(catalog::mesh)).errors_as_read(),
    route("/v1/catalog/gateway-services/", READ, to!(catalog::mesh)).errors_as_read(),
    route(
        "/v1/catalog/datacenters",
        READ,
        to!(now catalog::datacenters),
    ),
    route(
        "/v1/catalog/register",
        "OPTIONS,PUT",
        to!(body catalog_write::register),
    ),
    route(
        "/v1/catalog/deregister",
        "OPTIONS,PUT",
        to!(body catalog_write::deregister),
    ),
    route("/v1/health/node/", READ, to!(health::node)).errors_as_read(),
    route("/v1/health/checks/", READ, to!(health::checks)).errors_as_read(),
    route("/v1/health/state/", READ, to!(health::state)).errors_as_read(),
    route("/v1/health/connect/", READ, to!(health::mesh)),
    route("/v1/health/ingress/", READ, to!(health::mesh)),
    route(
        "/v1/query",
        "OPTIONS,GET,POST",
        to!(body prepared_query::all),
    )
    .errors_as_read(),
    route(
        "/v1/query/",
        "OPTIONS,GET,PUT,DELETE",
        to!(body prepared_query::one),
    )
    .errors_as_read(),
    route("/v1/operator/usage", READ, to!(usage::usage)),
    route("/v1/operator/keyring", READ, to!(operator::keyring)),
    route(
        "/v1/coordinate/datacenters",
        READ,
        to!(now coordinate::datacenters),
    ),
    route("/v1/coordinate/nodes", READ, to!(coordinate::nodes)),
    route("/v1/coordinate/node/", READ, to!(now coordinate::node)),
    route("/v1/txn", "OPTIONS,PUT", to!(body txn::txn)),
    route("/v1/session/renew/", "OPTIONS,PUT", to!(session::renew)),
    route(
        "/v1/session/create",
        "OPTIONS,PUT",
        to!(body session::create),
    ),
    route("/v1/session/destroy/", "OPTIONS,PUT", to!(session::destroy)),
    route("/v1/session/info/", "OPTIONS,GET", to!(session::info)),
    route("/v1/session/node/", "OPTIONS,GET", to!(session::of_node)),
    route("/v1/session/list", "OPTIONS,GET", to!(session::list)),
    route(
        "/v1/status/leader",
        "OPTIONS,GET",
        to!(now operator::leader),
    ),
    route("/v1/status/peers", "OPTIONS,GET", to!(operator::peers)),
    route(
        "/v1/operator/raft/configuration",
        "OPTIONS,GET",
        to!(operator::raft_configuration),
    ),
    route(
        "/v1/operator/raft/peer",
        "OPTIONS,DELETE",
        to!(operator::remove_peer),
    ),
    route(
        "/v1/operator/raft/transfer-leader",
        "OPTIONS,POST,PUT",
        to!(operator::transfer_leader),
    ),
    route("/v1/snapshot", "OPTIONS,GET,PUT", |api, call, body| {
        Box::pin(async move {
            let call = &Call { call, api };
            match call.head.method {
                Method::PUT => snapshot::restore(call, body).await,
                _ => snapshot::save(call).await,
            }
        })
    }),
    route("/v1/acl/", "", |_, _, _| {
        let disabled = answer::text(StatusCode::UNAUTHORIZED, "ACL support disabled");
        Box::pin(async { Ok(disabled) })
    }),
    route("/livez", "OPTIONS,GET,HEAD", |_, _, _| {
        Box::pin(async { Ok(answer::plain(StatusCode::OK, "alive\n")) })
    }),
    route("/readyz", "OPTIONS,GET,HEAD", to!(now operator::ready)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_answers_options_and_lists_its_methods() {
        for route in &ROUTES {
            let methods: Vec<&str> = route.allow.split(',').collect();
            assert!(route.allow.is_empty() || methods[0] == "OPTIONS");
            assert!(!route.allow.contains(' '), "{}", route.pattern);
        }
    }
}
