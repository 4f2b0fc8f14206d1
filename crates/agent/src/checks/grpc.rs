//! gRPC checks: `grpc.health.v1.Health/Check`, passing when the answer is SERVING.
//!
//! Two messages of one field each and one frame around them: written by hand over h2, which hyper brings anyway, instead of tonic with
//! prost, tower and their build script. Source: grpc/grpc `doc/health-checking.md` and `doc/PROTOCOL-HTTP2.md`. Words are grpc-go's.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use hyper::header::{CONTENT_TYPE, HeaderValue, TE, USER_AGENT};
use hyper::{HeaderMap, Request, Uri};
use rollcall_rt as rt;

use super::dial::{Dialer, Target};
use super::exchange::{self, Answer, left};
use super::output::Outcome;
use super::tls::Protocols;
use crate::definition::Tls;

/// Bytes of an answer that are read; a status needs seven.
const ANSWER_BYTES_MAX: usize = 4096;
/// Byte before a message that is not compressed.
const PLAIN: u8 = 0;
const PATH: &str = "/grpc.health.v1.Health/Check";

/// The 17 codes of gRPC by number.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// Why a service is not well.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("rpc error: code = {code} desc = {message}")]
    Rpc { code: String, message: String },
    #[error("gRPC {target} serving status: {status}")]
    Status { target: String, status: String },
}

impl Failure {
    fn rpc(code: &str, message: impl Into<String>) -> Self {
        Failure::Rpc {
            code: code.to_owned(),
            message: message.into(),
        }
    }
}

/// A gRPC check, taken apart once.
#[derive(Debug)]
pub(super) struct GrpcProbe {
    /// As it was given: it stands in the output.
    given: String,
    target: Target,
    uri: Uri,
    message: Bytes,
    tls: Option<Tls>,
}

impl GrpcProbe {
    /// From its definition: `host:port` or `host:port/service`. The error is what a run would say.
    pub(super) fn new(given: &str, tls: Option<&Tls>) -> Result<Self, String> {
        let (address, service) = given.split_once('/').unwrap_or((given, ""));
        let target = Target::parse(address)?;
        let uri = Uri::builder()
            .scheme(if tls.is_some() { "https" } else { "http" })
            .authority(address)
            .path_and_query(PATH)
            .build()
            .map_err(|error| format!("{address}: {error}"))?;
        Ok(GrpcProbe {
            given: given.to_owned(),
            target,
            uri,
            message: framed(service),
            tls: tls.cloned(),
        })
    }

    /// Runs it once.
    pub(super) async fn run(&self, dialer: &Dialer, timeout: Duration) -> Outcome {
        let end = rt::Instant::now() + timeout;
        let result = match rt::timeout(timeout, self.ask(dialer, end, timeout)).await {
            Some(result) => result,
            None => Err(Failure::rpc(
                "DeadlineExceeded",
                "context deadline exceeded",
            )),
        };
        match result {
            Ok(()) => Outcome::passing(format!("gRPC check {}: success", self.given)),
            Err(failure) => Outcome::critical(failure.to_string()),
        }
    }

    async fn ask(
        &self,
        dialer: &Dialer,
        end: rt::Instant,
        timeout: Duration,
    ) -> Result<(), Failure> {
        let opening = dialer.open(&self.target, self.tls.as_ref(), Protocols::Http2, left(end));
        let connection = opening.await.map_err(|error| {
            Failure::rpc(
                "Unavailable",
                format!("connection error: desc = \"transport: Error while dialing: {error}\""),
            )
        })?;
        let request = Request::post(self.uri.clone())
            .version(hyper::Version::HTTP_2)
            .header(CONTENT_TYPE, "application/grpc")
            .header(TE, "trailers")
            .header(USER_AGENT, "rollcall")
            .header(
                "grpc-timeout",
                format!("{}m", timeout.as_millis().min(99_999_999)),
            )
            .body(())
            .map_err(|error| Failure::rpc("Internal", error.to_string()))?;
        let exchange = exchange::http2(
            connection.wire,
            request,
            self.message.clone(),
            ANSWER_BYTES_MAX,
            end,
        );
        let answer = Box::pin(exchange).await.map_err(|error| match error {
            exchange::ExchangeError::Silent => {
                Failure::rpc("DeadlineExceeded", "context deadline exceeded")
            }
            other => Failure::rpc(
                "Unavailable",
                format!("connection error: desc = \"{other}\""),
            ),
        })?;
        self.judge(&answer)
    }

