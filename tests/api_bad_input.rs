//! Requests that are too large, cut off, oddly spelt or no requests at all: each gets a clear answer, changes nothing,
//! and leaves the server as it was.

use std::time::Duration;

use harness::server::Scratch;
use harness::{Connection, Request, Response, Server, Settings, wait_for};

/// The largest value: 512 KiB, as Consul's.
const VALUE_LIMIT: usize = 512 * 1024;

fn single() -> (Server, Scratch) {
    let scratch = Scratch::new();
    let mut server = Server::new(Settings::single(scratch.path()), scratch.path());
    server.start_and_wait();
    (server, scratch)
}

fn connect(server: &Server) -> Connection {
    let connection = server.connect().expect("the server must take connections");
    connection
        .set_timeout(Duration::from_secs(20))
        .expect("a socket must take a timeout");
    connection
}

/// The server is alive, and this key was never written.
fn assert_untouched(server: &Server, key: &str) {
    assert_eq!(
        server.get(&format!("/v1/kv/{key}")).status,
        404,
        "{key} was written"
    );
}

fn assert_refused(answer: &Response, status: u16) {
    assert_eq!(answer.status, status, "{}", answer.text());
}

#[test]
fn a_value_over_the_limit_is_413_however_its_length_is_told() {
    let (server, _scratch) = single();
    assert_eq!(
        server.put("/v1/kv/largest", vec![b'v'; VALUE_LIMIT]).status,
        200
    );
    assert_eq!(server.get("/v1/kv/largest?raw").body.len(), VALUE_LIMIT);
    let answer = server.put("/v1/kv/toolarge", vec![b'v'; VALUE_LIMIT + 1]);
    assert_refused(&answer, 413);
    assert!(
        answer.text().contains("too large, max size: 524288 bytes"),
        "{}",
        answer.text()
    );
    // Without a length: the limit must hold while the body comes in.
    let mut connection = connect(&server);
    let head = "PUT /v1/kv/toolarge HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
    connection
        .write(head.as_bytes())
        .expect("the head must be taken");
    let chunk = format!("10000\r\n{}\r\n", "v".repeat(0x10000));
    for _ in 0..9 {
        // The server may close as soon as the limit is passed.
        if connection.write(chunk.as_bytes()).is_err() {
            break;
        }
    }
    let _ = connection.write(b"0\r\n\r\n");
    assert_refused(
        &connection
            .read("PUT")
            .expect("a body over the limit must be answered"),
        413,
    );
    assert_untouched(&server, "toolarge");
}

#[test]
fn a_length_of_terabytes_is_413_before_a_byte_of_it_is_read() {
    let (server, _scratch) = single();
    let mut connection = connect(&server);
    let head = "PUT /v1/kv/huge HTTP/1.1\r\nHost: t\r\nContent-Length: 9999999999999\r\n\r\n";
    connection
        .write(head.as_bytes())
        .expect("the head must be taken");
    assert_refused(
        &connection.read("PUT").expect("it must be answered at once"),
        413,
    );
    assert_untouched(&server, "huge");
}

#[test]
fn a_body_that_stops_half_way_writes_nothing() {
    let (server, _scratch) = single();
    for (key, head) in [
        ("half", "Content-Length: 100\r\n\r\nonly this much"),
        (
            "chunked",
            "Transfer-Encoding: chunked\r\n\r\n64\r\nonly this much",
        ),
    ] {
        let mut connection = connect(&server);
        let request = format!("PUT /v1/kv/{key} HTTP/1.1\r\nHost: t\r\n{head}");
        connection
            .write(request.as_bytes())
            .expect("half a request must be taken");
        connection
            .finish_writing()
            .expect("a socket must be closable");
        // An answer of 400, or none at all: nobody may be there to read it. Never a success.
        if let Ok(answer) = connection.read("PUT") {
            assert_refused(&answer, 400);
        }
        assert_untouched(&server, key);
    }
}

#[test]
fn a_header_over_the_limit_is_431_and_a_path_over_it_414() {
    let (server, _scratch) = single();
    let large = "x".repeat(2 << 20);
    let answer = server.try_send(&Request::new("GET", "/v1/kv/a").header("X-Large", &large));
    // The server may hang up while we still write.
    if let Ok(answer) = answer {
        assert_refused(&answer, 431);
    }
    let mut many = Request::new("GET", "/v1/kv/a");
    for number in 0..500 {
        many = many.header(&format!("X-Header-{number}"), "value");
    }
    assert_refused(&server.send(&many), 431);
    let answer = server.send(&Request::new(
        "GET",
        &format!("/v1/kv/{}", "p".repeat(70_000)),
    ));
    assert!(
        matches!(answer.status, 414 | 431),
        "{} {}",
        answer.status,
        answer.text()
    );
    assert_untouched(&server, "a");
}

