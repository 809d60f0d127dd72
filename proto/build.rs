//! Generates the messages with protox, so that nobody has to install protoc.

const FILES: [&str; 3] =
    ["tallystick/v1/evidence.proto", "tallystick/v1/submit.proto", "tallystick/v1/people.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(FILES, ["."])?;
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}
