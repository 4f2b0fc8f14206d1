//! Reads, and blocking queries.
//!
//! A query with `?index=N` registers its topics, reads, and when its answer is not newer than N parks until a topic changes.
//! Freshness is settled once, when the query arrives; what it reads after waking is this server's state, which has at least
//! that much. A parked query holds no state: an old one would stay in memory as long as the client cares to wait.

use std::time::Duration;

use hyper::Version;
use rollcall_api::GoDuration;
use rollcall_api::query::ReadOptions;
use rollcall_state::{Answer, State, Topic};

use super::answer::Meta;
use super::error::Error;
use super::handle::Call;
use super::{Edge, Share};
use crate::door::{Consistency, View, Watch};
use crate::rt;

/// A wait is drawn out by up to this part of it, so that clients that began together do not end together.
const JITTER_FRACTION: u32 = 16;

/// Answers a read that may block.
pub(super) async fn read<T>(
    call: &Call<'_>,
    options: ReadOptions,
    topics: impl FnOnce() -> Vec<Topic>,
    query: impl Fn(&State) -> Answer<T>,
) -> Result<(Meta, T), Error> {
    let door = &call.edge.door;
    if options.index == 0 {
        let consistency = match options.stale {
            true => Consistency::Stale(None),
            false => Consistency::Linearizable,
        };
        let view = door.read(consistency).await?;
        let answer = query(&view.state);
        return Ok((meta(&view, answer.index, options), answer.value));
    }
    let mut watch = door.watch(topics());
    let mut parking = Parking {
        call,
        until: rt::Instant::now() + call.edge.patience(options.wait),
        share: None,
    };
    let mut view = match options.stale {
        true => parking.stale_view(options.index).await?,
        false => door.read(Consistency::Linearizable).await?,
    };
    let mut woken = true;
    // A restore puts another state in this one's place: rows come with their old indexes, so that an answer may be another
    // one under the same index. The offset tells.
    let offset = view.state.offset();
    loop {
        {
            let answer = query(&view.state);
            let restored = view.state.offset() != offset;
            if answer.index > options.index || restored || !woken {
                return Ok((meta(&view, answer.index, options), answer.value));
            }
        }
        drop(view);
        woken = parking.park(&mut *watch).await?;
        view = door.local();
    }
}

fn meta(view: &View, index: u64, options: ReadOptions) -> Meta {
    // A read that asked for more than what this server happened to have is as fresh as the leader's own.
    let last_contact = match options.stale {
        true => view.last_contact,
        false => Duration::ZERO,
    };
    Meta {
        index: index.max(1),
        known_leader: view.known_leader,
        last_contact_ms: u64::try_from(last_contact.as_millis()).unwrap_or(u64::MAX),
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

/// A query's right to wait.
struct Parking<'a> {
    call: &'a Call<'a>,
    until: rt::Instant,
    share: Option<Share<'a>>,
}

impl Parking<'_> {
    /// Waits for a change. False: time, client or server ended the wait.
    async fn park(&mut self, watch: &mut dyn Watch) -> Result<bool, Error> {
        self.take_share()?;
        tokio::select! {
            biased;
            () = watch.changed() => Ok(true),
            () = self.interrupted() => Ok(false),
        }
    }

    /// The state of this server once it has applied `index`, or as it is when the wait ends.
    async fn stale_view(&mut self, index: u64) -> Result<View, Error> {
        let door = &self.call.edge.door;
        let view = door.local();
        if view.state.index() >= index {
            return Ok(view);
        }
        drop(view);
        self.take_share()?;
        tokio::select! {
            biased;
            view = door.read(Consistency::Stale(Some(index))) => Ok(view?),
            () = self.interrupted() => Ok(door.local()),
        }
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
