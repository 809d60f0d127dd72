//! Generates tonic services over the messages of `proto`, and the descriptors for reflection.

use std::path::PathBuf;

use prost::Message as _;

const FILES: [&str; 3] =
    ["tallystick/v1/evidence.proto", "tallystick/v1/submit.proto", "tallystick/v1/people.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed=../proto/{file}");
    }
    let descriptors = protox::compile(FILES, ["../proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().extern_path(".tallystick.v1", "::proto").compile_fds(descriptors)?;
    Ok(())
}
