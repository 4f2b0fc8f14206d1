//! Prepared queries: names, ids, sessions. The refusals are Consul's words.

use crate::*;

fn query(id: &str, name: &str) -> QuerySpec {
    QuerySpec {
        id: id.into(),
        name: name.into(),
        service: QueryService {
            service: "web".into(),
            ..QueryService::default()
        },
        ..QuerySpec::default()
    }
}

fn set(query: QuerySpec, must_exist: bool) -> Command {
    Command::QuerySet(QuerySet { query, must_exist })
}

fn delete(id: &str) -> Command {
    Command::QueryDelete(QueryDelete { id: id.into() })
}

fn refused(words: &str) -> Reply {
    Reply::Refused(Refusal::Other(words.into()))
}

#[test]
fn a_query_is_created_updated_and_deleted() {
    let mut log = Log::new();
    assert_eq!(log.write(set(query("id-1", "web-q"), false)), TRUE);
    let created = log.index;
    let (reply, changes) = log.write_with_changes(set(query("ID-1", "web-q2"), true));
    assert_eq!(reply, TRUE);
    assert!(changes.touches(&Topic::Queries) && changes.touches(&Topic::query("id-1")));
    let row = log.state.query("id-1").value.expect("it must be there");
    assert_eq!(
        (row.create_index, row.modify_index),
        (created, log.index),
        "an update keeps its CreateIndex"
    );
    assert!(log.state.query_by_id_or_name("web-q").is_none());
    assert!(log.state.query_by_id_or_name("WEB-Q2").is_some());
    assert!(log.state.query_by_id_or_name("id-1").is_some());

    let before = log.state.queries();
    let (reply, changes) = log.write_with_changes(set(query("ID-1", "web-q2"), true));
    assert_eq!(reply, TRUE);
    assert!(changes.is_empty(), "the same again changes nothing");
    assert_eq!(log.state.queries(), before);

    assert_eq!(log.write(delete("id-1")), TRUE);
    let gone = log.index;
    assert_eq!(log.state.queries().index, gone);
    assert_eq!(log.state.query("id-1").index, gone);
    let words = "Cannot modify non-existent prepared query: 'id-1'";
    assert_eq!(log.write(delete("id-1")), refused(words));
    assert_eq!(log.write(set(query("id-1", ""), true)), refused(words));
    assert_eq!(log.state.queries().index, gone);
    assert_eq!(log.state.counts().queries, 0);
}

#[test]
fn a_name_is_taken_once_and_is_nobodys_id() {
    let mut log = Log::new();
    assert_eq!(log.write(set(query("id-1", "web"), false)), TRUE);
    assert_eq!(
        log.write(set(query("id-2", "Web"), false)),
        refused("name 'Web' aliases an existing query name")
    );
    assert_eq!(
        log.write(set(query("id-2", "id-1"), false)),
        refused("name 'id-1' aliases an existing query ID")
    );
    assert_eq!(
        log.write(set(query("id-2", ""), false)),
        TRUE,
        "many may have no name"
    );
    assert_eq!(log.write(set(query("id-3", ""), false)), TRUE);
    assert_eq!(log.write(delete("id-1")), TRUE);
    assert_eq!(
        log.write(set(query("id-2", "web"), false)),
        TRUE,
        "a freed name may be taken"
    );
}

#[test]
fn a_query_ends_with_its_session() {
    let mut log = Log::new();
    let bound = |id: &str| QuerySpec {
        session: "s".into(),
        ..query(id, "")
    };
    assert_eq!(
        log.write(set(bound("id-1"), false)),
        refused("invalid session")
    );
    log.session("s", 0, Behavior::Release);
    for id in ["id-1", "id-2"] {
        assert_eq!(log.write(set(bound(id), false)), TRUE);
    }
    assert_eq!(log.write(set(query("id-2", ""), true)), TRUE, "set free");
    assert_eq!(log.write(set(query("id-3", ""), false)), TRUE);
    let (_, changes) = log.write_with_changes(destroy("s"));
    assert!(changes.touches(&Topic::query("id-1")));
    assert!(!changes.touches(&Topic::query("id-2")));
    let left: Vec<_> = log.state.queries().value;
    let left: Vec<&str> = left.iter().map(|q| &*q.spec.id).collect();
    assert_eq!(left, ["id-2", "id-3"]);
}
