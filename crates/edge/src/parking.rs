//! A blocking query's right to wait: for how long, within the limit, and until what besides.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::Version;
use rollcall_api::GoDuration;
use rollcall_rt as rt;

use crate::{Call, Edge, Error, Share};

/// A wait is drawn out by up to this part of it, so that clients that began together do not end together.
const JITTER_FRACTION: u32 = 16;

/// A query that may wait. It counts against the limit from its first wait until it is dropped.
pub struct Parking<'a> {
    call: &'a Call<'a>,
    until: rt::Instant,
    share: Option<Share<'a>>,
}

impl std::fmt::Debug for Parking<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parking")
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

impl<'a> Parking<'a> {
    /// The clock runs from now. Without a `wait` the default one; never longer than the longest; with jitter.
    pub fn new(call: &'a Call<'a>, wait: Option<GoDuration>) -> Self {
        Parking {
            call,
            until: rt::Instant::now() + call.edge.patience(wait),
            share: None,
        }
    }

    /// Waits for a change. `None`: time, client or process ended the wait.
    ///
    /// # Errors
    ///
    /// Too many queries wait.
    pub async fn wait<F: Future>(&mut self, change: F) -> Result<Option<F::Output>, Error> {
        self.take_share()?;
        let began = rt::Instant::now();
        let changed = tokio::select! {
            biased;
            changed = change => Some(changed),
            () = self.interrupted() => None,
        };
        let parked = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.call.parked.fetch_add(parked, Ordering::Relaxed);
        Ok(changed)
    }

    fn take_share(&mut self) -> Result<(), Error> {
        let edge = self.call.edge;
        if self.share.is_none() {
            let limit = edge.config.limits.parked_queries;
            let share = Share::take(&edge.parked, limit).ok_or(Error::TooMany {
                what: "parked queries",
                limit,
            })?;
            self.share = Some(share);
        }
        Ok(())
    }

    async fn interrupted(&self) {
        let hung_up = async {
            match self.call.head.version {
                // The handler is dropped with its stream.
                Version::HTTP_2 => std::future::pending().await,
                _ => self.call.link.hung_up().await,
            }
        };
        tokio::select! {
            biased;
            () = hung_up => {}
            () = self.call.edge.shutdown.cancelled() => {}
            () = rt::sleep_until(self.until) => {}
        }
    }
}

impl Edge {
    /// How long a query waits: as asked, within bounds, with jitter.
    fn patience(&self, wait: Option<GoDuration>) -> Duration {
        let asked = wait.map(GoDuration::to_std).filter(|wait| !wait.is_zero());
        let wait = asked
            .unwrap_or(self.config.default_query_time)
            .min(self.config.max_query_time);
        let span = (wait / JITTER_FRACTION).as_nanos();
        let jitter = u128::from(rt::random_u64()) % (span + 1);
        wait + Duration::from_nanos(u64::try_from(jitter).unwrap_or(u64::MAX))
    }
}
