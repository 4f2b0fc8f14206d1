//! `rollcall completion`: scripts that complete commands and flags, made from the command line's own description.

use std::io::Write as _;

use clap::{Args, Command, ValueEnum};
use clap_complete::aot::{Shell as Script, generate};

/// Print a script that completes commands and flags in a shell
///
/// For this shell only: source <(rollcall completion bash). For every one: write it to where the shell looks, such as
/// ~/.local/share/bash-completion/completions/rollcall, a directory of zsh's fpath as _rollcall, or
/// ~/.config/fish/completions/rollcall.fish.
#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub(crate) fn run(args: &CompletionArgs, command: &mut Command) -> anyhow::Result<()> {
    let script = match args.shell {
        Shell::Bash => Script::Bash,
        Shell::Zsh => Script::Zsh,
        Shell::Fish => Script::Fish,
    };
    // Into memory first: the generator panics where a pipe is closed.
    let mut text = Vec::new();
    generate(script, command, "rollcall", &mut text);
    Ok(std::io::stdout().write_all(&text)?)
}
