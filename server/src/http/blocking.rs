//! Reads, and blocking queries.
//!
//! A query with `?index=N` registers its topics, reads, and when its answer is not newer than N parks until a topic changes.
//! Freshness is settled once, when the query arrives; what it reads after waking is this server's state, which has at least
//! that much. A parked query holds no state: an old one would stay in memory as long as the client cares to wait.

use std::time::Duration;

use rollcall_api::query::ReadOptions;
use rollcall_edge::{Error, Meta, Parking};
use rollcall_state::{Answer, State, Topic};

use super::call::Call;
use crate::door::{Consistency, Door, View};

/// What a read came to.
pub(super) struct Seen<T> {
    pub(super) meta: Meta,
    /// Of the state that was read.
    pub(super) offset: u64,
    pub(super) value: T,
}

/// Answers a read that may block.
pub(super) async fn read<T>(
    call: &Call<'_>,
    options: ReadOptions,
    topics: impl FnOnce() -> Vec<Topic>,
    query: impl Fn(&State) -> Answer<T>,
) -> Result<(Meta, T), Error> {
    let seen = see(call, options, topics, query).await?;
    Ok((seen.meta, seen.value))
}

/// The same, with where it was read.
pub(super) async fn see<T>(
    call: &Call<'_>,
    options: ReadOptions,
    topics: impl FnOnce() -> Vec<Topic>,
    query: impl Fn(&State) -> Answer<T>,
) -> Result<Seen<T>, Error> {
    let door = &*call.api.door;
    if options.index == 0 {
        let consistency = match options.stale {
            true => Consistency::Stale(None),
            false => Consistency::Linearizable,
        };
        let view = door.read(consistency).await?;
        let answer = query(&view.state);
        return Ok(seen(&view, answer, options));
    }
    let mut watch = door.watch(topics());
    let mut parking = Parking::new(call, options.wait);
    let mut view = match options.stale {
        true => stale_view(door, &mut parking, options.index).await?,
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
                return Ok(seen(&view, answer, options));
            }
        }
        drop(view);
        woken = parking.wait(watch.changed()).await?.is_some();
        view = door.local();
    }
}

fn seen<T>(view: &View, answer: Answer<T>, options: ReadOptions) -> Seen<T> {
    Seen {
        meta: meta(view, answer.index, options),
        offset: view.state.offset(),
        value: answer.value,
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

/// The state of this server once it has applied `index`, or as it is when the wait ends.
async fn stale_view(door: &dyn Door, parking: &mut Parking<'_>, index: u64) -> Result<View, Error> {
    let view = door.local();
    if view.state.index() >= index {
        return Ok(view);
    }
    drop(view);
    match parking
        .wait(door.read(Consistency::Stale(Some(index))))
        .await?
    {
        Some(view) => Ok(view?),
        None => Ok(door.local()),
    }
}
