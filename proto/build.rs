//! Compiles the .proto files without `protoc`.

use std::error::Error;

/// Values that keystores hold.
const STORED: &[&str] = &["proto/kes/stored/v1/key.proto"];

/// What nodes say to each other.
const CLUSTER: &[&str] = &[
    "proto/kes/cluster/v1/raft.proto",
    "proto/kes/cluster/v1/control.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    prost_build::Config::new()
        .skip_debug(["."]) // the messages hold key material
        .compile_fds(protox::compile(STORED, ["proto"])?)?;
    tonic_prost_build::configure()
        .bytes(".") // chunks and commands are shared, not copied
        .skip_debug(["."]) // commands would fill a log
        .compile_fds(protox::compile(CLUSTER, ["proto"])?)?;
    Ok(())
}
