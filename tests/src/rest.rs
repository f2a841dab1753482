//! A small client of Connect's REST API.

use std::time::Duration;

use reqwest::Method;
use reqwest::blocking::{Client, RequestBuilder};
use serde_json::Value;

use crate::error::{Error, Result};

/// Connect itself gives a request 90 s.
const LIMIT: Duration = Duration::from_secs(90);

/// Every call returns the status and the body: JSON, `Null` when empty, a string when it is no JSON.
#[derive(Clone, Debug)]
pub struct Rest {
    client: Client,
    base: String,
}

impl Rest {
    /// `base` is `http://host:port`.
    pub fn new(base: impl Into<String>) -> Result<Rest> {
        let base = base.into();
        // Loopback is not for proxies.
        let client = Client::builder().timeout(LIMIT).no_proxy().build();
        let client =
            client.map_err(|source| Error::Rest { what: format!("prepare calls to {base}"), source })?;
        Ok(Rest { client, base })
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn get(&self, path: &str) -> Result<(u16, Value)> {
        self.call(Method::GET, path, None)
    }

    pub fn post(&self, path: &str, body: &Value) -> Result<(u16, Value)> {
        self.call(Method::POST, path, Some(body))
    }

    pub fn put(&self, path: &str, body: &Value) -> Result<(u16, Value)> {
        self.call(Method::PUT, path, Some(body))
    }

    pub fn delete(&self, path: &str) -> Result<(u16, Value)> {
        self.call(Method::DELETE, path, None)
    }

    /// `PUT …/pause` and `POST …/restart` have no body.
    pub fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(u16, Value)> {
        let request = self.client.request(method.clone(), format!("{}{path}", self.base));
        self.send(&method, path, if let Some(body) = body { request.json(body) } else { request })
    }

    /// A body as it is, with the content type of JSON: for what is not JSON.
    pub fn call_raw(&self, method: Method, path: &str, body: &str) -> Result<(u16, Value)> {
        let request = self.client.request(method.clone(), format!("{}{path}", self.base));
        self.send(&method, path, request.header("Content-Type", "application/json").body(body.to_owned()))
    }

    /// The body as text.
    pub fn get_text(&self, path: &str) -> Result<(u16, String)> {
        let request = self.client.get(format!("{}{path}", self.base));
        self.text(&Method::GET, path, request)
    }

    fn send(&self, method: &Method, path: &str, request: RequestBuilder) -> Result<(u16, Value)> {
        let (status, text) = self.text(method, path, request)?;
        let json = if text.is_empty() { Ok(Value::Null) } else { serde_json::from_str(&text) };
        Ok((status, json.unwrap_or(Value::String(text))))
    }

    fn text(&self, method: &Method, path: &str, request: RequestBuilder) -> Result<(u16, String)> {
        let failed = |source| Error::Rest { what: format!("{method} {}{path}", self.base), source };
        let response = request.send().map_err(failed)?;
        let status = response.status().as_u16();
        Ok((status, response.text().map_err(failed)?))
    }
}
