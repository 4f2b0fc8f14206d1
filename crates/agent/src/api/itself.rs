//! The agent itself: what it is, whom it knows, its log.

use std::net::IpAddr;

use hyper::{Response, StatusCode};
use rollcall_api::agent::{Member, Version};
use rollcall_edge::{Body, Call, Error, answer};
use rollcall_rt as rt;
use serde_json::{Map, Value};

use super::{AgentApi, done, enable};
use crate::monitor;
use crate::surroundings::{About, NotDone};

/// The version of the API we speak, as clients ask for it.
const API_VERSION: &str = "1.20.1";
/// Our own build, which stands beside it.
const BUILD: &str = env!("CARGO_PKG_VERSION");
/// Consul's, where a build does not say: builds of ours are the same whenever they were made.
const BUILD_DATE: &str = "1970-01-01T00:00:01Z";

impl From<NotDone> for Error {
    fn from(error: NotDone) -> Self {
        Error::internal(error.0)
    }
}

/// `GET self`.
pub(super) async fn itself(api: &AgentApi, call: &Call<'_>) -> Result<Response<Body>, Error> {
    let config = api.agent.config();
    let about = api.surroundings.about();
    let id = config.node_id.to_string();
    let members = api.surroundings.members();
    let own = members.iter().find(|member| member.name == config.node);
    let meta: Map<String, Value> = (about.node_meta.iter())
        .map(|(key, value)| (key.clone(), value.clone().into()))
        .collect();
    let answer = serde_json::json!({
        "Config": {
            "Datacenter": config.datacenter,
            "PrimaryDatacenter": config.datacenter,
            "NodeName": config.node,
            "NodeID": id,
            "Revision": "",
            "Server": about.server,
            "Version": API_VERSION,
            "BuildDate": BUILD_DATE,
            // Not Consul's: Patroni reads it here.
            "SessionTTLMin": about.session_ttl_min_ns,
        },
        "DebugConfig": debug_config(api, &about),
        "Coord": null,
        "Member": own,
        "Stats": stats(api),
        "Meta": meta,
    });
    Ok(call.json(&answer))
}

/// The settings that clients look at, by Consul's names.
fn debug_config(api: &AgentApi, about: &About) -> Value {
    let config = api.agent.config();
    let interval = rollcall_api::GoDuration::from_std(config.check_update_interval);
    let mut debug = serde_json::json!({
        "ACLsEnabled": false,
        "AdvertiseAddrLAN": about.advertise.to_string(),
        "AdvertiseAddrWAN": about.advertise.to_string(),
        "CheckOutputMaxSize": crate::definition::OUTPUT_BYTES_MAX,
        "CheckUpdateInterval": interval.to_string(),
        "ConnectEnabled": false,
        "DataDir": about.data_dir,
        "Datacenter": config.datacenter,
        "EnableRemoteScriptChecks": api.remote_scripts,
        "GRPCPort": -1,
        "GRPCTLSPort": -1,
        "HTTPAddrs": about.http.iter().map(|at| format!("tcp://{at}")).collect::<Vec<_>>(),
        "HTTPSPort": -1,
        "Logging": { "LogLevel": about.log_level },
        "NodeID": config.node_id.to_string(),
        "NodeName": config.node,
        "PeeringEnabled": false,
        "PrimaryDatacenter": config.datacenter,
        "ServerMode": about.server,
        "SessionTTLMin": rollcall_api::GoDuration(about.session_ttl_min_ns).to_string(),
        "UIConfig": { "Enabled": false },
        "Version": API_VERSION,
        "VersionMetadata": "",
        "VersionPrerelease": "",
    });
    for (name, port) in &about.ports {
        let name = match *name {
            "http" => "HTTPPort",
            "dns" => "DNSPort",
            "server" => "ServerPort",
            "serf_lan" => "SerfPortLAN",
            "serf_wan" => "SerfPortWAN",
            _ => continue,
        };
        debug[name] = (*port).into();
        if name == "DNSPort" {
            debug["DNSAddrs"] = Value::Array(Vec::new());
        }
    }
    debug
}

fn stats(api: &AgentApi) -> Value {
    let mut stats = api.surroundings.stats();
    let counts = api.agent.with_local(|local| {
        let ttl = local
            .checks()
            .values()
            .filter(|check| check.definition.type_name() == "ttl");
        let run = local
            .checks()
            .values()
            .filter(|check| check.definition.every().is_some());
        serde_json::json!({
            "check_monitors": run.count().to_string(),
            "check_ttls": ttl.count().to_string(),
            "checks": local.checks().len().to_string(),
            "services": local.services().len().to_string(),
        })
    });
    stats["agent"] = counts;
    stats["build"] = serde_json::json!({
        "prerelease": "",
        "revision": "",
        "version": API_VERSION,
        "version_metadata": "",
        "rollcall": BUILD,
    });
    stats["runtime"] = serde_json::json!({
        "arch": std::env::consts::ARCH,
        "os": std::env::consts::OS,
        "cpu_count": std::thread::available_parallelism().map_or(1, usize::from).to_string(),
    });
    stats
}

