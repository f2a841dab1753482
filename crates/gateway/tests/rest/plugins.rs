//! Plugins and validation: what the double knows of them, and literal answers of Kafka Connect 4.3.1, with `order` beside
//! `order_in_group`, and `warnings` where there are any.

use copyist_proto::connect::*;
use tonic::Status;

use crate::wire::Rest;

const CLASS: &str = "org.apache.kafka.connect.file.FileStreamSourceConnector";

pub fn list(request: &ListPluginsRequest) -> ListPluginsResponse {
    let plugin = |class: &str, kind: &str| Plugin {
        class: class.to_owned(),
        r#type: kind.to_owned(),
        version: "4.3.1".to_owned(),
    };
    let mut plugins = vec![plugin(CLASS, "source")];
    if !request.connectors_only {
        plugins.push(plugin("org.apache.kafka.connect.converters.ByteArrayConverter", "converter"));
    }
    ListPluginsResponse { plugins }
}

pub fn config(request: &GetPluginConfigRequest) -> Result<GetPluginConfigResponse, Status> {
    match (request.plugin.as_str(), request.version.as_deref()) {
        (CLASS | "a/b", None | Some("")) => Ok(GetPluginConfigResponse { keys: vec![batch_size(), name()] }),
        (CLASS, Some(version)) => Err(Status::invalid_argument(format!("no version {version}"))),
        (plugin, _) => Err(Status::not_found(format!("Unknown plugin {plugin}."))),
    }
}

pub fn validate(request: ValidateConfigRequest) -> Result<ValidateConfigResponse, Status> {
    let ValidateConfigRequest { plugin, config } = request;
    let Some(class) = config.iter().find(|entry| entry.key == "connector.class") else {
        return Err(Status::invalid_argument("Connector config {} contains no connector type"));
    };
    let null = config.iter().find(|entry| entry.value.is_none()).map(|entry| ValidatedKey {
        definition: None,
        name: entry.key.clone(),
        errors: vec!["Null value can not be supplied as the configuration value.".to_owned()],
        ..ValidatedKey::default()
    });
    let name = ValidatedKey {
        definition: Some(name()),
        name: "name".to_owned(),
        value: Some("a".to_owned()),
        recommended_values: vec!["a".to_owned(), "b".to_owned()],
        errors: Vec::new(),
    };
    let warnings = if plugin == "warned" { vec!["unknown key \"x\"".to_owned()] } else { Vec::new() };
    Ok(ValidateConfigResponse {
        name: class.value.clone().unwrap_or_default(),
        error_count: u32::from(null.is_some()),
        groups: vec!["Common".to_owned()],
        keys: null.into_iter().chain([name]).collect(),
        warnings,
    })
}

fn batch_size() -> ConfigKey {
    ConfigKey {
        name: "batch.size".to_owned(),
        r#type: "INT".to_owned(),
        default_value: Some("2000".to_owned()),
        importance: "LOW".to_owned(),
        documentation: "...".to_owned(),
        order_in_group: -1,
        width: "NONE".to_owned(),
        display_name: "batch.size".to_owned(),
        ..ConfigKey::default()
    }
}

fn name() -> ConfigKey {
    ConfigKey {
        name: "name".to_owned(),
        r#type: "STRING".to_owned(),
        required: true,
        default_value: None,
        importance: "HIGH".to_owned(),
        documentation: "Globally unique name to use for this connector.".to_owned(),
        group: Some("Common".to_owned()),
        order_in_group: 1,
        width: "MEDIUM".to_owned(),
        display_name: "Connector name".to_owned(),
        dependents: vec!["batch.size".to_owned()],
    }
}

const BATCH_SIZE_JSON: &str = r#"{"name":"batch.size","type":"INT","required":false,"default_value":"2000","importance":"LOW","documentation":"...","group":null,"order_in_group":-1,"width":"NONE","display_name":"batch.size","dependents":[],"order":-1}"#;
const NAME_JSON: &str = r#"{"name":"name","type":"STRING","required":true,"default_value":null,"importance":"HIGH","documentation":"Globally unique name to use for this connector.","group":"Common","order_in_group":1,"width":"MEDIUM","display_name":"Connector name","dependents":["batch.size"],"order":1}"#;

fn json(status: &str, body: &str) -> String {
    format!("{status}\nContent-Type: application/json\nContent-Length: {}\n\n{body}", body.len())
}

