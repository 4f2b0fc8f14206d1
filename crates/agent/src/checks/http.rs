//! HTTP and HTTPS checks: passing with 2xx, warning with 429, else critical. Words and rules are Consul's.
//!
//! The status line decides; a body that ends late or not at all changes only the output. Redirects are followed, at most ten and
//! without credentials for another host, unless the check forbids them.

use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderName, HeaderValue,
    LOCATION, TRANSFER_ENCODING, USER_AGENT,
};
use hyper::{HeaderMap, Method, Request, StatusCode, Uri};
use rollcall_api::GoDuration;
use rollcall_rt as rt;

use super::dial::Dialer;
use super::exchange::{self, Answer, BodyEnd, left};
use super::output::{Outcome, head};
use super::tls::Protocols;
use super::url::Url;
use crate::definition::{Http, Tls};

/// As many as Go follows.
const REDIRECTS_MAX: usize = 10;
/// The same as Consul's: filters and logs know it.
const AGENT_NAME: HeaderValue = HeaderValue::from_static("Consul Health Check");
/// The same as Consul's.
const ACCEPTED: HeaderValue = HeaderValue::from_static("text/plain, text/*, */*");

/// An HTTP check, taken apart once.
#[derive(Debug)]
pub(super) struct HttpProbe {
    method: Method,
    /// As it was given: it stands in the output.
    given: String,
    url: Url,
    headers: HeaderMap,
    /// In the place of the URL's own.
    host: Option<String>,
    body: Bytes,
    redirects: usize,
    tls: Tls,
    limit: usize,
}

impl HttpProbe {
    /// From its definition, keeping `limit` bytes of a body. The error is what a run would say.
    pub(super) fn new(http: &Http, limit: usize) -> Result<Self, String> {
        let method = match http.method.as_str() {
            "" => "GET",
            given => given,
        };
        let fails = |error: String| format!("{} \"{}\": {error}", verb(method), http.url);
        let mut url = Url::parse(&http.url).map_err(fails)?;
        let mut headers = HeaderMap::new();
        let mut host = None;
        for (name, values) in &http.headers {
            let parsed: HeaderName = name
                .parse()
                .map_err(|_| fails(format!("net/http: invalid header field name {name:?}")))?;
            for value in values {
                let value = HeaderValue::from_str(value).map_err(|_| {
                    fails(format!("net/http: invalid header field value for {name:?}"))
                })?;
                match &parsed {
                    &HOST => host = value.to_str().ok().map(str::to_owned),
                    // The body's own length is sent.
                    &CONNECTION | &CONTENT_LENGTH | &TRANSFER_ENCODING => {}
                    name => {
                        headers.append(name, value);
                    }
                }
            }
        }
        headers.entry(USER_AGENT).or_insert(AGENT_NAME);
        headers.entry(ACCEPT).or_insert(ACCEPTED);
        if let Some(user) = url.user.take() {
            let encoded = base64::engine::general_purpose::STANDARD.encode(user);
            let value = HeaderValue::from_str(&format!("Basic {encoded}"))
                .expect("base64 must make a header's value");
            headers.entry(AUTHORIZATION).or_insert(value);
        }
        Ok(HttpProbe {
            method: Method::from_bytes(method.as_bytes())
                .map_err(|_| format!("net/http: invalid method {method:?}"))?,
            given: http.url.clone(),
            url,
            headers,
            host,
            body: Bytes::copy_from_slice(http.body.as_bytes()),
            redirects: if http.disable_redirects {
                0
            } else {
                REDIRECTS_MAX
            },
            tls: http.tls.clone(),
            limit,
        })
    }

    /// Runs it once.
    pub(super) async fn run(&self, dialer: &Dialer, timeout: Duration) -> Outcome {
        let end = rt::Instant::now() + timeout;
        match self.ask(dialer, end).await {
            Ok(answer) => self.judge(&answer, timeout),
            Err(error) => Outcome::critical(format!(
                "{} \"{}\": {error}",
                verb(self.method.as_str()),
                self.given
            )),
        }
    }

