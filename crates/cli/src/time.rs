//! Durations on the command line, as Go writes them.

use std::time::Duration;

use rollcall_api::GoDuration;

/// Reads `10s`, `1h30m`, `500ms`; nothing negative.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let duration: GoDuration = text
        .parse()
        .map_err(|error| format!("{error}, expected such as 10s or 1h30m"))?;
    let nanoseconds =
        u64::try_from(duration.0).map_err(|_| "expected no negative duration".to_owned())?;
    Ok(Duration::from_nanos(nanoseconds))
}
