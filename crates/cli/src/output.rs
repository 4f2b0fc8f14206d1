//! What commands print: lines, tables, JSON and YAML, on standard output; progress on standard error when that is a terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use clap::{Args, ValueEnum};
use comfy_table::presets::{NOTHING, UTF8_HORIZONTAL_ONLY};
use comfy_table::{ContentArrangement, Table};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// Columns of a terminal below which tables are not folded: nobody could read them.
const WIDTH_MIN: u16 = 20;

/// The flag of every command that prints data.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct FormatArgs {
    /// Output format [default: table]
    #[arg(short = 'o', long, global = true, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
}

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// For programs
    Json,
    /// For programs and people
    Yaml,
}

impl FormatArgs {
    /// Prints `data` as JSON or YAML when that was asked for, else whatever `people` prints.
    pub(crate) fn print<T: Serialize + ?Sized>(
        self,
        data: &T,
        people: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        match self.format {
            None | Some(Format::Table) => people(),
            Some(Format::Json) => {
                let mut out = io::BufWriter::new(io::stdout().lock());
                serde_json::to_writer_pretty(&mut out, data)?;
                out.write_all(b"\n")?;
                Ok(out.flush()?)
            }
            Some(Format::Yaml) => {
                let text = serde_yaml::to_string(data)?;
                Ok(io::stdout().lock().write_all(text.as_bytes())?)
            }
        }
    }
}

/// Prints a line.
pub(crate) fn line(text: impl std::fmt::Display) -> anyhow::Result<()> {
    Ok(writeln!(io::stdout().lock(), "{text}")?)
}

/// Prints a table: with rules and folded to its width on a terminal, one plain line a row elsewhere.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> anyhow::Result<()> {
    let mut table = Table::new();
    let terminal = io::stdout().is_terminal();
    if terminal {
        // A terminal that does not know its width says 0; folding to that leaves a letter a line.
        let arrangement = match table.width() {
            Some(width) if width >= WIDTH_MIN => ContentArrangement::Dynamic,
            Some(_) | None => ContentArrangement::Disabled,
        };
        table
            .load_style(UTF8_HORIZONTAL_ONLY)
            .set_content_arrangement(arrangement);
    } else {
        table
            .load_style(NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled);
    }
    table.set_header(header);
    for row in rows {
        table.add_row(row.map(|cell| printable(&cell)));
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    for line in table.lines() {
        let line = line.trim_end();
        writeln!(
            out,
            "{}",
            line.strip_prefix(' ').filter(|_| !terminal).unwrap_or(line)
        )?;
    }
    Ok(out.flush()?)
}

/// Without control characters: a name in the registry must not drive the terminal of whoever looks.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// A bar of bytes on standard error when that is a terminal, else nothing.
pub(crate) fn byte_progress(what: &'static str, length: Option<u64>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match length {
        Some(length) => (
            ProgressBar::new(length),
            "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{msg} {spinner} {bytes} {bytes_per_sec}",
        ),
    };
    bar.set_style(ProgressStyle::with_template(template).expect("the template must be valid"));
    bar.with_message(what)
}

/// A bar of milliseconds on standard error when that is a terminal, else nothing.
pub(crate) fn time_progress(what: &'static str, length: Duration) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(length.as_millis().try_into().unwrap_or(u64::MAX));
    let style = ProgressStyle::with_template("{msg} {wide_bar} {eta}");
    bar.set_style(style.expect("the template must be valid"));
    bar.with_message(what)
}
