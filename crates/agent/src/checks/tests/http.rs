//! HTTP checks against plain sockets.

use super::*;
use server::{Canned, Then, refusing};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn the_status_line_decides() {
    for (line, status) in [
        ("200 OK", Status::Passing),
        ("204 No Content", Status::Passing),
        ("299 Odd", Status::Passing),
        ("300 Multiple Choices", Status::Critical),
        ("404 Not Found", Status::Critical),
        ("429 Too Many Requests", Status::Warning),
        ("503 Service Unavailable", Status::Critical),
        ("503 Gone Fishing", Status::Critical),
    ] {
        let server = Canned::answering(
            format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n"),
            Then::Close,
        )
        .await;
        let outcome = run_http(get(server.url("/health"))).await;
        assert_outcome(&outcome, status, "");
        let expected = format!("HTTP GET {}: {line} Output: ", server.url("/health"));
        assert_eq!(outcome.output, expected);
    }
}

#[tokio::test]
async fn a_request_says_what_its_definition_says() {
    let server = Canned::answering(OK, Then::Close).await;
    let mut http = get(server.url("/health?x=1"));
    http.method = "POST".to_owned();
    http.body = r#"{"a": 1}"#.to_owned();
    http.headers = [
        ("x-probe".to_owned(), vec!["a".to_owned(), "b".to_owned()]),
        ("Host".to_owned(), vec!["web.example".to_owned()]),
        ("Connection".to_owned(), vec!["keep-alive".to_owned()]),
    ]
    .into();
    assert_outcome(&run_http(http).await, Status::Passing, "200 OK Output: ok");
    let request = server.requests().remove(0);
    assert!(
        request.starts_with("POST /health?x=1 HTTP/1.1\r\n"),
        "{request}"
    );
    for line in [
        "Host: web.example\r\n",
        "X-Probe: a\r\n",
        "X-Probe: b\r\n",
        "User-Agent: Consul Health Check\r\n",
        "Accept: text/plain, text/*, */*\r\n",
        "Connection: close\r\n",
        "Content-Length: 8\r\n",
    ] {
        assert!(request.contains(line), "{line:?} is not in {request}");
    }
    assert!(!request.contains("keep-alive"), "{request}");
    assert!(request.ends_with("\r\n\r\n{\"a\": 1}"), "{request}");
}

#[tokio::test]
async fn headers_of_the_definition_go_before_ours() {
    let server = Canned::answering(OK, Then::Close).await;
    let mut http = get(server.url("/").replace("http://", "http://user:secret@"));
    http.headers = [("user-agent".to_owned(), vec!["mine".to_owned()])].into();
    run_http(http).await;
    let request = server.requests().remove(0);
    assert!(request.contains("User-Agent: mine\r\n"), "{request}");
    assert!(!request.contains("Consul"), "{request}");
    assert!(
        request.contains("Authorization: Basic dXNlcjpzZWNyZXQ=\r\n"),
        "{request}"
    );
}

#[tokio::test]
async fn redirects_are_followed_unless_forbidden() {
    let server = Canned::in_turn(vec![
        "HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n".to_owned(),
        OK.to_owned(),
    ])
    .await;
    let mut http = get(server.url("/here/x"));
    http.method = "POST".to_owned();
    http.body = "b".to_owned();
    let outcome = run_http(http).await;
    let expected = format!("HTTP POST {}: 200 OK Output: ok", server.url("/here/x"));
    assert_eq!(outcome, Outcome::passing(expected));
    assert!(
        server.requests()[1].starts_with("GET /there HTTP/1.1\r\n"),
        "{:?}",
        server.requests()
    );

    let answer = "HTTP/1.1 307 Temporary Redirect\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n";
    let server = Canned::answering(answer, Then::Close).await;
    let mut http = get(server.url("/"));
    http.disable_redirects = true;
    assert_outcome(
        &run_http(http).await,
        Status::Critical,
        "307 Temporary Redirect",
    );
    assert_eq!(server.requests().len(), 1);

    let outcome = run_http(get(server.url("/"))).await;
    assert_outcome(&outcome, Status::Critical, "\": stopped after 10 redirects");
    assert_eq!(server.requests().len(), 1 + 11);
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_to_another_host() {
    let other = Canned::on("127.0.0.2:0", None, vec![OK.into()], Then::Close).await;
    let answer = format!(
        "HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n",
        other.url("/")
    );
    let server = Canned::answering(answer, Then::Close).await;
    let mut http = get(server.url("/"));
    http.headers = ["Authorization", "Cookie", "X-Kept"]
        .map(|name| (name.to_owned(), vec!["secret".to_owned()]))
        .into();
    assert_outcome(&run_http(http).await, Status::Passing, "");
    assert!(server.requests()[0].contains("Authorization: secret"));
    let followed = other.requests().remove(0);
    assert!(
        !followed.contains("Authorization") && !followed.contains("Cookie"),
        "{followed}"
    );
    assert!(followed.contains("X-Kept: secret"), "{followed}");
}

#[tokio::test]
async fn a_long_body_is_cut_and_an_endless_one_costs_no_more() {
    let body = "x".repeat(5000);
    let server = Canned::answering(format!("HTTP/1.0 200 OK\r\n\r\n{body}"), Then::Close).await;
    let outcome = run_http(get(server.url("/"))).await;
    let (_, shown) = outcome.output.split_once("Output: ").unwrap();
    assert_eq!(shown, "x".repeat(OUTPUT_BYTES_MAX));

    let server = Canned::answering("HTTP/1.1 200 OK\r\n\r\nxxxxxxxx", Then::Repeat).await;
    let started = std::time::Instant::now();
    let outcome = run_http(get(server.url("/"))).await;
    assert_outcome(&outcome, Status::Passing, "Output: xxxxxxxx");
    assert!(
        outcome.output.len() < 4300,
        "{} bytes",
        outcome.output.len()
    );
    assert!(
        started.elapsed() < PATIENCE / 2,
        "it read on to its time-out"
    );
}

#[tokio::test]
async fn a_body_that_stops_or_breaks_off_leaves_the_status_as_it_is() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
    let server = Canned::answering(answer, Then::Hang).await;
    let outcome = run(http_kind(get(server.url("/")), SHORT)).await;
    assert_outcome(
        &outcome,
        Status::Passing,
        "Output: half (the body did not end within 300ms)",
    );

    let server = Canned::answering(answer, Then::Close).await;
    let outcome = run_http(get(server.url("/"))).await;
    assert_outcome(
        &outcome,
        Status::Passing,
        "Output: half (the body broke off)",
    );
}