#[tokio::test]
async fn plugins_are_listed() {
    let rest = Rest::start().await;
    let source = format!(r#"{{"class":"{CLASS}","type":"source","version":"4.3.1"}}"#);
    let converter = r#"{"class":"org.apache.kafka.connect.converters.ByteArrayConverter","type":"converter","version":"4.3.1"}"#;
    let connectors = json("200 OK", &format!("[{source}]"));
    let all = json("200 OK", &format!("[{source},{converter}]"));
    for path in ["", "/", "?connectorsOnly=true", "?connectorsOnly=TRUE", "?x=false"] {
        rest.check(&[(&format!("GET /connector-plugins{path}"), &connectors)]).await;
    }
    for path in ["?connectorsOnly=false", "?connectorsOnly=no", "?connectorsOnly"] {
        rest.check(&[(&format!("GET /connector-plugins{path}"), &all)]).await;
    }
}

#[tokio::test]
async fn a_plugin_tells_its_keys() {
    let rest = Rest::start().await;
    let keys = json("200 OK", &format!("[{BATCH_SIZE_JSON},{NAME_JSON}]"));
    let unknown = json("404 Not Found", r#"{"error_code":404,"message":"Unknown plugin nope."}"#);
    let version = json("400 Bad Request", r#"{"error_code":400,"message":"no version [4.0,)"}"#);
    rest.check(&[
        (&format!("GET /connector-plugins/{CLASS}/config"), &keys),
        (&format!("GET /connector-plugins/{CLASS}/config?version="), &keys),
        ("GET /connector-plugins/a%2Fb/config", &keys),
        ("GET /connector-plugins/nope/config", &unknown),
        (&format!("GET /connector-plugins/{CLASS}/config?version=%5B4.0,)"), &version),
    ])
    .await;
}

#[tokio::test]
async fn a_validation_is_connects_document() {
    let rest = Rest::start().await;
    let name = format!(
        r#"{{"definition":{NAME_JSON},"value":{{"name":"name","value":"a","recommended_values":["a","b"],"errors":[],"visible":true}}}}"#
    );
    let null = r#"{"definition":null,"value":{"name":"x","value":null,"recommended_values":[],"errors":["Null value can not be supplied as the configuration value."],"visible":true}}"#;
    let fine = format!(r#"{{"name":"C","error_count":0,"groups":["Common"],"configs":[{name}]}}"#);
    let wrong = format!(r#"{{"name":"C","error_count":1,"groups":["Common"],"configs":[{null},{name}]}}"#);
    let warned = fine.replace("}]}", r#"}],"warnings":["unknown key \"x\""]}"#);
    rest.check(&[
        ("PUT /connector-plugins/C/config/validate\n\n{\"connector.class\":\"C\"}", &json("200 OK", &fine)),
        (
            "PUT /connector-plugins/C/config/validate\n\n{\"connector.class\":\"C\",\"x\":null}",
            &json("200 OK", &wrong),
        ),
        (
            "PUT /connector-plugins/warned/config/validate\n\n{\"connector.class\":\"C\"}",
            &json("200 OK", &warned),
        ),
        (
            "PUT /connector-plugins/C/config/validate\n\n{}",
            &json(
                "400 Bad Request",
                r#"{"error_code":400,"message":"Connector config {} contains no connector type"}"#,
            ),
        ),
    ])
    .await;
    // As sent: numbers and booleans by their source text.
    rest.ask("PUT /connector-plugins/C/config/validate\n\n{\"connector.class\":\"C\",\"a\":1.50,\"b\":true}")
        .await;
    let received = rest.double.kept().configs.last().cloned().expect("the config was sent on");
    let expected = [("connector.class", "C"), ("a", "1.50"), ("b", "true")];
    assert_eq!(received, expected.map(|(key, value)| (key.to_owned(), Some(value.to_owned()))));
}

#[tokio::test]
async fn what_is_no_request_to_a_plugin_is_refused() {
    let rest = Rest::start().await;
    for body in ["", "null", "{", "[]", "{\"a\":{}}"] {
        let answer = rest.ask(&format!("PUT /connector-plugins/C/config/validate\n\n{body}")).await;
        assert!(
            answer.starts_with("400 Bad Request") && answer.contains("{\"error_code\":400,"),
            "{body}: {answer}"
        );
    }
    let plain = "PUT /connector-plugins/C/config/validate\nContent-Type: text/plain\n\n{}";
    let rows = [
        ("GET /connector-plugins/C/config/validate", "405"),
        ("POST /connector-plugins/C/config/validate\n\n{}", "405"),
        ("PUT /connector-plugins", "405"),
        ("PUT /connector-plugins/C/config\n\n{}", "405"),
        ("GET /connector-plugins/C", "404"),
        ("GET /connector-plugins//config", "404"),
        ("PUT /connector-plugins/C/validate\n\n{}", "404"),
        (plain, "415"),
        ("GET /connector-plugins\nAccept: text/plain", "406"),
    ];
    for (request, status) in rows {
        assert!(rest.ask(request).await.starts_with(status), "{request}");
    }
    let methods = |allow: &str| {
        let body = allow.replace(',', ", ");
        format!("200 OK\nContent-Type: text/plain\nAllow: {allow}\nContent-Length: {}\n\n{body}", body.len())
    };
    rest.check(&[
        ("OPTIONS /connector-plugins\nAccept: */*", &methods("HEAD,GET,OPTIONS")),
        ("OPTIONS /connector-plugins/C/config\nAccept: */*", &methods("HEAD,GET,OPTIONS")),
        ("OPTIONS /connector-plugins/C/config/validate\nAccept: */*", &methods("OPTIONS,PUT")),
    ])
    .await;
}
