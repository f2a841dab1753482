//! `/admin/loggers`, as Kafka Connect 4.3.1 answers.

use copyist_gateway::Surface;

use crate::wire::Rest;

fn ok(body: &str) -> String {
    format!("200 OK\nContent-Type: application/json\nContent-Length: {}\n\n{body}", body.len())
}

fn error(status: &str, message: &str) -> String {
    let code = &status[..3];
    let body = format!("{{\"error_code\":{code},\"message\":\"{message}\"}}");
    format!("{status}\nContent-Type: application/json\nContent-Length: {}\n\n{body}", body.len())
}

#[tokio::test]
async fn levels_are_shown_and_set_in_this_process() {
    let rest = Rest::start().await;
    let not_specified = error("400 Bad Request", "Desired 'level' parameter was not specified in request.");
    rest.check(&[
        (
            "GET /admin/loggers",
            &ok(r#"{"h2":{"level":"WARN","last_modified":null},"root":{"level":"INFO","last_modified":null}}"#),
        ),
        ("GET /admin/loggers/root", &ok(r#"{"level":"INFO","last_modified":null}"#)),
        ("GET /admin/loggers/ROOT/", &ok(r#"{"level":"INFO","last_modified":null}"#)),
        ("GET /admin/loggers/no.such", &error("404 Not Found", "Logger no.such not found.")),
        ("PUT /admin/loggers/x.y\n\n{\"level\":\"debug\"}", &ok(r#"["x.y"]"#)),
        ("PUT /admin/loggers/x.y\n\n{\"level\":\"DEBUG\",\"other\":1}", &ok("[]")),
        ("PUT /admin/loggers/x%3A%3Ay?scope=worker\n\n{\"level\":\"OFF\"}", &ok(r#"["x.y"]"#)),
        ("PUT /admin/loggers/root?scope=nonsense\n\n{\"level\":\"fatal\"}", &ok(r#"["h2","root","x.y"]"#)),
        ("PUT /admin/loggers/x.y\n\n{\"level\":\"HIGH\"}", &error("404 Not Found", "invalid log level 'HIGH'.")),
        ("PUT /admin/loggers/x.y\n\n{\"level\":null}", &not_specified),
        ("PUT /admin/loggers/x.y\n\n{}", &not_specified),
    ])
    .await;
    let shown = rest.ask("GET /admin/loggers/h2").await;
    let modified = shown.split("\"last_modified\":").nth(1).and_then(|rest| rest.strip_suffix('}'));
    assert!(shown.contains("\"level\":\"FATAL\"") && modified.is_some_and(|at| at.len() == 13), "{shown}");
    for (request, status) in [
        ("PUT /admin/loggers/x", "400"),
        ("PUT /admin/loggers/x\n\n[]", "400"),
        ("PUT /admin/loggers/x\nContent-Type: text/plain\n\n{\"level\":\"INFO\"}", "415"),
        ("DELETE /admin/loggers/x", "405"),
        ("POST /admin/loggers", "405"),
        ("GET /admin", "404"),
        ("GET /admin/loggers/a/b", "404"),
        ("HEAD /admin/loggers", "200"),
        ("OPTIONS /admin/loggers/x", "200"),
    ] {
        let answer = rest.ask(request).await;
        assert!(answer.starts_with(status), "{request}\n=> {answer}");
    }
    assert!(rest.double.kept().loggers.is_empty(), "nobody else was told");
}

#[tokio::test]
async fn the_cluster_is_told_as_long_as_somebody_leads_it() {
    let rest = Rest::start().await;
    let set = "PUT /admin/loggers/copyist_agent.driver?scope=Cluster\n\n{\"level\":\"trace\"}";
    let answer = rest.ask(set).await;
    assert!(answer.starts_with("409") && answer.contains("no known leader URL"), "{answer}");
    rest.double.kept().agents = Some(0);
    assert_eq!(rest.ask(set).await, "204 No Content\n\n");
    let told = ("copyist_agent.driver".to_owned(), "TRACE".to_owned(), true);
    assert_eq!(rest.double.kept().loggers, [told.clone(), told]);
    let own = rest.ask("GET /admin/loggers/copyist_agent.driver").await;
    assert!(own.contains("TRACE"), "this process is a part of the cluster: {own}");
    for (body, status) in [("{\"level\":\"HIGH\"}", "404"), ("{}", "400")] {
        let answer = rest.ask(&format!("PUT /admin/loggers/x?scope=cluster\n\n{body}")).await;
        assert!(answer.starts_with(status), "{answer}");
    }
    assert_eq!(rest.double.kept().loggers.len(), 2, "a mistake is nobody's level");
}

#[tokio::test]
async fn administration_is_where_the_settings_say() {
    let rows = [
        (Surface::Everything, "200", "200"),
        (Surface::WithoutAdministration, "404", "200"),
        (Surface::AdministrationAlone, "200", "404"),
    ];
    for (surface, admin, other) in rows {
        let rest = Rest::with(surface).await;
        for (request, status) in [
            ("GET /admin/loggers", admin),
            ("GET /admin/loggers/root", admin),
            ("OPTIONS /admin/loggers", admin),
            ("GET /connectors", other),
            ("GET /", other),
        ] {
            let answer = rest.ask(request).await;
            assert!(answer.starts_with(status), "{surface:?} {request}\n=> {answer}");
        }
    }
}