#[test]
fn bytes_that_are_no_http_are_answered_400_or_hung_up_on() {
    let (server, _scratch) = single();
    for garbage in [
        "\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03 a TLS hello\r\n\r\n",
        "GET\r\n\r\n",
        "\r\n\0\0\0\r\n\r\n",
    ] {
        let mut connection = connect(&server);
        connection
            .write(garbage.as_bytes())
            .expect("bytes must be taken");
        let _ = connection.finish_writing();
        if let Ok(answer) = connection.read("GET") {
            assert_refused(&answer, 400);
        }
        assert_untouched(&server, "a");
    }
}

#[test]
fn ids_may_hold_slashes_and_colons_raw_or_escaped() {
    let (server, _scratch) = single();
    for (spelt, key) in [
        ("scope/name:8080", "scope/name:8080"),
        ("scope%2Fname:8081", "scope/name:8081"),
        ("scope%2fname%3A8082", "scope/name:8082"),
        ("host:container:80:udp", "host:container:80:udp"),
        ("a%20b/c%25d", "a b/c%d"),
        ("%C3%A4/%E2%82%AC", "ä/€"),
    ] {
        assert_eq!(
            server.put(&format!("/v1/kv/{spelt}"), "v").text().trim(),
            "true"
        );
        let answer = server.get(&format!("/v1/kv/{spelt}"));
        assert_eq!(answer.json()[0]["Key"], key, "spelt {spelt}");
    }
    for spelt in ["a/b:c", "a%2Fb:c", "a%2Fb%3Ac"] {
        let answer = server.put(&format!("/v1/session/renew/{spelt}"), "");
        assert_refused(&answer, 404);
        assert_eq!(
            answer.text(),
            "Session id 'a/b:c' not found",
            "spelt {spelt}"
        );
        assert_eq!(
            server
                .get(&format!("/v1/session/info/{spelt}"))
                .text()
                .trim(),
            "[]"
        );
        assert_eq!(
            server
                .get(&format!("/v1/session/node/{spelt}"))
                .text()
                .trim(),
            "[]"
        );
    }
}

#[test]
fn http_1_0_gets_a_length_and_no_chunks() {
    let (server, _scratch) = single();
    server.put("/v1/kv/upstreams/web/1", "x".repeat(100_000));
    // As nginx-upsync asks.
    let mut connection = connect(&server);
    let request = Request::new("GET", "/v1/kv/upstreams/web/?recurse&index=0").http_1_0();
    let answer = connection
        .send(&request)
        .expect("HTTP/1.0 must be answered");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("Transfer-Encoding"), None);
    assert_eq!(
        answer.header("Content-Length"),
        Some(answer.body.len().to_string().as_str())
    );
    assert!(
        answer
            .headers
            .iter()
            .any(|(name, _)| name == "X-Consul-Index"),
        "{:?}",
        answer.headers
    );
    // Without `Connection: keep-alive` the server closes.
    assert_eq!(
        connection.read_raw(1).expect("the end must be seen"),
        Vec::<u8>::new()
    );
    let mut connection = connect(&server);
    let kept = Request::new("GET", "/v1/kv/missing")
        .http_1_0()
        .header("Connection", "keep-alive");
    assert_eq!(
        connection
            .send(&kept)
            .expect("the first must be answered")
            .status,
        404
    );
    assert_eq!(
        connection
            .send(&kept)
            .expect("the second must be answered")
            .status,
        404
    );
}

#[test]
fn http_2_with_prior_knowledge_is_spoken_on_the_same_port() {
    let (server, _scratch) = single();
    server.put("/v1/kv/two", "over HTTP/2");
    let mut connection = connect(&server);
    let path = b"/v1/kv/two?raw";
    // HPACK: :method GET and :scheme http are indexed, :path and :authority literal with an indexed name.
    let mut block = vec![
        0x82,
        0x86,
        0x04,
        u8::try_from(path.len()).expect("a short path"),
    ];
    block.extend_from_slice(path);
    block.extend_from_slice(&[0x01, 1, b't']);
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    bytes.extend(frame(1, 0x05, 1, &block));
    connection.write(&bytes).expect("the preface must be taken");
    let mut received = Vec::new();
    let found = wait_for("an answer over HTTP/2", Duration::from_secs(20), || {
        received.extend(
            connection
                .read_raw(65_536)
                .expect("the connection must stay open"),
        );
        let frames = frames(&received);
        let status = frames
            .iter()
            .find(|(kind, _)| *kind == 1)
            .and_then(|(_, body)| body.first().copied());
        let data = frames
            .iter()
            .find(|(kind, body)| *kind == 0 && !body.is_empty());
        match (status, data) {
            (Some(status), Some((_, body))) => Ok((status, body.clone())),
            _ => Err(format!("{frames:?}")),
        }
    });
    // 0x88 is `:status 200` in HPACK's static table.
    assert_eq!(found, (0x88, b"over HTTP/2".to_vec()));
}

fn frame(kind: u8, flags: u8, stream: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len())
        .expect("a short frame")
        .to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// The whole frames so far, as type and body.
fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while bytes.len() >= 9 {
        let length =
            usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2]);
        if bytes.len() < 9 + length {
            break;
        }
        frames.push((bytes[3], bytes[9..9 + length].to_vec()));
        bytes = &bytes[9 + length..];
    }
    frames
}

#[test]
fn odd_numbers_and_durations_are_400_or_bounded() {
    let (server, _scratch) = single();
    for query in [
        "index=18446744073709551616",
        "index=-1",
        "index=1&wait=5",
        "index=1&wait=1parsec",
        "wait=-",
    ] {
        let answer = server.get(&format!("/v1/kv/a?{query}"));
        assert_refused(&answer, 400);
    }
    // The largest index there is, with the longest of waits: it parks, and a client that hangs up is no trouble.
    for _ in 0..10 {
        let mut connection = connect(&server);
        let request =
            "GET /v1/kv/a?index=18446744073709551615&wait=99999h HTTP/1.1\r\nHost: t\r\n\r\n";
        connection
            .write(request.as_bytes())
            .expect("the request must be taken");
    }
    for cas in ["-1", "x", "18446744073709551616"] {
        let answer = server.put(&format!("/v1/kv/a?cas={cas}"), "v");
        assert!(matches!(answer.status, 400 | 500), "{}", answer.status);
    }
    assert_untouched(&server, "a");
}

#[test]
fn json_that_is_deep_or_broken_or_of_the_wrong_kind_is_400() {
    let (server, _scratch) = single();
    let deep = "[".repeat(100_000);
    for body in [
        deep.as_str(),
        "{",
        "[1]",
        "[{\"KV\": 7}]",
        "\u{feff}[]",
        "nul",
    ] {
        let answer = server.put("/v1/txn", body);
        assert_refused(&answer, 400);
    }
    // Sessions are small: their body may have 64 KiB.
    for body in [&deep[..60_000], "{\"TTL\": 7.5}", "{\"Name\": []}", "[]"] {
        let answer = server.put("/v1/session/create", body);
        assert_refused(&answer, 400);
    }
    assert_eq!(server.get("/v1/session/list").text().trim(), "[]");
}

#[test]
fn registrations_and_definitions_that_make_no_sense_are_refused_in_consuls_words() {
    let (server, _scratch) = single();
    let before = server.get("/v1/catalog/nodes").text();
    for (path, body, status, words) in [
        ("catalog/register", "", 400, "Request decode failed: EOF"),
        (
            "catalog/register",
            "[]",
            400,
            "Request decode failed: json: cannot unmarshal array into Go value",
        ),
        (
            "catalog/register",
            r#"{"Node": 7}"#,
            400,
            "Request decode failed: json: cannot unmarshal number",
        ),
        (
            "catalog/register",
            r#"{"Node": "n", "Service": {"Port": 70000}}"#,
            400,
            "Request decode failed",
        ),
        (
            "catalog/register",
            r#"{"Node": "n", "Address": "a", "ID": "7"}"#,
            500,
            "Bad node ID: uuid string is wrong length",
        ),
        (
            "catalog/register",
            r#"{"Node": "n", "Address": "a", "ID": "zzzzzzzz-0000-0000-0000-000000000000"}"#,
            500,
            "Bad node ID: encoding/hex: invalid byte: U+007A 'z'",
        ),
        (
            "catalog/register",
            r#"{"Node": "n", "Address": "a", "Service": {"ID": "x"}}"#,
            500,
            "Must provide service name (Service.Service) when service ID is provided",
        ),
        (
            "catalog/register",
            r#"{"Node": "n", "Address": "a", "Service": {"Service": "x", "Address": "0.0.0.0"}}"#,
            500,
            "Invalid service address",
        ),
        (
            "catalog/register",
            r#"{"Node": "n", "Address": "a", "Check": {"Node": "m", "Name": "c"}}"#,
            500,
            "Node 'm' for check 'c' doesn't match register request node 'n'",
        ),
        (
            "catalog/register",
            r#"{"Node": "n", "Address": "a", "PeerName": "p"}"#,
            500,
            "cannot register requests with PeerName",
        ),
        (
            "catalog/deregister",
            "{",
            400,
            "Request decode failed: unexpected EOF",
        ),
        (
            "catalog/deregister",
            r#"{"Datacenter": "nope", "Node": "n"}"#,
            500,
            "No path to datacenter",
        ),
        (
            "query/x",
            "{}",
            500,
            "Invalid prepared query: Must be bound to a session",
        ),
        (
            "query/x",
            r#"{"Name": "q"}"#,
            500,
            "Invalid prepared query: Must provide a Service name to query",
        ),
    ] {
        let answer = server.put(&format!("/v1/{path}"), body);
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text());
        assert!(
            answer.text().starts_with(words),
            "{path} {body}: {}",
            answer.text()
        );
    }
    let large = server.put("/v1/catalog/register", vec![b' '; VALUE_LIMIT + 1]);
    assert_refused(&large, 413);
    assert_eq!(server.get("/v1/catalog/nodes").text(), before);
    assert_eq!(server.get("/v1/query").text(), "[]");
}
