//! Paths: the table of endpoints, and paths as Go's servers understand them.
//!
//! One static table, so that a test can walk it and nothing is served that does not stand in it. Keys and ids stand in
//! paths raw, with `/`, `:` and whatever else: whatever takes one takes the whole rest of the path.

use std::borrow::Cow;

use rollcall_api::query::{Plus, decode};

/// What answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    Kv,
    Txn,
    SessionCreate,
    SessionDestroy,
    SessionInfo,
    SessionNode,
    SessionList,
    SessionRenew,
    StatusLeader,
    StatusPeers,
    RaftConfiguration,
    RaftPeer,
    RaftTransferLeader,
    Snapshot,
    AclDisabled,
    Live,
    Ready,
}

/// One line of the table.
#[derive(Debug)]
pub(super) struct Route {
    /// A path, or with a `/` at its end everything below it.
    pub(super) pattern: &'static str,
    /// Methods as the `Allow` header lists them. Empty: all.
    pub(super) allow: &'static str,
    pub(super) endpoint: Endpoint,
}

const fn route(pattern: &'static str, allow: &'static str, endpoint: Endpoint) -> Route {
    Route {
        pattern,
        allow,
        endpoint,
    }
}

/// Everything that is served, the busiest first.
pub(super) static ROUTES: [Route; 17] = [
    route("/v1/kv/", "OPTIONS,GET,PUT,DELETE", Endpoint::Kv),
    route("/v1/txn", "OPTIONS,PUT", Endpoint::Txn),
    route("/v1/session/renew/", "OPTIONS,PUT", Endpoint::SessionRenew),
    route("/v1/session/create", "OPTIONS,PUT", Endpoint::SessionCreate),
    route(
        "/v1/session/destroy/",
        "OPTIONS,PUT",
        Endpoint::SessionDestroy,
    ),
    route("/v1/session/info/", "OPTIONS,GET", Endpoint::SessionInfo),
    route("/v1/session/node/", "OPTIONS,GET", Endpoint::SessionNode),
    route("/v1/session/list", "OPTIONS,GET", Endpoint::SessionList),
    route("/v1/status/leader", "OPTIONS,GET", Endpoint::StatusLeader),
    route("/v1/status/peers", "OPTIONS,GET", Endpoint::StatusPeers),
    route(
        "/v1/operator/raft/configuration",
        "OPTIONS,GET",
        Endpoint::RaftConfiguration,
    ),
    route(
        "/v1/operator/raft/peer",
        "OPTIONS,DELETE",
        Endpoint::RaftPeer,
    ),
    route(
        "/v1/operator/raft/transfer-leader",
        "OPTIONS,POST,PUT",
        Endpoint::RaftTransferLeader,
    ),
    route("/v1/snapshot", "OPTIONS,GET,PUT", Endpoint::Snapshot),
    route("/v1/acl/", "", Endpoint::AclDisabled),
    route("/livez", "OPTIONS,GET,HEAD", Endpoint::Live),
    route("/readyz", "OPTIONS,GET,HEAD", Endpoint::Ready),
];

impl Route {
    pub(super) fn allows(&self, method: &str) -> bool {
        self.allow.is_empty() || self.allow.split(',').any(|allowed| allowed == method)
    }

    /// The rest of a path that this route serves.
    fn rest<'p>(&self, path: &'p str) -> Option<&'p str> {
        let rest = path.strip_prefix(self.pattern)?;
        (rest.is_empty() || self.pattern.ends_with('/')).then_some(rest)
    }
}

/// Where a path leads.
#[derive(Debug)]
pub(super) enum Found<'p> {
    /// To an endpoint, with what stands behind its pattern.
    Endpoint(&'static Route, &'p str),
    /// To another spelling of the path.
    Redirect(Cow<'p, str>),
    /// To nothing.
    Nothing,
}

/// Decodes the path of a request. `None`: a damaged escape, bytes that are not UTF-8, or control characters.
pub(super) fn decode_path(raw: &str) -> Option<Cow<'_, str>> {
    decode(raw, Plus::IsItself).filter(|path| !path.chars().any(char::is_control))
}

