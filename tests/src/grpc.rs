//! gRPC by grpcurl, which knows the services by reflection alone.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::cache::cache_dir;

/// A tool that the tests call: from `variable`, else from `PATH`, else from the cache that `tests/run` fills.
///
/// # Panics
/// When it is nowhere.
#[expect(clippy::panic, reason = "a test without what it needs has failed, and says why")]
#[must_use]
pub fn tool(name: &str, variable: &str) -> PathBuf {
    let own = std::env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = || std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file());
    let cached = || cache_dir().ok().map(|dir| dir.join("bin").join(name)).filter(|file| file.is_file());
    let found = own.or_else(on_path).or_else(cached);
    found.unwrap_or_else(|| panic!("{name} is neither on PATH nor in {variable}: tests/run gets it"))
}

/// A server that grpcurl is to call.
#[derive(Debug, Clone)]
pub struct Grpc {
    program: PathBuf,
    address: String,
}

/// What grpcurl calls the code, and the message.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    pub code: String,
    pub message: String,
}

impl Grpc {
    /// The server at `host:port`.
    #[must_use]
    pub fn at(address: &str) -> Grpc {
        Grpc { program: tool("grpcurl", "COPYIST_GRPCURL"), address: address.to_owned() }
    }

    /// What grpcurl printed.
    ///
    /// # Errors
    /// What the server answered instead.
    ///
    /// # Panics
    /// When grpcurl does not run, or reaches nobody.
    #[expect(clippy::expect_used, clippy::panic, reason = "a test whose tool fails has failed, and says why")]
    pub fn run(&self, flags: &[&str], rest: &[&str]) -> Result<String, Refused> {
        let mut command = Command::new(&self.program);
        command.args(["-plaintext", "-max-time", "60"]).args(flags).arg(&self.address).args(rest);
        let output = command.output().expect("grpcurl runs");
        let (printed, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if output.status.success() {
            return Ok(printed.into_owned());
        }
        let field =
            |name: &str| errors.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::trim);
        let code = field("Code:").unwrap_or_else(|| panic!("grpcurl {rest:?}: {errors}"));
        Err(Refused { code: code.to_owned(), message: field("Message:").unwrap_or_default().to_owned() })
    }

    /// A method of `copyist.connect.v1`, as `Service/Method`.
    ///
    /// # Errors
    /// What the server answered instead.
    ///
    /// # Panics
    /// As [`Grpc::run`].
    #[expect(clippy::expect_used, reason = "a test whose tool fails has failed, and says why")]
    pub fn ask(&self, method: &str, request: &Value) -> Result<Value, Refused> {
        let method = format!("copyist.connect.v1.{method}");
        let printed = self.run(&["-emit-defaults", "-d", &request.to_string()], &[&method])?;
        Ok(serde_json::from_str(&printed).expect("grpcurl prints JSON"))
    }

    /// A method of ConnectorService.
    ///
    /// # Errors
    /// What the server answered instead.
    pub fn call(&self, method: &str, request: &Value) -> Result<Value, Refused> {
        self.ask(&format!("ConnectorService/{method}"), request)
    }
}
