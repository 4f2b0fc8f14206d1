//! What a user can do about an error of a server.

use rollcall_client::Error;

/// A sentence to stand below the error; `None` when the error says it all.
pub(crate) fn of(error: &anyhow::Error) -> Option<&'static str> {
    let cause = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Error>())?;
    match cause {
        Error::Connect { .. } => Some(
            "Does a server or agent listen there? --http-addr or ROLLCALL_HTTP_ADDR says where to ask.",
        ),
        Error::Status { status, text } => match status.as_u16() {
            403 => Some("--token or ROLLCALL_HTTP_TOKEN says as whom to ask."),
            404 if text.contains("Invalid URL path") => Some(
                "The server does not serve this request: its version is another one, or it is no Rollcall and no Consul.",
            ),
            500 if text.contains("No cluster leader") => Some(
                "The servers have no leader; \"rollcall operator raft list-peers --stale\" shows whom they know, --stale reads without one.",
            ),
            _ => None,
        },
        Error::Broken { .. }
        | Error::Timeout { .. }
        | Error::Answer { .. }
        | Error::TooLarge { .. }
        | Error::Request(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_server_that_is_not_there_is_looked_for_elsewhere() {
        let source = Box::new(std::io::Error::other("refused"));
        let error = Error::Connect {
            address: rollcall_client::Address::default(),
            source,
        };
        let error = Err::<(), _>(error)
            .context("querying")
            .expect_err("an error");
        assert!(of(&error).is_some_and(|hint| hint.contains("--http-addr")));
        assert_eq!(of(&anyhow::anyhow!("no such key")), None);
    }
}