/// Looks a decoded path up.
pub(super) fn find(path: &str) -> Found<'_> {
    if let Cow::Owned(clean) = clean(path) {
        return Found::Redirect(Cow::Owned(clean));
    }
    for route in &ROUTES {
        if let Some(rest) = route.rest(path) {
            return Found::Endpoint(route, rest);
        }
        // `/v1/kv` means `/v1/kv/`.
        if route.pattern.strip_suffix('/') == Some(path) {
            return Found::Redirect(Cow::Borrowed(route.pattern));
        }
    }
    Found::Nothing
}

/// The path without empty, `.` and `..` segments, as Go's multiplexer has it; borrowed when there were none.
fn clean(path: &str) -> Cow<'_, str> {
    let dirty = path.contains("//") || path.contains("/.") || !path.starts_with('/');
    let inner = |segment: &&str| !matches!(*segment, "" | ".");
    if !dirty || (path.starts_with('/') && segments_are_clean(path)) {
        return Cow::Borrowed(path);
    }
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/').filter(inner) {
        if segment == ".." {
            kept.pop();
        } else {
            kept.push(segment);
        }
    }
    let directory = path.ends_with('/') && !kept.is_empty();
    let end = if directory { "/" } else { "" };
    Cow::Owned(format!("/{}{end}", kept.join("/")))
}

/// A key may begin with a dot: only whole segments count.
fn segments_are_clean(path: &str) -> bool {
    let mut segments = path[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        if matches!(segment, "." | "..") || (segment.is_empty() && !last) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirect(path: &str) -> Option<String> {
        match find(path) {
            Found::Redirect(to) => Some(to.into_owned()),
            Found::Endpoint(..) | Found::Nothing => None,
        }
    }

    #[test]
    fn every_route_is_found_under_its_own_path_and_lists_its_methods() {
        for route in &ROUTES {
            let path = match route.pattern.strip_suffix('/') {
                Some(_) => format!("{}a/b:c d", route.pattern),
                None => route.pattern.to_owned(),
            };
            let Found::Endpoint(found, rest) = find(&path) else {
                panic!("{path} must lead to an endpoint");
            };
            assert_eq!(found.endpoint, route.endpoint, "{path}");
            assert!(rest.is_empty() || rest == "a/b:c d", "{rest}");
            assert!(route.allows("OPTIONS") && !route.allow.contains(' '));
            assert!(route.allow.is_empty() || !route.allows("PATCH"));
        }
    }

    #[test]
    fn paths_are_cleaned_as_go_cleans_them() {
        assert_eq!(redirect("/v1/kv//lead").as_deref(), Some("/v1/kv/lead"));
        assert_eq!(redirect("/v1/kv/a/../b").as_deref(), Some("/v1/kv/b"));
        assert_eq!(redirect("/v1/kv/a/./b/").as_deref(), Some("/v1/kv/a/b/"));
        assert_eq!(redirect("/v1/kv").as_deref(), Some("/v1/kv/"));
        assert_eq!(redirect("/v1/kv/.hidden/..x"), None);
        assert_eq!(redirect("/v1/kv/dir/"), None);
        assert_eq!(redirect("/../..").as_deref(), Some("/"));
    }

    #[test]
    fn nothing_else_is_found() {
        for path in [
            "/",
            "/v1",
            "/v1/",
            "/v1/txns",
            "/v1/session",
            "/v2/kv/a",
            "/v1/ui",
        ] {
            assert!(matches!(find(path), Found::Nothing), "{path}");
        }
    }

    #[test]
    fn paths_are_decoded_once() {
        assert_eq!(
            decode_path("/v1/kv/sp%20ace%2Fslash").as_deref(),
            Some("/v1/kv/sp ace/slash")
        );
        assert_eq!(
            decode_path("/v1/kv/a%252F+").as_deref(),
            Some("/v1/kv/a%2F+")
        );
        assert_eq!(decode_path("/v1/kv/%zz"), None);
        assert_eq!(decode_path("/v1/kv/%00"), None);
        assert_eq!(decode_path("/v1/kv/%ff"), None);
    }
}
