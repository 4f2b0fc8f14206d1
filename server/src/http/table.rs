//! Every route of a server. What does not stand here (or in the agent's table) is answered 404.

use hyper::{Method, StatusCode};
use rollcall_edge::{Route, answer, route};

use super::call::Call;
use super::{ServerApi, kv, operator, session, snapshot, txn};

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

/// Everything that is served, the busiest first.
pub(super) static ROUTES: [Route<ServerApi>; 17] = [
    route("/v1/kv/", "OPTIONS,GET,PUT,DELETE", to!(body kv::kv)),
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
