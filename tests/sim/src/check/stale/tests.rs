//! Answers that fit together, and one of each kind that does not.

use super::*;

fn seen(at: u64, index: u64, found: Option<(Version, u64, u64)>) -> Observation {
    Observation {
        key: "k".into(),
        invoked: at,
        returned: at + 1,
        server: 0,
        boot: 1,
        linearizable: false,
        index,
        found: found.map(|(version, create_index, modify_index)| Found {
            version,
            create_index,
            modify_index,
        }),
    }
}

fn written(version: Version, invoked: u64) -> Written {
    Written {
        key: "k".into(),
        version,
        invoked,
        acknowledged: Some(invoked + 1),
    }
}

fn verdict(observations: &[Observation]) -> Vec<String> {
    check(observations, &[written(1, 10), written(2, 20)])
}

fn refused(observations: &[Observation], because: &str) {
    let wrong = verdict(observations);
    assert!(
        wrong.iter().any(|words| words.contains(because)),
        "wanted {because:?}, got {wrong:?}"
    );
}

#[test]
fn an_old_answer_of_another_server_is_fine() {
    let mut old = seen(42, 5, Some((1, 5, 5)));
    old.server = 1;
    assert_eq!(
        verdict(&[seen(40, 7, Some((2, 5, 7))), old]),
        Vec::<String>::new()
    );
}

#[test]
fn an_old_answer_of_the_same_running_server_is_refused() {
    refused(
        &[seen(40, 7, Some((2, 5, 7))), seen(42, 5, Some((1, 5, 5)))],
        "went back",
    );
}

#[test]
fn a_value_nobody_wrote_or_not_yet_wrote_is_refused() {
    refused(&[seen(40, 7, Some((3, 7, 7)))], "nobody wrote");
    refused(&[seen(15, 7, Some((2, 7, 7)))], "from the future");
}

#[test]
fn servers_that_disagree_about_an_index_are_refused() {
    let mut other = seen(40, 7, Some((1, 7, 7)));
    other.server = 1;
    refused(&[seen(40, 7, Some((2, 7, 7))), other], "two contents");
    let mut other = seen(40, 8, Some((2, 8, 8)));
    other.server = 1;
    refused(&[seen(40, 7, Some((2, 7, 7))), other], "two places");
}

#[test]
fn a_key_absent_while_it_was_there_is_refused() {
    let mut absent = seen(50, 6, None);
    absent.server = 1;
    refused(
        &[seen(40, 7, Some((2, 5, 7))), absent],
        "absent and present",
    );
}

#[test]
fn a_later_write_at_a_lower_index_is_refused() {
    refused(
        &[seen(40, 5, Some((2, 5, 5))), seen(50, 7, Some((1, 5, 7)))],
        "lower index",
    );
}

#[test]
fn index_zero_is_refused() {
    refused(&[seen(40, 0, None)], "index 0");
}
