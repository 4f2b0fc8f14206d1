//! The part of a URL that a check needs, and where a redirect leads.
//!
//! Not a general URL library: no user can see more of it than the request line and the words of its errors, which are Go's.

use hyper::Uri;

use super::dial::Target;

/// An `http` or `https` URL, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    /// Over TLS.
    pub(super) https: bool,
    /// Where to connect to.
    pub(super) target: Target,
    /// As it stands in `Host`: with the port only where it was written.
    pub(super) authority: String,
    /// Path and query, never empty.
    pub(super) path: String,
    /// `user:password`, where it was written.
    pub(super) user: Option<String>,
}

impl Url {
    /// Takes a URL apart.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let https = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            other => return Err(format!("unsupported protocol scheme \"{other}\"")),
        };
        let uri: Uri = format!("{}://{}", scheme.to_ascii_lowercase(), escape(rest))
            .parse()
            .map_err(|error| format!("invalid URL: {error}"))?;
        let authority = uri
            .authority()
            .ok_or("http: no Host in request URL")?
            .as_str();
        let (user, authority) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(unescape(user)), host),
            None => (None, authority),
        };
        let host = uri.host().unwrap_or_default();
        if host.is_empty() {
            return Err("http: no Host in request URL".to_owned());
        }
        let port = match authority.strip_prefix(host).unwrap_or_default() {
            "" | ":" if https => 443,
            "" | ":" => 80,
            given => given[1..]
                .parse()
                .map_err(|_| format!("invalid port \"{given}\" after host"))?,
        };
        let path = match uri.path_and_query().map_or("", |path| path.as_str()) {
            path if path.starts_with('/') => path.to_owned(),
            query => format!("/{query}"),
        };
        Ok(Url {
            https,
            target: Target {
                host: host
                    .trim_start_matches('[')
                    .trim_end_matches(']')
                    .to_owned(),
                port,
            },
            authority: authority.to_owned(),
            path,
            user,
        })
    }

    /// Where a `Location` leads from here (RFC 3986, section 5.2).
    pub(super) fn join(&self, location: &str) -> Result<Self, String> {
        let scheme = if self.https { "https" } else { "http" };
        let origin = format!("{scheme}://{}", self.authority);
        let location = location.split('#').next().unwrap_or_default();
        let path = self.path.split('?').next().unwrap_or_default();
        let has_scheme = location
            .split_once("://")
            .is_some_and(|(scheme, _)| !scheme.contains(['/', '?']));
        if has_scheme {
            Url::parse(location)
        } else if location.starts_with("//") {
            Url::parse(&format!("{scheme}:{location}"))
        } else if location.starts_with('/') {
            Url::parse(&format!("{origin}{}", without_dots(location)))
        } else if location.is_empty() || location.starts_with('?') {
            Url::parse(&format!("{origin}{path}{location}"))
        } else {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let joined = without_dots(&format!("{folder}/{location}"));
            Url::parse(&format!("{origin}{joined}"))
        }
    }
}

/// Bytes that may not stand in a request line become `%XX`.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0..=0x20 | 0x7f.. => {
                escaped.push_str(&format!("%{byte:02X}"));
            }
            _ => escaped.push(char::from(byte)),
        }
    }
    escaped
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = tail
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Resolves `.` and `..` in the path of an absolute path and query.
fn without_dots(path_and_query: &str) -> String {
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    };
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    let mut joined = format!("/{}", kept.join("/"));
    if let Some(query) = query {
        joined.push('?');
        joined.push_str(query);
    }
    joined
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_table_of_urls() {
        for (text, https, host, port, authority, path) in [
            ("http://x", false, "x", 80, "x", "/"),
            ("HTTPS://x/h", true, "x", 443, "x", "/h"),
            (
                "http://x:8080/a?b=c#d",
                false,
                "x",
                8080,
                "x:8080",
                "/a?b=c",
            ),
            ("http://[::1]:80/", false, "::1", 80, "[::1]:80", "/"),
            ("http://u:p@x:1/a b", false, "x", 1, "x:1", "/a%20b"),
            ("http://x?ready", false, "x", 80, "x", "/?ready"),
            ("http://x/ü", false, "x", 80, "x", "/%C3%BC"),
        ] {
            let url = Url::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let target = Target {
                host: host.to_owned(),
                port,
            };
            assert_eq!(
                (
                    url.https,
                    url.target,
                    url.authority.as_str(),
                    url.path.as_str()
                ),
                (https, target, authority, path),
                "{text}"
            );
        }
        let url = Url::parse("http://u%40:p@x").unwrap();
        assert_eq!(url.user.as_deref(), Some("u@:p"));
        for (text, words) in [
            ("ftp://x", "unsupported protocol scheme \"ftp\""),
            ("localhost:80/health", "unsupported protocol scheme \"\""),
            ("http://", "invalid URL"),
            ("http://:80/", "no Host"),
            ("http://x:99999999", "invalid port \":99999999\" after host"),
        ] {
            let error = Url::parse(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn the_table_of_redirects() {
        let from = Url::parse("http://x:81/a/b?c").unwrap();
        for (location, authority, path) in [
            ("https://y/z", "y", "/z"),
            ("//y/z", "y", "/z"),
            ("/z?u=http://y", "x:81", "/z?u=http://y"),
            ("z", "x:81", "/a/z"),
            ("z/", "x:81", "/a/z/"),
            ("../z", "x:81", "/z"),
            ("../../../z", "x:81", "/z"),
            ("./", "x:81", "/a/"),
            ("..", "x:81", "/"),
            ("?d", "x:81", "/a/b?d"),
            ("#e", "x:81", "/a/b"),
        ] {
            let url = from.join(location).unwrap();
            assert_eq!(
                (url.authority.as_str(), url.path.as_str()),
                (authority, path),
                "{location}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text: String, location: String) {
            let _ = Url::parse(&text);
            let _ = Url::parse(&format!("http://{text}"));
            let _ = Url::parse("http://x/y").unwrap().join(&location);
        }
    }
}
