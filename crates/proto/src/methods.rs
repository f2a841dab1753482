//! Which methods of the contracts have one request and one answer.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use prost::Message;
use prost_types::FileDescriptorSet;

static UNARY: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "they were compiled into this program")]
    let files = FileDescriptorSet::decode(crate::DESCRIPTORS).expect("compiled descriptors are valid");
    let services = files.file.iter().flat_map(|file| {
        let named = |service| (file.package(), service);
        file.service.iter().map(named)
    });
    let methods = services.flat_map(|(package, service)| {
        let unary = service.method.iter().filter(|m| !m.client_streaming() && !m.server_streaming());
        unary.map(move |method| format!("/{package}.{}/{}", service.name(), method.name()))
    });
    methods.collect()
});

/// Whether the method at a path (`/package.Service/Method`) is known to have one request and one answer.
pub(crate) fn is_unary(path: &str) -> bool {
    UNARY.contains(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_and_strangers_are_not_unary() {
        for path in
            ["/copyist.control.v1.AgentService/Renew", "/copyist.connect.v1.ConnectorService/GetServer"]
        {
            assert!(is_unary(path), "{path}");
        }
        for path in ["/copyist.control.v1.AgentService/Session", "/grpc.health.v1.Health/Watch", "/", ""] {
            assert!(!is_unary(path), "{path}");
        }
    }
}
