//! The rules behind the samples. Short rows: a request, the status, and a part of the body (or of a header).

use copyist_proto::connect::HealthState;

use crate::wire::Rest;

const NO_PATH: &str =
    "404 Not Found\nContent-Length: 49\n\n{\"error_code\":404,\"message\":\"HTTP 404 Not Found\"}";
const NO_MEDIA: &str = "415 Unsupported Media Type\nContent-Length: 62\n\n{\"error_code\":415,\"message\":\"HTTP 415 Unsupported Media Type\"}";
const NO_METHOD: &str = "405 Method Not Allowed\nContent-Length: 58\n\n{\"error_code\":405,\"message\":\"HTTP 405 Method Not Allowed\"}";
const NO_ACCEPT: &str =
    "406 Not Acceptable\nContent-Length: 54\n\n{\"error_code\":406,\"message\":\"HTTP 406 Not Acceptable\"}";
const CREATE_A: &str = "POST /connectors\n\n{\"name\":\"a\",\"config\":{\"connector.class\":\"C\"}}";

async fn with_a() -> Rest {
    let rest = Rest::start().await;
    assert!(rest.ask(CREATE_A).await.starts_with("201"));
    rest
}

/// Requests, the status of their answers, and what these contain.
async fn contains(rest: &Rest, rows: &[(&str, u16, &str)]) {
    for (request, status, part) in rows {
        let answer = rest.ask(request).await;
        assert!(answer.starts_with(&status.to_string()) && answer.contains(part), "{request}\n=> {answer}");
        if *status >= 400 {
            let start = format!("\n\n{{\"error_code\":{status},\"message\":\"");
            assert!(answer.contains(&start), "{request}\n=> {answer}");
        }
    }
}

#[tokio::test]
async fn paths() {
    let rest = with_a().await;
    contains(
        &rest,
        &[
            ("GET /connectors/", 200, "[\"a\"]"),
            ("GET /health/", 200, "healthy"),
            ("GET /connectors/a/", 200, "\"name\":\"a\""),
            ("GET /connectors/a/status/", 200, "RUNNING"),
            ("GET /connectors;x=1", 200, "[\"a\"]"),
            ("GET /connectors/a;colon", 200, "\"name\":\"a\""),
            ("GET /connectors/semi%3Bcolon", 404, "Connector semi;colon not found"),
            ("GET /connectors/a%2Fb", 404, "Connector a/b not found"),
            ("GET /connectors/100%2525", 404, "Connector 100%25 not found"),
            ("GET /connectors/a+b", 404, "Connector a+b not found"),
            ("GET /connectors/..", 404, "Connector .. not found"),
            ("GET /connectors/%20x", 404, "Connector  x not found"),
            ("GET /connectors/a?unknown=parameter", 200, "\"name\":\"a\""),
            ("GET http://connect:8083/connectors/a", 200, "\"name\":\"a\""),
            ("GET http://CONNECT:8083/connectors/a", 200, "\"name\":\"a\""),
            ("GET http://other:1/connectors/a", 400, "Host"),
            ("GET /connectors/a\nHost: -", 400, "Host"),
            ("GET /connectors/a\nHost: a\nHost: a", 400, "Host"),
            ("GET /connectors/%2E%2e", 404, "Connector .. not found"),
            ("GET /connectors/{b}|^[]\\~", 404, "Connector {b}|^[]\\\\~ not found"),
            ("GET /connectors/a?forward=false", 200, "\"name\":\"a\""),
            ("GET /connectors/%zz", 400, "%zz"),
            ("GET /connectors/a%", 400, "a%"),
            ("DELETE /connectors/%00", 400, "%00"),
            ("GET /connectors?expand=%zz", 400, "%zz"),
            ("GET /connectors/a/tasks/-1/status", 404, "No status found for task a--1"),
            ("GET /connectors/none/tasks/7/status", 404, "No status found for task none-7"),
        ],
    )
    .await;
    let unknown = [
        "//connectors",
        "/connectors//",
        "/Connectors",
        "/connectors/a/b",
        "/connectors//status",
        "/connectors/a/tasks//status",
        // Gone with Kafka 4.
        "/connectors/a/tasks-config",
        // Between workers of Connect.
        "/connectors/a/fence",
    ];
    for path in unknown {
        rest.check(&[(&format!("GET {path}"), NO_PATH)]).await;
    }
    let no_number = NO_PATH.replace("Content-Length", "Content-Type: application/json\nContent-Length");
    for request in ["GET /connectors/a/tasks/x/status", "POST /connectors/a/tasks/2147483648/restart"] {
        rest.check(&[(request, &no_number)]).await;
    }
}

