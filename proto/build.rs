//! Compiles the .proto files without `protoc`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["proto/kes/stored/v1/key.proto"], ["proto"])?;
    prost_build::Config::new()
        .skip_debug(["."]) // the messages hold key material
        .compile_fds(files)?;
    Ok(())
}
