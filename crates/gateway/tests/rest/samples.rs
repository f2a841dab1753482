//! Literal answers of Kafka Connect 4.3.1, in the order in which one worker gave them. Config maps have no order in
//! Connect; here they are sorted. The reason phrase of 500 is HTTP's own.

use crate::wire::Rest;

const SAMPLES: &[(&str, &str)] = &[
    (
        "GET /",
        r#"200 OK
Content-Type: application/json
Content-Length: 91

{"version":"4.3.1","commit":"26b251a451ce941d","kafka_cluster_id":"khxOb9lATbCBolngUaja4g"}"#,
    ),
    (
        "GET /health",
        r#"200 OK
Content-Type: application/json
Content-Length: 94

{"status":"healthy","message":"Worker has completed startup and is ready to handle requests."}"#,
    ),
    (
        r#"POST /connectors

{"name":"a","config":{"connector.class":"FileStreamSource","tasks.max":"1","file":"/data/in.txt","topic":"t"}}"#,
        r#"201 Created
Location: http://connect:8083/connectors/a
Content-Type: application/json
Content-Length: 148

{"name":"a","config":{"connector.class":"FileStreamSource","file":"/data/in.txt","name":"a","tasks.max":"1","topic":"t"},"tasks":[],"type":"source"}"#,
    ),
    (
        r#"POST /connectors

{"name":"a","config":{"connector.class":"FileStreamSource","tasks.max":"1","file":"/data/in.txt","topic":"t"}}"#,
        r#"409 Conflict
Content-Type: application/json
Content-Length: 57

{"error_code":409,"message":"Connector a already exists"}"#,
    ),
    (
        r#"POST /connectors

{"name":"b","config":{"connector.class":"FileStreamSource","tasks.max":"abc","file":"/data/in.txt","topic":"t"}}"#,
        r#"400 Bad Request
Content-Type: application/json
Content-Length: 362

{"error_code":400,"message":"Connector configuration is invalid and contains the following 2 error(s):\nInvalid value abc for configuration tasks.max: Not a number of type INT\nInvalid value null for configuration tasks.max: Value must be non-null\nYou can also find the above list of errors at the endpoint `/connector-plugins/{connectorType}/config/validate`"}"#,
    ),
    (
        r#"POST /connectors

{"name":"b","config":{"connector.class":"Nope"}}"#,
        r#"400 Bad Request
Content-Type: application/json
Content-Length: 109

{"error_code":400,"message":"Failed to find any class that implements Connector and which name matches Nope"}"#,
    ),
    (
        r#"POST /connectors

{"name":"b","config":{}}"#,
        r#"400 Bad Request
Content-Type: application/json
Content-Length: 83

{"error_code":400,"message":"Connector config {name=b} contains no connector type"}"#,
    ),
    (
        r#"POST /connectors

{"name":"b","config":{"connector.class":"FileStreamSource","tasks.max":"1","file":"/data/in.txt","topic":"t","name":"c"}}"#,
        r#"400 Bad Request
Content-Type: application/json
Content-Length: 107

{"error_code":400,"message":"Connector name configuration (c) doesn't match connector name in the URL (b)"}"#,
    ),
    (
        "POST /connectors\nContent-Type: application/x-www-form-urlencoded\n\nname=b",
        r#"415 Unsupported Media Type
Content-Length: 62

{"error_code":415,"message":"HTTP 415 Unsupported Media Type"}"#,
    ),
    ("GET /connectors", "200 OK\nContent-Type: application/json\nContent-Length: 5\n\n[\"a\"]"),
    (
        "GET /connectors?expand=info&expand=status",
        r#"200 OK
Content-Type: application/json
Content-Length: 392

{"a":{"info":{"name":"a","config":{"connector.class":"FileStreamSource","file":"/data/in.txt","name":"a","tasks.max":"1","topic":"t"},"tasks":[{"connector":"a","task":0}],"type":"source"},"status":{"name":"a","connector":{"state":"RUNNING","worker_id":"127.0.0.1:18083","version":"4.3.1"},"tasks":[{"id":0,"state":"RUNNING","worker_id":"127.0.0.1:18083","version":"4.3.1"}],"type":"source"}}}"#,
    ),
    (
        "GET /connectors/a",
        r#"200 OK
Content-Type: application/json
Content-Length: 174

{"name":"a","config":{"connector.class":"FileStreamSource","file":"/data/in.txt","name":"a","tasks.max":"1","topic":"t"},"tasks":[{"connector":"a","task":0}],"type":"source"}"#,
    ),
    (
        "GET /connectors/none",
        r#"404 Not Found
Content-Type: application/json
Content-Length: 55

{"error_code":404,"message":"Connector none not found"}"#,
    ),
    (
        "GET /connectors/a/config",
        r#"200 OK
Content-Type: application/json
Content-Length: 99

{"connector.class":"FileStreamSource","file":"/data/in.txt","name":"a","tasks.max":"1","topic":"t"}"#,
    ),
    (
        "GET /connectors/a/status",
        r#"200 OK
Content-Type: application/json
Content-Length: 193

{"name":"a","connector":{"state":"RUNNING","worker_id":"127.0.0.1:18083","version":"4.3.1"},"tasks":[{"id":0,"state":"RUNNING","worker_id":"127.0.0.1:18083","version":"4.3.1"}],"type":"source"}"#,
    ),
    (
        "GET /connectors/none/status",
        r#"404 Not Found
Content-Type: application/json
Content-Length: 65

{"error_code":404,"message":"No status found for connector none"}"#,
    ),
    (
        "GET /connectors/a/tasks",
        r#"200 OK
Content-Type: application/json
Content-Length: 210

[{"id":{"connector":"a","task":0},"config":{"connector.class":"FileStreamSource","file":"/data/in.txt","name":"a","task.class":"org.apache.kafka.connect.file.FileStreamSourceTask","tasks.max":"1","topic":"t"}}]"#,
    ),
    (
        "GET /connectors/a/tasks/0/status",
        r#"200 OK
Content-Type: application/json
Content-Length: 74

{"id":0,"state":"RUNNING","worker_id":"127.0.0.1:18083","version":"4.3.1"}"#,
    ),
    (
        r#"PUT /connectors/a/config

{"connector.class":"FileStreamSource","tasks.max":"1","file":"/data/in.txt","topic":"t","batch.size":10}"#,
        r#"200 OK
Content-Type: application/json
Content-Length: 192

{"name":"a","config":{"batch.size":"10","connector.class":"FileStreamSource","file":"/data/in.txt","name":"a","tasks.max":"1","topic":"t"},"tasks":[{"connector":"a","task":0}],"type":"source"}"#,
    ),
    (
        r#"PUT /connectors/n%20%C3%B1/config

{"connector.class":"FileStreamSource","tasks.max":"1","file":"/data/in.txt","topic":"t"}"#,
        r#"201 Created
Location: http://connect:8083/connectors/n%20%C3%B1
Content-Type: application/json
Content-Length: 154

{"name":"n ñ","config":{"connector.class":"FileStreamSource","file":"/data/in.txt","name":"n ñ","tasks.max":"1","topic":"t"},"tasks":[],"type":"source"}"#,
    ),
    ("DELETE /connectors/n%20%C3%B1", "204 No Content"),
    (
        "DELETE /connectors/n%20%C3%B1",
        r#"404 Not Found
Content-Type: application/json
Content-Length: 55

{"error_code":404,"message":"Connector n ñ not found"}"#,
    ),
    (
        r#"PATCH /connectors/a/config

{"batch.size":null,"x":true}"#,
        r#"200 OK
Content-Type: application/json
Content-Length: 185

{"name":"a","config":{"connector.class":"FileStreamSource","file":"/data/in.txt","name":"a","tasks.max":"1","topic":"t","x":"true"},"tasks":[{"connector":"a","task":0}],"type":"source"}"#,
    ),
    ("POST /connectors/a/restart", "204 No Content"),
    (
        "POST /connectors/a/restart?includeTasks=true",
        r#"202 Accepted
Content-Type: application/json
Content-Length: 199

{"name":"a","connector":{"state":"RESTARTING","worker_id":"127.0.0.1:18083","version":"4.3.1"},"tasks":[{"id":0,"state":"RESTARTING","worker_id":"127.0.0.1:18083","version":"4.3.1"}],"type":"source"}"#,
    ),
    (
        "POST /connectors/a/restart?includeTasks=true&onlyFailed=true",
        r#"202 Accepted
Content-Type: application/json
Content-Length: 193

{"name":"a","connector":{"state":"RUNNING","worker_id":"127.0.0.1:18083","version":"4.3.1"},"tasks":[{"id":0,"state":"RUNNING","worker_id":"127.0.0.1:18083","version":"4.3.1"}],"type":"source"}"#,
    ),
    ("POST /connectors/a/tasks/0/restart", "204 No Content"),
    (
        "POST /connectors/a/tasks/9/restart",
        r#"404 Not Found
Content-Type: application/json
Content-Length: 48

{"error_code":404,"message":"Unknown task: a-9"}"#,
    ),
    ("PUT /connectors/a/pause", "202 Accepted\nContent-Length: 0"),
    ("PUT /connectors/a/resume", "202 Accepted\nContent-Length: 0"),
    ("PUT /connectors/a/stop", "204 No Content"),
    (
        "GET /connectors/a/status",
        r#"200 OK
Content-Type: application/json
Content-Length: 119

{"name":"a","connector":{"state":"STOPPED","worker_id":"127.0.0.1:18083","version":"4.3.1"},"tasks":[],"type":"source"}"#,
    ),
    (
        r#"POST /connectors

{"name":"s","config":{"connector.class":"FileStreamSource"},"initial_state":"STOPPED"}"#,
        r#"201 Created
Location: http://connect:8083/connectors/s
Content-Type: application/json
Content-Length: 98

{"name":"s","config":{"connector.class":"FileStreamSource","name":"s"},"tasks":[],"type":"source"}"#,
    ),
    (
        r#"PUT /connectors/s/config

{"connector.class":"FileStreamSource","trace":"org.apache.kafka.connect.errors.ConnectException: x\n\tat y"}"#,
        r#"200 OK
Content-Type: application/json
Content-Length: 168

{"name":"s","config":{"connector.class":"FileStreamSource","name":"s","trace":"org.apache.kafka.connect.errors.ConnectException: x\n\tat y"},"tasks":[],"type":"source"}"#,
    ),
    (
        "GET /connectors/s/status",
        r#"200 OK
Content-Type: application/json
Content-Length: 262

{"name":"s","connector":{"state":"RUNNING","worker_id":"127.0.0.1:18083","version":"4.3.1"},"tasks":[{"id":0,"state":"FAILED","worker_id":"127.0.0.1:18083","version":"4.3.1","trace":"org.apache.kafka.connect.errors.ConnectException: x\n\tat y"}],"type":"source"}"#,
    ),
    (
        "GET /nope",
        "404 Not Found\nContent-Length: 49\n\n{\"error_code\":404,\"message\":\"HTTP 404 Not Found\"}",
    ),
    (
        "DELETE /connectors",
        r#"405 Method Not Allowed
Content-Length: 58

{"error_code":405,"message":"HTTP 405 Method Not Allowed"}"#,
    ),
    (
        "GET /connectors\nAccept: text/plain",
        r#"406 Not Acceptable
Content-Length: 54

{"error_code":406,"message":"HTTP 406 Not Acceptable"}"#,
    ),
    (
        "OPTIONS /connectors\nAccept: */*",
        r#"200 OK
Content-Type: text/plain
Allow: HEAD,POST,GET,OPTIONS
Content-Length: 24

HEAD, POST, GET, OPTIONS"#,
    ),
    ("HEAD /connectors/none", "404 Not Found\nContent-Type: application/json\nContent-Length: 55"),
];

#[tokio::test]
async fn answers_are_those_of_connect() {
    Rest::start().await.check(SAMPLES).await;
}
