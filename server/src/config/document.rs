//! The settings as a page to read, made from the table; a test keeps the committed page equal to it.

use std::fmt::Write as _;

use super::setting::Stage;
use super::table::SETTINGS;

/// The page, as Markdown.
pub fn document() -> String {
    let mut page = String::from(
        "# Settings\n\nMade from `server/src/config/table.rs`; change it there. A setting stands in the YAML file under its key (dots are \
         levels), is the flag, or the\nvariable. A flag wins over a variable, a variable over a file, a later file over an earlier one; an \
         empty variable is not set.\n\n",
    );
    for (stage, title) in [
        (Stage::Built, "In effect"),
        (
            Stage::Later,
            "Recognised, in effect in a later version (a warning when set)",
        ),
        (
            Stage::Refused,
            "Recognised, an error when it would switch something on",
        ),
    ] {
        write_table(&mut page, stage, title);
    }
    for (stage, title) in [
        (
            Stage::Inert,
            "Accepted, without effect while tokens, TLS and encryption are not there",
        ),
        (Stage::LeftOut, "Consul's, accepted with a warning"),
    ] {
        let keys: Vec<String> = SETTINGS
            .iter()
            .filter(|setting| setting.stage == stage)
            .map(|setting| format!("`{}`", setting.key))
            .collect();
        writeln!(page, "## {title}\n\n{}.\n", keys.join(", "))
            .expect("writing to a string must succeed");
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

fn write_table(page: &mut String, stage: Stage, title: &str) {
    writeln!(
        page,
        "## {title}\n\n| key | flag | variable | value | default | |\n|---|---|---|---|---|---|"
    )
    .expect("writing to a string must succeed");
    for setting in SETTINGS.iter().filter(|setting| setting.stage == stage) {
        let (mut flag, mut variable) = (String::new(), String::new());
        if setting.has_flag() {
            flag = format!("`--{}`", setting.flag());
            if let Some(alias) = setting.alias {
                write!(flag, ", `--{alias}`").expect("writing to a string must succeed");
            }
            variable = format!("`{}`", setting.variable());
        }
        let default = if setting.default.is_empty() {
            String::new()
        } else {
            format!("`{}`", setting.default)
        };
        writeln!(
            page,
            "| `{}` | {flag} | {variable} | {} | {default} | {} |",
            setting.key,
            setting.kind.words(),
            setting.doc
        )
        .expect("writing to a string must succeed");
    }
    page.push('\n');
}
