//! Paths: tables of endpoints, and paths as Go's servers understand them.
//!
//! Static tables, so that a test can walk them and nothing is served that does not stand in one. Keys and ids stand in
//! paths raw, with `/`, `:` and whatever else: whatever takes one takes the whole rest of the path.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;

use hyper::Response;
use hyper::body::Incoming;
use rollcall_api::query::{Plus, decode};

use crate::{Body, Call, Error};

/// An answer that is being made.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Result<Response<Body>, Error>> + Send + 'a>>;

/// Makes an answer. Boxed: a parked query pays for its own endpoint only, not for the largest.
pub type Handler<A> = for<'a> fn(&'a A, &'a Call<'a>, &'a mut Incoming) -> Answering<'a>;

/// What stands behind the edge: something that knows some paths.
pub trait Api: Send + Sync + 'static {
    /// Looks a decoded path up.
    fn find<'p>(&self, path: &'p str) -> Found<'p>;
    /// Patterns of its endpoints by number, for metrics. What is not listed is counted together.
    fn patterns(&self) -> Vec<&'static str> {
        Vec::new()
    }
    /// Answers a request. `endpoint` is what `find` said.
    fn answer<'a>(
        &'a self,
        endpoint: usize,
        call: &'a Call<'a>,
        body: &'a mut Incoming,
    ) -> Answering<'a>;
}

/// One line of a table.
#[derive(Debug)]
pub struct Route<A: 'static> {
    /// A path, or with a `/` at its end everything below it.
    pub pattern: &'static str,
    /// Methods as the `Allow` header lists them. Empty: all.
    pub allow: &'static str,
    /// See [`Route::errors_as_read`].
    errors_as_read: bool,
    handler: Handler<A>,
}

impl<A> Route<A> {
    /// Consul answers this one with a read's headers even when it asks for another datacenter.
    #[must_use]
    pub const fn errors_as_read(mut self) -> Self {
        self.errors_as_read = true;
        self
    }
}

/// A line of a table.
pub const fn route<A>(pattern: &'static str, allow: &'static str, handler: Handler<A>) -> Route<A> {
    Route {
        pattern,
        allow,
        errors_as_read: false,
        handler,
    }
}

/// An API as a table, the busiest route first.
#[derive(Debug)]
pub struct Table<A: 'static> {
    api: A,
    routes: &'static [Route<A>],
}

impl<A> Table<A> {
    /// `api` answers what `routes` say.
    pub fn new(api: A, routes: &'static [Route<A>]) -> Self {
        Table { api, routes }
    }
}

impl<A: Send + Sync + 'static> Api for Table<A> {
    fn find<'p>(&self, path: &'p str) -> Found<'p> {
        find(self.routes, path)
    }

    fn patterns(&self) -> Vec<&'static str> {
        self.routes.iter().map(|route| route.pattern).collect()
    }

    fn answer<'a>(
        &'a self,
        endpoint: usize,
        call: &'a Call<'a>,
        body: &'a mut Incoming,
    ) -> Answering<'a> {
        (self.routes[endpoint].handler)(&self.api, call, body)
    }
}

impl<A> Route<A> {
    /// The rest of a path that this route serves.
    fn rest<'p>(&self, path: &'p str) -> Option<&'p str> {
        let rest = path.strip_prefix(self.pattern)?;
        (rest.is_empty() || self.pattern.ends_with('/')).then_some(rest)
    }
}

/// A route that serves a path.
#[derive(Debug, Clone, Copy)]
pub struct Matched<'p> {
    /// Its place in its table.
    pub endpoint: usize,
    /// Its pattern: a name for the endpoint, of which there are few.
    pub pattern: &'static str,
    /// Methods as the `Allow` header lists them. Empty: all.
    pub allow: &'static str,
    /// What stands behind its pattern, decoded.
    pub rest: &'p str,
    /// Whether a request for another datacenter is answered with a read's headers.
    pub errors_as_read: bool,
}

impl Matched<'_> {
    pub(crate) fn allows(&self, method: &str) -> bool {
        self.allow.is_empty() || self.allow.split(',').any(|allowed| allowed == method)
    }
}

/// Where a path leads.
#[derive(Debug)]
pub enum Found<'p> {
    /// To an endpoint.
    Endpoint(Matched<'p>),
    /// To another spelling of the path.
    Redirect(Cow<'p, str>),
    /// To nothing.
    Nothing,
}

/// Decodes the path of a request. `None`: a damaged escape, bytes that are not UTF-8, or control characters.
pub(crate) fn decode_path(raw: &str) -> Option<Cow<'_, str>> {
    decode(raw, Plus::IsItself).filter(|path| !path.chars().any(char::is_control))
}

/// Looks a decoded path up in a table.
fn find<'p, A>(routes: &[Route<A>], path: &'p str) -> Found<'p> {
    if let Cow::Owned(clean) = clean(path) {
        return Found::Redirect(Cow::Owned(clean));
    }
    for (endpoint, route) in routes.iter().enumerate() {
        if let Some(rest) = route.rest(path) {
            return Found::Endpoint(Matched {
                endpoint,
                pattern: route.pattern,
                allow: route.allow,
                rest,
                errors_as_read: route.errors_as_read,
            });
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

    fn nothing<'a>((): &'a (), _: &'a Call<'a>, _: &'a mut Incoming) -> Answering<'a> {
        Box::pin(async { Ok(crate::answer::not_found()) })
    }

    static ROUTES: [Route<()>; 3] = [
        route("/v1/kv/", "OPTIONS,GET", nothing),
        route("/v1/txn", "OPTIONS,PUT", nothing),
        route("/v1/acl/", "", nothing),
    ];

    fn redirect(path: &str) -> Option<String> {
        match find(&ROUTES, path) {
            Found::Redirect(to) => Some(to.into_owned()),
            Found::Endpoint(..) | Found::Nothing => None,
        }
    }

    #[test]
    fn a_route_is_found_with_what_stands_behind_it() {
        for (path, endpoint, rest) in [
            ("/v1/kv/a/b:c d", 0, "a/b:c d"),
            ("/v1/kv/", 0, ""),
            ("/v1/txn", 1, ""),
        ] {
            let Found::Endpoint(found) = find(&ROUTES, path) else {
                panic!("{path} must lead to an endpoint");
            };
            assert_eq!((found.endpoint, found.rest), (endpoint, rest), "{path}");
        }
    }

    #[test]
    fn methods_are_those_of_the_route_or_all() {
        let allows = |path, method| match find(&ROUTES, path) {
            Found::Endpoint(found) => found.allows(method),
            Found::Redirect(_) | Found::Nothing => panic!("{path} must lead to an endpoint"),
        };
        assert!(allows("/v1/txn", "PUT") && !allows("/v1/txn", "GET"));
        assert!(!allows("/v1/txn", "P") && allows("/v1/acl/x", "PATCH"));
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
            assert!(matches!(find(&ROUTES, path), Found::Nothing), "{path}");
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
