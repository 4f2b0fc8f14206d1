//! Request bodies, read within bounds of size and time.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use hyper::Version;
use hyper::body::{Body as _, Incoming};
use hyper::header::EXPECT;
use hyper::http::request::Parts;

use crate::error::Error;
use rollcall_rt as rt;

/// How long a client may take for the next bytes of a body: longer than any pause of a network that still works.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Words for a body over its limit: given the size that was announced, or that had been read when it was too much.
pub type TooLarge<'a> = &'a (dyn Fn(u64) -> String + Sync);

/// Bytes of a body nobody wanted that are read and thrown away, so that the client gets to see its answer: one that still
/// writes when the connection is closed gets an error of its own instead. More than this and it has to live with that.
const DISCARDED_BYTES_MAX: u64 = 8 << 20;

/// Reads a whole body of at most `limit` bytes.
pub async fn read(
    body: &mut Incoming,
    limit: usize,
    too_large: TooLarge<'_>,
) -> Result<Bytes, Error> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let announced = body.size_hint().exact();
    if let Some(size) = announced.filter(|&size| size > limit as u64) {
        return Err(Error::TooLarge(too_large(size)));
    }
    // Copied out of hyper's buffer, whatever the size: a slice of it would keep the whole buffer in memory for as long
    // as the value lives.
    let capacity = announced.and_then(|size| usize::try_from(size).ok());
    let mut whole = Vec::with_capacity(capacity.unwrap_or(0));
    while let Some(piece) = next(body, whole.len() as u64).await? {
        let size = whole.len() + piece.len();
        if size > limit {
            return Err(Error::TooLarge(too_large(size as u64)));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.into())
}

/// Reads what is left of a body after its request was answered, and throws it away. Go's servers do so too: without it the
/// connection would have to be closed, sometimes under a client that still writes.
pub async fn discard(mut body: Incoming, head: &Parts) {
    let left = body.size_hint().lower();
    // A client that waits to be told to go on is better told no by the answer. HTTP/2 can end a stream by itself.
    let waits = head.headers.contains_key(EXPECT);
    if left > DISCARDED_BYTES_MAX || waits || head.version == Version::HTTP_2 {
        return;
    }
    let mut discarded = 0;
    while let Ok(Some(piece)) = next(&mut body, discarded).await {
        discarded += piece.len() as u64;
        if discarded > DISCARDED_BYTES_MAX {
            return;
        }
    }
}

/// The next bytes of a body of which `got` were read already.
pub async fn next(body: &mut Incoming, got: u64) -> Result<Option<Bytes>, Error> {
    loop {
        // Mostly the bytes are there: no timer for them.
        let frame = match body.frame().now_or_never() {
            Some(frame) => frame,
            None => rt::timeout(PAUSE_MAX, body.frame())
                .await
                .ok_or(Error::BodyTooSlow)?,
        };
        match frame {
            None => return Ok(None),
            Some(Err(error)) => {
                tracing::debug!(%error, got, "request body cut short");
                return Err(Error::BodyCutShort { got });
            }
            // Trailers have no data.
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}