    fn judge(&self, answer: &Answer) -> Result<(), Failure> {
        let result = grpc_status(answer.trailers.as_ref()).or(grpc_status(Some(&answer.headers)));
        match result {
            Some((0, _)) => {}
            Some((code, message)) => {
                let name = usize::try_from(code).ok().and_then(|code| CODES.get(code));
                let name = name.map_or_else(|| format!("Code({code})"), |name| (*name).to_owned());
                return Err(Failure::Rpc {
                    code: name,
                    message,
                });
            }
            None => {
                let words = format!(
                    "unexpected HTTP status code received from server: {}",
                    answer.status
                );
                return Err(Failure::rpc("Unknown", words));
            }
        }
        match serving_status(&answer.body) {
            Some(1) => Ok(()),
            Some(status) => Err(Failure::Status {
                target: self.given.clone(),
                status: match status {
                    0 => "UNKNOWN".to_owned(),
                    2 => "NOT_SERVING".to_owned(),
                    3 => "SERVICE_UNKNOWN".to_owned(),
                    other => other.to_string(),
                },
            }),
            None => Err(Failure::rpc(
                "Internal",
                "the answer is no grpc.health.v1.HealthCheckResponse",
            )),
        }
    }
}

/// The code and its message, where these lines have them.
fn grpc_status(lines: Option<&HeaderMap>) -> Option<(u32, String)> {
    let lines = lines?;
    let code = lines.get("grpc-status")?.to_str().ok()?.parse().ok()?;
    let message = lines.get("grpc-message").map(HeaderValue::as_bytes);
    let message = String::from_utf8_lossy(message.unwrap_or_default());
    Some((code, message.replace("%20", " ")))
}

/// `HealthCheckRequest { string service = 1; }` in gRPC's frame.
fn framed(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        put_varint(&mut message, service.len() as u64);
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(PLAIN);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(&message);
    frame.freeze()
}

fn put_varint(to: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        to.put_u8((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    to.put_u8(value as u8);
}

fn take_varint(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = from.split_first()?;
        *from = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// `HealthCheckResponse { ServingStatus status = 1; }` out of gRPC's frame. Fields that are not known are skipped, as protobuf wants it.
fn serving_status(frame: &[u8]) -> Option<u64> {
    let (head, message) = frame.split_at_checked(5)?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    let mut rest = message.get(..usize::try_from(length).ok()?)?;
    if head[0] != PLAIN {
        return None;
    }
    let mut status = 0;
    while !rest.is_empty() {
        let key = take_varint(&mut rest)?;
        match (key >> 3, key & 7) {
            (1, 0) => status = take_varint(&mut rest)?,
            (_, 0) => drop(take_varint(&mut rest)?),
            (_, 1) => rest = rest.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(take_varint(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            (_, 5) => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_are_as_protobuf_has_them() {
        assert_eq!(framed("").as_ref(), [0, 0, 0, 0, 0]);
        assert_eq!(framed("ab").as_ref(), b"\0\0\0\0\x04\x0a\x02ab");
        for (frame, status) in [
            (&b"\0\0\0\0\0"[..], Some(0)),
            (b"\0\0\0\0\x02\x08\x01", Some(1)),
            (b"\0\0\0\0\x02\x08\x02", Some(2)),
            // Fields of a later version before and after it.
            (b"\0\0\0\0\x09\x12\x01x\x08\x01\x1d\x01\x02\x03\x04", None),
            (
                b"\0\0\0\0\x0a\x12\x01x\x08\x01\x1d\x01\x02\x03\x04",
                Some(1),
            ),
            (b"\x01\0\0\0\x02\x08\x01", None),
            (b"\0\0\0\0\x03\x08\x01", None),
            (b"", None),
        ] {
            assert_eq!(serving_status(frame), status, "{frame:?}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(bytes: Vec<u8>) {
            let _ = serving_status(&bytes);
            let mut frame = vec![0, 0, 0, 0, bytes.len() as u8];
            frame.extend(bytes);
            let _ = serving_status(&frame);
        }

        #[test]
        fn varints_come_back(value: u64) {
            let mut bytes = BytesMut::new();
            put_varint(&mut bytes, value);
            prop_assert_eq!(take_varint(&mut &bytes[..]), Some(value));
        }
    }
}
