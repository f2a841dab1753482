//! Compiles `proto/` with protox (no protoc needed) and keeps the descriptors for gRPC reflection.

use std::path::PathBuf;

use prost::Message;

const FILES: [&str; 3] =
    ["copyist/connect/v1/connect.proto", "copyist/control/v1/control.proto", "copyist/store/v1/store.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = "../../proto";
    println!("cargo:rerun-if-changed={root}");
    let descriptors = protox::compile(FILES, [root])?;
    #[allow(clippy::disallowed_methods, reason = "cargo speaks to build scripts through the environment")]
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().btree_map(".").compile_fds(descriptors)?;
    Ok(())
}
