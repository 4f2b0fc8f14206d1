//! `/v1/snapshot`: streams, since a snapshot may be larger than memory.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::{Method, StatusCode};

use crate::error::Error;
use crate::http::{Call, Client, ReadOptions, empty, refused};

/// Longest silence inside a snapshot, in either direction.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Longest time from the last byte of a restore to its answer: the servers apply all of it meanwhile.
const RESTORE_ANSWER_TIMEOUT: Duration = Duration::from_secs(600);

/// Snapshots of the whole state.
#[derive(Debug, Clone)]
pub struct Snapshots<'a>(pub(crate) &'a Client);

/// A snapshot being received. Complete only when [`SnapshotStream::chunk`] has returned `None`.
#[derive(Debug)]
pub struct SnapshotStream {
    client: Client,
    /// State index of the snapshot; 0 when the server gave none.
    pub index: u64,
    /// Its size in bytes, when the server knew.
    pub length: Option<u64>,
    body: Incoming,
}

impl Client {
    /// Snapshots of the whole state.
    pub fn snapshots(&self) -> Snapshots<'_> {
        Snapshots(self)
    }
}

impl Snapshots<'_> {
    /// Asks for a snapshot.
    pub async fn save(&self, options: &ReadOptions) -> Result<SnapshotStream, Error> {
        let call = Call::new(Method::GET, "snapshot").read(options);
        let response = self
            .within(SILENCE_MAX, self.0.send(&call, empty()))
            .await??;
        if response.status() != StatusCode::OK {
            let status = response.status();
            return Err(refused(
                status,
                &self.0.collect("snapshot", response.into_body()).await?,
            ));
        }
        let index = response
            .headers()
            .get("x-consul-index")
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let length = response.body().size_hint().exact();
        Ok(SnapshotStream {
            client: self.0.clone(),
            index: index.unwrap_or(0),
            length,
            body: response.into_body(),
        })
    }

    /// Puts a snapshot in place of the whole state. On an error nothing was replaced, or (a broken connection after the last byte)
    /// the outcome is unknown.
    pub async fn restore<S>(&self, archive: S) -> Result<(), Error>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + Sync + 'static,
    {
        let call = Call::new(Method::PUT, "snapshot");
        let (sent, mut progress) = tokio::sync::watch::channel(());
        let frames = archive.map_ok(move |chunk| {
            // Nobody watches any more once the answer came early.
            let _ = sent.send(());
            Frame::data(chunk)
        });
        let answer = self.0.send(&call, BodyExt::boxed(StreamBody::new(frames)));
        tokio::pin!(answer);
        let response = loop {
            tokio::select! {
                response = &mut answer => break response?,
                moved = tokio::time::timeout(SILENCE_MAX, progress.changed()) => match moved {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => break self.within(RESTORE_ANSWER_TIMEOUT, &mut answer).await??,
                    Err(_) => return Err(self.timeout(SILENCE_MAX)),
                },
            }
        };
        let status = response.status();
        let body = self
            .within(
                SILENCE_MAX,
                self.0.collect("snapshot", response.into_body()),
            )
            .await??;
        if status == StatusCode::OK {
            Ok(())
        } else {
            Err(refused(status, &body))
        }
    }

    async fn within<F: Future>(&self, limit: Duration, future: F) -> Result<F::Output, Error> {
        tokio::time::timeout(limit, future)
            .await
            .map_err(|_| self.timeout(limit))
    }

    fn timeout(&self, after: Duration) -> Error {
        Error::Timeout {
            address: self.0.address().clone(),
            after,
        }
    }
}

impl SnapshotStream {
    /// The next part; `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let silence = || Error::Timeout {
                address: self.client.address().clone(),
                after: SILENCE_MAX,
            };
            let frame = tokio::time::timeout(SILENCE_MAX, self.body.frame())
                .await
                .map_err(|_| silence())?;
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(self.client.broken(error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}