#[tokio::test]
async fn a_server_of_http_1_0_is_understood() {
    let server = Canned::answering("HTTP/1.0 200 OK\r\n\r\nold", Then::Close).await;
    let outcome = run_http(get(server.url("/"))).await;
    assert_outcome(&outcome, Status::Passing, "200 OK Output: old");
}

#[tokio::test]
async fn a_server_that_keeps_the_connection_does_not_hold_up_the_check() {
    let server = Canned::answering(OK, Then::Hang).await;
    let started = std::time::Instant::now();
    let outcome = run_http(get(server.url("/"))).await;
    assert_outcome(&outcome, Status::Passing, "200 OK Output: ok");
    assert!(
        started.elapsed() < PATIENCE / 2,
        "it waited for the other side to close"
    );
}

#[tokio::test]
async fn what_is_no_http_is_critical() {
    for (answer, words) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", "malformed HTTP response"),
        ("\0\x01\x02\x03", "malformed HTTP response"),
        ("", "EOF"),
        ("HTTP/1.1 200 OK\r\nX: y", "EOF"),
    ] {
        let server = Canned::answering(answer, Then::Close).await;
        let outcome = run_http(get(server.url("/"))).await;
        assert_outcome(&outcome, Status::Critical, words);
        assert!(
            outcome
                .output
                .starts_with(&format!("Get \"{}\": ", server.url("/"))),
            "{outcome:?}"
        );
    }
    let endless = Canned::answering("HTTP/1.1 200 OK\r\n", Then::Hang).await;
    drop(endless);
    let head = format!("HTTP/1.1 200 OK\r\n{}", "X-Long: y\r\n".repeat(20_000));
    let server = Canned::answering(head, Then::Close).await;
    assert_outcome(
        &run_http(get(server.url("/"))).await,
        Status::Critical,
        "malformed",
    );
}

#[tokio::test]
async fn refused_silent_and_unknown_are_told_apart() {
    let address = refusing().await;
    let outcome = run_http(get(format!("http://{address}/"))).await;
    let words =
        format!("Get \"http://{address}/\": dial tcp {address}: connect: connection refused");
    assert_eq!(outcome, Outcome::critical(words));

    let server = Canned::answering("", Then::Hang).await;
    let outcome = run(http_kind(get(server.url("/")), SHORT)).await;
    assert_outcome(
        &outcome,
        Status::Critical,
        "Client.Timeout exceeded while awaiting headers",
    );

    let outcome = run_http(get("http://nowhere.invalid/")).await;
    assert_outcome(
        &outcome,
        Status::Critical,
        "lookup nowhere.invalid: no such host",
    );

    for url in ["ftp://127.0.0.1/", "nonsense"] {
        let outcome = run_http(get(url)).await;
        assert_outcome(&outcome, Status::Critical, "unsupported protocol scheme");
    }
}

#[tokio::test]
async fn ipv6_and_names_of_this_machine_work() {
    let server = Canned::on("[::1]:0", None, vec![OK.into()], Then::Close).await;
    assert_outcome(
        &run_http(get(server.url("/"))).await,
        Status::Passing,
        "200 OK",
    );
    assert!(server.requests()[0].contains(&format!("Host: [::1]:{}\r\n", server.address.port())));

    // `localhost` leads to ::1 first on many machines; nothing listens there.
    let server = Canned::answering(OK, Then::Close).await;
    let url = format!("http://localhost:{}/", server.address.port());
    assert_outcome(&run_http(get(url)).await, Status::Passing, "200 OK");
}
