//! Compiles the schema of gRPC.

const FOLDER: &str = "../../proto";
const FILE: &str = "../../proto/b2b/media/v1/sessions.proto";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={FILE}");
    // A build without its schema cannot go on; cargo shows the words.
    let files = protox::compile([FILE], [FOLDER]).unwrap_or_else(|error| panic!("{FILE}: {error}"));
    let compiled = tonic_prost_build::configure().compile_fds(files);
    compiled.unwrap_or_else(|error| panic!("{FILE}: {error}"));
}
