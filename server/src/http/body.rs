//! Request bodies, read within bounds of size and time.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};

use super::error::Error;
use crate::rt;

/// How long a client may take for the next bytes of a body: longer than any pause of a network that still works.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Words for a body over its limit: given the size that was announced, or that had been read when it was too much.
pub(super) type TooLarge<'a> = &'a (dyn Fn(u64) -> String + Sync);

/// Reads a whole body of at most `limit` bytes. Nothing is read of one that announces more.
pub(super) async fn read(
    mut body: Incoming,
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
    while let Some(piece) = next(&mut body, whole.len() as u64).await? {
        if whole.len() + piece.len() > limit {
            let size = whole.len() + piece.len();
            return Err(Error::TooLarge(too_large(size as u64)));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.into())
}

/// The next bytes of a body of which `got` were read already.
pub(super) async fn next(body: &mut Incoming, got: u64) -> Result<Option<Bytes>, Error> {
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