#[tokio::test]
async fn methods() {
    let rest = with_a().await;
    rest.check(&[
        ("POST /", NO_METHOD),
        ("PUT /health", NO_METHOD),
        ("PUT /connectors", NO_METHOD),
        ("POST /connectors/a", NO_METHOD),
        ("DELETE /connectors/a/config", NO_METHOD),
        ("GET /connectors/a/pause", NO_METHOD),
        ("HEAD /connectors/a/pause", NO_METHOD.split("\n\n").next().expect("there is a head")),
        ("GET /connectors/a/restart", NO_METHOD),
        // Between workers of Connect.
        ("POST /connectors/a/tasks\n\n[]", NO_METHOD),
        ("PUT /connectors/a/fence\n\n{}", NO_PATH),
        ("GET /connectors/a/tasks/0/restart", NO_METHOD),
        ("TRACE /connectors", NO_METHOD),
        ("BREW /connectors", NO_METHOD),
        ("OPTIONS /nope", NO_PATH),
        ("OPTIONS *", NO_PATH),
        (
            "OPTIONS /connectors/a/config\nAccept: application/json",
            "200 OK\nContent-Type: application/json\nAllow: HEAD,GET,OPTIONS,PUT,PATCH\nContent-Length: 0",
        ),
        (
            "OPTIONS /connectors/a\nAccept: -",
            "200 OK\nContent-Type: text/plain\nAllow: DELETE,GET,HEAD,OPTIONS\nContent-Length: 26\n\nDELETE, GET, HEAD, OPTIONS",
        ),
        ("HEAD /connectors", "200 OK\nContent-Type: application/json\nContent-Length: 5"),
        ("HEAD /connectors/a/status", "200 OK\nContent-Type: application/json\nContent-Length: 193"),
    ])
    .await;
}

#[tokio::test]
async fn media_types() {
    let rest = with_a().await;
    let form = "Content-Type: application/x-www-form-urlencoded";
    for request in ["GET /connectors/a", "DELETE /connectors/a", "PUT /connectors/a/pause", "GET /connectors"]
    {
        rest.check(&[(&format!("{request}\n{form}"), NO_MEDIA)]).await;
    }
    let typed = NO_MEDIA.replace("Content-Length", "Content-Type: application/json\nContent-Length");
    rest.check(&[
        ("PATCH /connectors/a/config\nContent-Type: application/merge-patch+json\n\n{}", NO_MEDIA),
        ("POST /connectors\nContent-Type: -\n\n{}", &typed),
        ("GET /connectors/a\nAccept: application/vnd.api+json", NO_ACCEPT),
        ("GET /\nAccept: text/plain", NO_ACCEPT),
        // The path is looked at before the method, that before the Content-Type, that before Accept.
        ("GET /nope\nContent-Type: text/plain\nAccept: text/plain", NO_PATH),
        ("PUT /connectors\nContent-Type: text/plain\nAccept: text/plain", NO_METHOD),
        ("GET /connectors\nContent-Type: text/plain\nAccept: text/plain", NO_MEDIA),
        (
            "PUT /connectors/a/pause\nContent-Type: application/JSON; charset=utf-8\n\ngarbage",
            "202 Accepted\nContent-Length: 0",
        ),
        ("PUT /connectors/a/pause\nContent-Type: -\n\ngarbage", "202 Accepted\nContent-Length: 0"),
        (
            "GET /connectors\nAccept: application/json;charset=utf-8",
            "200 OK\nContent-Type: application/json;charset=utf-8\nContent-Length: 5\n\n[\"a\"]",
        ),
    ])
    .await;
    contains(
        &rest,
        &[
            ("GET /\nContent-Type: text/plain", 200, "version"),
            ("GET /health\nContent-Type: text/plain", 200, "healthy"),
            ("GET /connectors\nAccept: -", 200, "a"),
            ("GET /connectors\nAccept: text/html,*/*;q=0.8", 200, "a"),
            ("GET /connectors\nContent-Type: garbage", 400, "not a media type"),
            ("POST /connectors\nContent-Type: -", 400, "no body"),
        ],
    )
    .await;
}

