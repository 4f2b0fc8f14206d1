//! Which flags go with which type, and the status of an instance.

use clap::Parser as _;

use super::*;

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(flatten)]
    args: WatchArgs,
}

fn refused(line: &str) -> Option<String> {
    let words = std::iter::once("watch").chain(line.split_whitespace());
    let line = Line::try_parse_from(words).expect("must parse");
    line.args.check().err().map(|error| error.to_string())
}

#[test]
fn flags_that_the_type_does_not_know_are_refused_and_needed_ones_asked_for() {
    for (line, expected) in [
        ("--type key --key a", None),
        ("--type key", Some("--type key needs --key")),
        ("--type keyprefix", Some("--type keyprefix needs --prefix")),
        ("--type service", Some("--type service needs --service")),
        ("--type service --service a --tag b --passingonly", None),
        ("--type checks --service a", None),
        ("--type checks --state warning", None),
        (
            "--type checks --state well",
            Some("--state well: expected any, passing, warning or critical"),
        ),
        (
            "--type nodes --service web",
            Some("--service says nothing for --type nodes, which knows --filter"),
        ),
        (
            "--type key --key a --filter b",
            Some("--filter says nothing for --type key, which knows --key"),
        ),
    ] {
        assert_eq!(refused(line).as_deref(), expected, "{line}");
    }
}

#[test]
fn the_worst_check_is_the_status_and_maintenance_comes_before_all() {
    let check = |id: &str, status: &str| Check {
        check_id: id.to_owned(),
        status: status.to_owned(),
        ..Check::default()
    };
    let (well, ill) = (check("a", "passing"), check("b", "critical"));
    let warning = check("c", "warning");
    assert_eq!(worst(&[]), "passing");
    assert_eq!(worst(&[well.clone(), warning.clone()]), "warning");
    assert_eq!(worst(&[ill.clone(), well, warning]), "critical");
    let under = check("_service_maintenance:x", "critical");
    assert_eq!(worst(&[ill, under]), "maintenance");
}
