//! Compiles the schema of gRPC, where it is built in.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "server")]
    schema::compile();
}

#[cfg(feature = "server")]
mod schema {
    const FILE: &str = "proto/b2b/media/v1/sessions.proto";

    pub fn compile() {
        println!("cargo::rerun-if-changed={FILE}");
        // A build without its schema cannot go on; cargo shows the words.
        let files = protox::compile([FILE], ["proto"]).unwrap_or_else(|error| panic!("{FILE}: {error}"));
        let compiled = tonic_prost_build::configure().compile_fds(files);
        compiled.unwrap_or_else(|error| panic!("{FILE}: {error}"));
    }
}