#[tokio::test]
async fn bodies() {
    let rest = with_a().await;
    contains(
        &rest,
        &[
            ("POST /connectors\n\n{\"name\":", 400, "not valid JSON: EOF while parsing a value at line 1 column 8"),
            ("POST /connectors\n\n{\"name\":1,\n\"x\" 2}", 400, "at line 2 column 5"),
            ("POST /connectors\n\n{} {}", 400, "trailing characters at line 1 column 4"),
            ("POST /connectors\n\n[]", 400, "The request body is an array"),
            ("POST /connectors\n\nnull", 400, "The request body is null"),
            ("POST /connectors\n\n{\"name\":\"b\"}", 400, "\\\"config\\\" is missing or null"),
            ("POST /connectors\n\n{\"name\":\"b\",\"config\":{},\"foo\":1}", 400, "Unknown field \\\"foo\\\""),
            ("POST /connectors\n\n{\"name\":\"b\",\"config\":{\"a\":{}}}", 400, "\\\"a\\\" is an object"),
            ("POST /connectors\n\n{\"name\":\"b\",\"config\":{},\"initial_state\":\"WHAT\"}", 400, "WHAT"),
            ("POST /connectors\n\n{\"name\":\" \",\"config\":{}}", 400, "may not be empty"),
            ("POST /connectors\n\n{\"config\":{}}", 400, "may not be empty"),
            ("PUT /connectors/a/config", 400, "no body"),
            ("PUT /connectors/a/config\n\n{\"name\":\"a\",\"config\":{}}", 400, "is the whole body"),
            ("PUT /connectors/a/config\n\n{\"a\":null}", 400, "Null value can not be supplied"),
            ("PATCH /connectors/a/config\n\nnull", 400, "The request body is null"),
            ("PATCH /connectors/a/config\n\n[]", 400, "is an array"),
            ("PATCH /connectors/none/config\n\n{}", 404, "Connector none not found"),
            ("PATCH /connectors/none/config\n\nnull", 404, "Connector none not found"),
            ("PATCH /connectors/none/config", 404, "Connector none not found"),
            ("PATCH /connectors/a/config\n\n{}", 200, "\"name\":\"a\""),
            ("POST /connectors\n\n{\"name\":\" b \",\"config\":{\"connector.class\":\"C\"},\"initial_state\":\"paused\"}", 201, "\"name\":\"b\""),
            ("GET /connectors/b/status", 200, "\"state\":\"PAUSED\""),
            ("POST /connectors\n\n\u{FEFF}{\"name\":\"bom\",\"config\":{\"connector.class\":\"C\"}}", 201, "bom"),
        ],
    )
    .await;
    let sent = "PUT /connectors/a/config\n\n{\"z\":1.50,\"connector.class\":\"C\",\"y\":1e3,\"x\":null,\"z\":true,\"w\":\"ñ\"}";
    assert!(rest.ask(sent).await.starts_with("400"), "the null is refused behind the gateway");
    let received = rest.double.kept().configs.last().cloned().expect("the config was sent on");
    let received: Vec<_> = received.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
    let expected = [
        ("z", Some("true")),
        ("connector.class", Some("C")),
        ("y", Some("1e3")),
        ("x", None),
        ("w", Some("ñ")),
    ];
    assert_eq!(received, expected);
}

#[tokio::test]
async fn large_bodies() {
    let rest = Rest::start().await;
    let body = |bytes: usize| {
        format!("{{\"name\":\"big\",\"config\":{{\"connector.class\":\"{}\"}}}}", "C".repeat(bytes))
    };
    contains(
        &rest,
        &[
            (&format!("POST /connectors\n\n{}", body(19_999_900)), 201, "big"),
            (&format!("POST /connectors\n\n{}", body(40 << 20)), 413, "larger than 20000000 bytes"),
            ("POST /connectors\nTransfer-Encoding: chunked\nContent-Length: -\n\n3\r\n{\"n\r\n8\r\name\":\"b\"\r\n1\r\n}\r\n0\r\n\r\n", 400, "config"),
            ("POST /connectors\nExpect: 100-continue\n\n{\"name\":\"b\"}", 100, "config"),
        ],
    )
    .await;
}

