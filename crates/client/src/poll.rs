//! Reads that wait for a change.

use std::time::Duration;

use rand::RngExt as _;
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::http::{Answer, Call, Client, ReadOptions};

/// First pause after a failure.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest pause after failures in a row: a server that is back is found within this.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A read, again at every change of its index.
///
/// An index that goes back (a restored or another cluster) starts the wait anew, as Consul's documentation asks for. After a
/// failure the next attempt waits, longer each time and never as long as others; and it reads without an index, since whoever
/// answers then may be another cluster, which would keep it waiting for an index that it reaches in days.
pub struct LongPoll<T> {
    client: Client,
    call: Call,
    options: ReadOptions,
    read: Box<dyn Fn(Client, Call) -> Reading<T> + Send + Sync>,
    failures: u32,
}

type Reading<T> = std::pin::Pin<Box<dyn Future<Output = Result<Answer<T>, Error>> + Send>>;

impl<T: 'static> LongPoll<T> {
    pub(crate) fn new<J: DeserializeOwned + Send + 'static>(
        client: Client,
        call: Call,
        options: ReadOptions,
        decode: fn(Option<J>) -> T,
    ) -> LongPoll<T> {
        let read = move |client: Client, call: Call| -> Reading<T> {
            Box::pin(async move { Ok(client.json_if_there::<J>(&call).await?.map(decode)) })
        };
        LongPoll {
            client,
            call,
            options,
            read: Box::new(read),
            failures: 0,
        }
    }

    /// The first time what there is; then, each time, what there is after the next change. Returns failures too, so that the
    /// caller may give up; calling it again tries again, after a pause. Cancel-safe.
    pub async fn next(&mut self) -> Result<Answer<T>, Error> {
        loop {
            let mut options = self.options.clone();
            let after_failure = self.failures > 0;
            if after_failure {
                tokio::time::sleep(pause(self.failures)).await;
                options.index = None;
            }
            let call = self.call.clone().read(&options);
            let answer = match (self.read)(self.client.clone(), call).await {
                Ok(answer) => answer,
                Err(error) => {
                    self.failures = self.failures.saturating_add(1);
                    return Err(error);
                }
            };
            self.failures = 0;
            match step(self.options.index, answer.index) {
                // It was read without a wait already.
                Step::WentBack if after_failure => {
                    self.options.index = Some(answer.index.max(1));
                    return Ok(answer);
                }
                Step::Changed(index) => {
                    self.options.index = index;
                    return Ok(answer);
                }
                Step::Same => {}
                Step::WentBack => self.options.index = None,
            }
        }
    }
}

impl<T> std::fmt::Debug for LongPoll<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LongPoll")
            .field("call", &self.call)
            .field("index", &self.options.index)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// To be given out; wait on this index next.
    Changed(Option<u64>),
    /// The wait ran out.
    Same,
    /// Read again without waiting.
    WentBack,
}

fn step(waited_on: Option<u64>, got: u64) -> Step {
    match waited_on {
        // An index of 0 would not wait at all: wait on 1.
        None => Step::Changed(Some(got.max(1))),
        Some(index) if got < index => Step::WentBack,
        Some(index) if got == index => Step::Same,
        Some(_) => Step::Changed(Some(got)),
    }
}

/// The pause before an attempt after this many failures: doubled each time, and somewhere between half and the whole of that.
fn pause(failures: u32) -> Duration {
    let whole = PAUSE_MIN
        .saturating_mul(1 << failures.saturating_sub(1).min(16))
        .min(PAUSE_MAX);
    rand::rng().random_range(whole / 2..=whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_goes_back_starts_anew() {
        assert_eq!(step(None, 7), Step::Changed(Some(7)));
        assert_eq!(step(None, 0), Step::Changed(Some(1)));
        assert_eq!(step(Some(7), 7), Step::Same);
        assert_eq!(step(Some(7), 8), Step::Changed(Some(8)));
        assert_eq!(step(Some(7), 3), Step::WentBack);
    }

    #[test]
    fn pauses_grow_and_stay_bounded() {
        for (failures, most) in [
            (1, 100),
            (2, 200),
            (5, 1_600),
            (12, 30_000),
            (u32::MAX, 30_000),
        ] {
            let pause = pause(failures).as_millis();
            assert!(
                pause >= most / 2 && pause <= most,
                "{failures} failures: {pause} ms"
            );
        }
    }
}
