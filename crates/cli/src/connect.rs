//! Which server a command asks, as whom, and how fresh: flags first, then `ROLLCALL_*`, then `CONSUL_*` of the environment.

use std::future::Future;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use rollcall_client::{Address, Client, Consistency, ReadOptions, Settings};

/// Flags of every command that asks a server.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ConnectArgs {
    /// Server: HOST:PORT, http://HOST:PORT or unix://PATH [env: ROLLCALL_HTTP_ADDR, CONSUL_HTTP_ADDR] [default: 127.0.0.1:8500]
    #[arg(
        long,
        global = true,
        value_name = "ADDRESS",
        help_heading = "Connection"
    )]
    http_addr: Option<String>,
    /// Token sent with every request [env: ROLLCALL_HTTP_TOKEN, CONSUL_HTTP_TOKEN]
    #[arg(long, global = true, value_name = "TOKEN", help_heading = "Connection")]
    token: Option<String>,
    /// File with the token [env: ROLLCALL_HTTP_TOKEN_FILE, CONSUL_HTTP_TOKEN_FILE]
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        help_heading = "Connection",
        conflicts_with = "token"
    )]
    token_file: Option<PathBuf>,
    /// Datacenter to ask [default: the server's own]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Connection")]
    datacenter: Option<String>,
    /// Read what the asked server knows, even without a leader
    #[arg(long, global = true, help_heading = "Connection")]
    stale: bool,
}

impl ConnectArgs {
    /// A client as the flags and the environment say.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        let settings = self.settings(&|name| std::env::var(name).ok())?;
        Ok(Client::new(settings)?)
    }

    /// Options of a read.
    pub(crate) fn read_options(&self) -> ReadOptions {
        let consistency = if self.stale {
            Consistency::Stale
        } else {
            Consistency::Default
        };
        ReadOptions {
            consistency,
            ..ReadOptions::default()
        }
    }

    fn settings(&self, environment: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<Settings> {
        let variable = |name: &str| {
            ["ROLLCALL", "CONSUL"].iter().find_map(|prefix| {
                environment(&format!("{prefix}_{name}")).filter(|value| !value.is_empty())
            })
        };
        let address: Address = match self.http_addr.clone().or_else(|| variable("HTTP_ADDR")) {
            Some(address) => address.parse()?,
            None => Address::default(),
        };
        let tls = variable("HTTP_SSL").is_some_and(|value| value == "true" || value == "1");
        anyhow::ensure!(
            !tls,
            "CONSUL_HTTP_SSL asks for TLS, which is not in this version"
        );
        // What is named closer to the command wins, whichever kind it is.
        let token = match (&self.token, &self.token_file) {
            (Some(token), _) => Some(token.clone()),
            (None, Some(path)) => Some(read_token(path)?),
            (None, None) => match (variable("HTTP_TOKEN"), variable("HTTP_TOKEN_FILE")) {
                (Some(token), _) => Some(token),
                (None, Some(path)) => Some(read_token(path.as_ref())?),
                (None, None) => None,
            },
        };
        Ok(Settings {
            address,
            token,
            datacenter: self.datacenter.clone(),
        })
    }
}

fn read_token(path: &std::path::Path) -> anyhow::Result<String> {
    let token = std::fs::read_to_string(path)
        .with_context(|| format!("reading the token file {}", path.display()))?;
    Ok(token.trim().to_owned())
}

/// Runs a command: one thread is enough for one user.
pub(crate) fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let outcome = runtime.block_on(command);
    // A read of standard input cannot be cancelled and must not hold up the exit.
    runtime.shutdown_background();
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(
        args: &ConnectArgs,
        environment: &[(&str, &str)],
    ) -> anyhow::Result<(String, Option<String>)> {
        let look = |name: &str| {
            environment
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        let settings = args.settings(&look)?;
        Ok((settings.address.to_string(), settings.token))
    }

    #[test]
    fn flags_win_over_our_variables_and_those_over_consuls() {
        let none = ConnectArgs::default();
        let consul = ("CONSUL_HTTP_ADDR", "http://c:1");
        let ours = ("ROLLCALL_HTTP_ADDR", "unix:///r");
        let tokens = [("CONSUL_HTTP_TOKEN", "c"), ("ROLLCALL_HTTP_TOKEN", "")];
        assert_eq!(
            settings(&none, &[]).expect("good"),
            ("http://127.0.0.1:8500".into(), None)
        );
        assert_eq!(settings(&none, &[consul]).expect("good").0, "http://c:1");
        assert_eq!(
            settings(&none, &[consul, ours]).expect("good").0,
            "unix:///r"
        );
        assert_eq!(
            settings(&none, &tokens).expect("good").1.as_deref(),
            Some("c")
        );
        let flags = ConnectArgs {
            http_addr: Some("f:2".into()),
            token: Some("t".into()),
            ..none.clone()
        };
        assert_eq!(
            settings(&flags, &[consul, ours, tokens[0]]).expect("good"),
            ("http://f:2".into(), Some("t".into()))
        );
    }

    #[test]
    fn tls_is_refused_and_not_left_out_in_silence() {
        let none = ConnectArgs::default();
        assert!(settings(&none, &[("CONSUL_HTTP_ADDR", "https://c:8501")]).is_err());
        assert!(settings(&none, &[("CONSUL_HTTP_SSL", "true")]).is_err());
    }
}
