//! With programs that b2b did not write: SIPp, baresip, tshark, Chromium. Marked as ignored, since they
//! have to be installed: `cargo test --release --test interop -- --ignored --test-threads 1`.

#[path = "../common/mod.rs"]
mod common;
#[path = "../interop_support/mod.rs"]
mod interop_support;
#[cfg(feature = "server")]
#[path = "../media_support/mod.rs"]
mod media_support;
#[path = "../server_support/mod.rs"]
mod server_support;
#[cfg(feature = "tls")]
#[path = "../tls_support/mod.rs"]
mod tls_support;

#[cfg(feature = "server")]
mod b2bua;
#[cfg(feature = "lab")]
mod baresip;
mod capture;
#[cfg(all(feature = "lab", feature = "phone"))]
mod client;
#[cfg(feature = "lab")]
mod malformed;
#[cfg(all(feature = "lab", feature = "server"))]
mod messages;
#[cfg(all(feature = "phone", feature = "server"))]
mod page;
#[cfg(feature = "server")]
mod phones;
#[cfg(feature = "lab")]
mod sipp;
#[cfg(all(feature = "lab", feature = "server"))]
mod srtp;
#[cfg(feature = "lab")]
mod tshark;