#[tokio::test]
async fn any_name_can_be_created_read_and_deleted() {
    let rest = Rest::start().await;
    let names = [
        ("a b", "a%20b"),
        ("ñ", "%C3%B1"),
        ("😀", "%F0%9F%98%80"),
        ("+?#&=:@", "+%3F%23&=:@"),
        ("\\\"'[]<>;{}^|", "%22'%5B%5D%3C%3E%3B%7B%7D%5E%7C"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("a/b", "a%2Fb"),
        ("100%25", "100%2525"),
        ("a\\\\b", "a%5Cb"),
        ("{b}", "%7Bb%7D"),
        ("x-1-2", "x-1-2"),
        (&"n".repeat(300), &"n".repeat(300)),
    ];
    for (json, encoded) in names {
        let create =
            format!("POST /connectors\n\n{{\"name\":\"{json}\",\"config\":{{\"connector.class\":\"C\"}}}}");
        let name = format!("\"name\":\"{json}\"");
        contains(
            &rest,
            &[
                (&create, 201, &format!("Location: http://connect:8083/connectors/{encoded}\n")),
                (&format!("GET /connectors/{encoded}"), 200, &name),
                (&format!("GET /connectors/{encoded}/tasks/0/status"), 200, "\"id\":0"),
                (&format!("DELETE /connectors/{encoded}"), 204, ""),
                (&format!("GET /connectors/{encoded}"), 404, "not found"),
            ],
        )
        .await;
    }
}

#[tokio::test]
async fn query_parameters() {
    let rest = with_a().await;
    contains(
        &rest,
        &[
            ("GET /connectors?expand=foo", 200, "{\"a\":{}}"),
            ("GET /connectors?expand=INFO", 200, "{\"a\":{}}"),
            ("GET /connectors?expand=info,status", 200, "{\"a\":{}}"),
            ("GET /connectors?expand=", 200, "{\"a\":{}}"),
            (
                "GET /connectors?expand=status&expand=x",
                200,
                "{\"a\":{\"status\":{\"name\":\"a\",\"connector\"",
            ),
            ("GET /connectors?expand=info", 200, "{\"a\":{\"info\":{\"name\":\"a\",\"config\""),
            ("POST /connectors/a/restart?includeTasks=TRUE", 202, "RESTARTING"),
            ("POST /connectors/a/restart?includeTasks=yes&onlyFailed=1", 204, ""),
            ("POST /connectors/a/restart?onlyFailed=true&includeTasks=false", 202, "RUNNING"),
            ("POST /connectors/none/restart", 404, "Unknown connector: none"),
            ("PUT /connectors/none/pause", 404, "Unknown connector none"),
        ],
    )
    .await;
    let restarts = rest.double.kept().restarts.clone();
    assert_eq!(restarts, [(true, false), (false, false), (false, true), (false, false)]);
}

#[tokio::test]
async fn errors_of_the_service() {
    let rest = Rest::start().await;
    let rows = [(3, 400), (5, 404), (6, 409), (9, 400), (10, 409), (12, 501), (13, 500), (8, 500)];
    for (code, status) in rows {
        let row = (&*format!("GET /connectors/fail:{code}"), status, &*format!("the text of {code}"));
        contains(&rest, &[row]).await;
    }
    contains(&rest, &[("GET /connectors/fail:4", 500, "\"Request timed out\"")]).await;
    for (state, status, expected) in [
        (
            HealthState::Starting,
            503,
            "{\"status\":\"starting\",\"message\":\"Worker is still starting up.\"}",
        ),
        (
            HealthState::Unhealthy,
            500,
            "{\"status\":\"unhealthy\",\"message\":\"Worker was unable to handle this request.\"}",
        ),
        (HealthState::Unspecified, 500, "GetHealthResponse lacks state"),
    ] {
        rest.double.kept().health = state;
        let answer = rest.ask("GET /health").await;
        assert!(answer.starts_with(&status.to_string()) && answer.contains(expected), "{answer}");
    }
}

#[tokio::test]
async fn each_write_has_an_id_of_its_own() {
    let rest = with_a().await;
    let config = "\n\n{\"connector.class\":\"C\"}";
    let writes = [
        format!("PUT /connectors/a/config{config}"),
        format!("PUT /connectors/a/config{config}"),
        format!("PATCH /connectors/a/config{config}"),
        "PUT /connectors/a/pause".to_owned(),
        "PUT /connectors/a/resume".to_owned(),
        "PUT /connectors/a/stop".to_owned(),
        "DELETE /connectors/a".to_owned(),
    ];
    for write in &writes {
        assert!(rest.ask(write).await.starts_with('2'), "{write}");
    }
    let mut ids = rest.double.kept().request_ids.clone();
    assert!(ids.iter().all(|id| id.len() == 36), "{ids:?}");
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 1 + writes.len(), "with the one of the creation");
}

#[tokio::test]
async fn without_a_host_a_location_is_relative() {
    let rest = Rest::start().await;
    let body = "{\"name\":\"a\",\"config\":{\"connector.class\":\"C\"}}";
    let head = format!("Content-Type: application/json\r\nContent-Length: {}", body.len());
    let answer = rest.raw(format!("POST /connectors HTTP/1.0\r\n{head}\r\n\r\n{body}").into_bytes()).await;
    assert!(
        answer.contains(" 201 Created\r\n") && answer.contains("Location: /connectors/a\r\n"),
        "{answer}"
    );
}