/// `GET members`: until gossip exists, the servers and this node. With `?wan` the servers, under their names there.
pub(super) async fn members(api: &AgentApi, call: &Call<'_>) -> Result<Response<Body>, Error> {
    let mut members = api.surroundings.members();
    if call.query.get("wan").is_some_and(|value| !value.is_empty()) {
        members.retain(|member| member.tags.get("role").is_some_and(|role| role == "consul"));
        for member in &mut members {
            member.name = format!("{}.{}", member.name, api.agent.config().datacenter);
            let port = member.tags.remove("wan_join_port");
            member.port = port
                .and_then(|port| port.parse().ok())
                .unwrap_or(member.port);
        }
    }
    Ok(call.json(&members))
}

/// `GET version`.
pub(super) async fn version(_: &AgentApi, call: &Call<'_>) -> Result<Response<Body>, Error> {
    Ok(call.json(&Version {
        sha: "",
        build_date: BUILD_DATE,
        human_version: API_VERSION,
        fips: "",
    }))
}

/// `GET metrics`.
pub(super) async fn metrics(api: &AgentApi, call: &Call<'_>) -> Result<Response<Body>, Error> {
    let prometheus = call
        .query
        .get("format")
        .is_some_and(|format| format == "prometheus");
    match api.surroundings.metrics(prometheus) {
        Some((text, kind)) => {
            let kind = hyper::header::HeaderValue::from_static(kind);
            Ok(answer::content(
                StatusCode::OK,
                kind,
                Body::Whole(text.into()),
            ))
        }
        None => Err(Error::NotFound(
            "metrics are not collected by this process".to_owned(),
        )),
    }
}

/// `GET monitor?loglevel=`: the log from now on, until the client or the agent goes.
pub(super) async fn monitor(api: &AgentApi, call: &Call<'_>) -> Result<Response<Body>, Error> {
    let asked = call.query.get("loglevel").filter(|level| !level.is_empty());
    let asked = asked.unwrap_or("INFO".into());
    let level = monitor::level_from(&asked)
        .ok_or_else(|| Error::bad_request(format!("Unknown log level: {asked}")))?;
    let (listening, lines) = api.monitor.listen(level).ok_or(Error::TooMany {
        what: "readers of the log",
        limit: monitor::LISTENERS_MAX,
    })?;
    let shutdown = call.edge.shutdown().clone();
    rt::spawn(async move {
        tokio::select! {
            () = listening.gone() => {}
            () = shutdown.cancelled() => {}
        }
    });
    let mut answer = answer::text(StatusCode::OK, "");
    *answer.body_mut() = Body::Stream(lines);
    Ok(answer)
}

/// `PUT maintenance?enable=&reason=`.
pub(super) async fn maintenance(api: &AgentApi, call: &Call<'_>) -> Result<Response<Body>, Error> {
    let reason = call.query.get("reason").unwrap_or_default();
    let reason = enable(call)?.then_some(reason.as_ref());
    api.agent.node_maintenance(reason).await?;
    Ok(done())
}

/// `PUT reload`.
pub(super) async fn reload(api: &AgentApi, _: &Call<'_>) -> Result<Response<Body>, Error> {
    api.surroundings.reload().await?;
    Ok(done())
}

/// `PUT join/ADDRESS`: whom this node knows already it has joined; others it cannot join before gossip exists.
pub(super) async fn join(api: &AgentApi, call: &Call<'_>) -> Result<Response<Body>, Error> {
    let address = call.rest;
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let known =
        |member: &Member| member.addr == address || member.addr == host || member.name == host;
    // Its own loopback is itself.
    let itself = host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    if itself || api.surroundings.members().iter().any(known) {
        return Ok(done());
    }
    Err(Error::internal(format!(
        "cannot join {address}: there is no gossip in this version; name servers in retry_join"
    )))
}

/// `PUT leave`.
pub(super) async fn leave(api: &AgentApi, _: &Call<'_>) -> Result<Response<Body>, Error> {
    api.surroundings.leave().await?;
    Ok(done())
}

/// `PUT force-leave/NAME`.
pub(super) async fn force_leave(api: &AgentApi, call: &Call<'_>) -> Result<Response<Body>, Error> {
    let name = call.rest;
    let known = api
        .surroundings
        .members()
        .iter()
        .any(|member| member.name == name);
    Err(Error::internal(if known {
        format!("agent: cannot force {name:?} to leave: there is no gossip in this version")
    } else {
        format!("agent: No node found with name '{name}'")
    }))
}

/// `PUT token/KIND`: there are no tokens yet.
pub(super) async fn token(_: &AgentApi, _: &Call<'_>) -> Result<Response<Body>, Error> {
    Ok(answer::text(
        StatusCode::UNAUTHORIZED,
        "ACL support disabled",
    ))
}