    async fn ask(&self, dialer: &Dialer, end: rt::Instant) -> Result<Answer, String> {
        let mut asked = Asked {
            method: self.method.clone(),
            url: self.url.clone(),
            headers: self.headers.clone(),
            host: self.host.clone(),
            body: self.body.clone(),
        };
        for followed in 0.. {
            let answer = self.once(&asked, dialer, end).await?;
            let location = answer.headers.get(LOCATION);
            let (Some(location), true) = (location, is_redirect(answer.status)) else {
                return Ok(answer);
            };
            if self.redirects == 0 {
                return Ok(answer);
            }
            if followed == self.redirects {
                return Err(format!("stopped after {REDIRECTS_MAX} redirects"));
            }
            let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
            asked = asked.redirected(answer.status, &location)?;
        }
        unreachable!("the loop ends by itself")
    }

    async fn once(
        &self,
        asked: &Asked,
        dialer: &Dialer,
        end: rt::Instant,
    ) -> Result<Answer, String> {
        let url = &asked.url;
        let tls = url.https.then_some(&self.tls);
        let opening = dialer.open(&url.target, tls, Protocols::Http, left(end));
        let connection = rt::timeout(left(end), opening)
            .await
            .ok_or_else(|| exchange::ExchangeError::Silent.to_string())?
            .map_err(|error| error.to_string())?;
        // Boxed, so that a run that still waits for its connection, of which there may be thousands, is small.
        let answer = if connection.http2 {
            let request = asked.http2().map_err(|error| error.to_string())?;
            let body = asked.body.clone();
            Box::pin(exchange::http2(
                connection.wire,
                request,
                body,
                self.limit,
                end,
            ))
            .await
        } else {
            let request = asked.http1().map_err(|error| error.to_string())?;
            Box::pin(exchange::http1(connection.wire, request, self.limit, end)).await
        };
        answer.map_err(|error| error.to_string())
    }

    fn judge(&self, answer: &Answer, timeout: Duration) -> Outcome {
        let status = answer.status;
        let reason = match &answer.reason {
            Some(reason) => reason.as_str(),
            None => status.canonical_reason().unwrap_or_default(),
        };
        let mut output = format!(
            "HTTP {} {}: {} {reason} Output: {}",
            self.method,
            self.given,
            status.as_u16(),
            head(&answer.body, self.limit)
        );
        match answer.end {
            BodyEnd::Whole | BodyEnd::Cut => {}
            BodyEnd::Silent => {
                let timeout = GoDuration::from_std(timeout);
                output.push_str(&format!(" (the body did not end within {timeout})"));
            }
            BodyEnd::Broken => output.push_str(" (the body broke off)"),
        }
        if status.is_success() {
            Outcome::passing(output)
        } else if status == StatusCode::TOO_MANY_REQUESTS {
            Outcome::warning(output)
        } else {
            Outcome::critical(output)
        }
    }
}

/// A request, as it changes from redirect to redirect.
struct Asked {
    method: Method,
    url: Url,
    headers: HeaderMap,
    host: Option<String>,
    body: Bytes,
}

impl Asked {
    fn redirected(mut self, status: StatusCode, location: &str) -> Result<Self, String> {
        let url = self.url.join(location)?;
        let keeps = matches!(status.as_u16(), 307 | 308);
        if !keeps {
            if self.method != Method::HEAD {
                self.method = Method::GET;
            }
            self.body = Bytes::new();
        }
        if url.target.host != self.url.target.host {
            self.headers.remove(AUTHORIZATION);
            self.headers.remove(COOKIE);
            self.host = None;
        }
        self.url = url;
        Ok(self)
    }

    fn host(&self) -> &str {
        self.host.as_deref().unwrap_or(&self.url.authority)
    }

    fn http1(&self) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let mut request = Request::builder()
            .method(&self.method)
            .uri(self.url.path.as_str())
            .header(HOST, self.host())
            .body(Full::new(self.body.clone()))?;
        request.headers_mut().extend(self.headers.clone());
        let close = HeaderValue::from_static("close");
        request.headers_mut().insert(CONNECTION, close);
        Ok(request)
    }

    fn http2(&self) -> Result<Request<()>, hyper::http::Error> {
        let uri = Uri::builder()
            .scheme("https")
            .authority(self.host())
            .path_and_query(self.url.path.as_str())
            .build()?;
        let mut request = Request::builder().method(&self.method).uri(uri).body(())?;
        *request.version_mut() = hyper::Version::HTTP_2;
        request.headers_mut().extend(self.headers.clone());
        Ok(request)
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// `GET` is `Get` in Go's errors.
fn verb(method: &str) -> String {
    let mut letters = method.chars();
    match letters.next() {
        Some(first) => format!("{first}{}", letters.as_str().to_lowercase()),
        None => String::new(),
    }
}
