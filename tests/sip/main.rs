//! The SIP layer: sockets, names, TLS, and messages made to break it.

#[cfg(all(feature = "dns", feature = "tls"))]
#[path = "../dns_support/mod.rs"]
mod dns_support;
#[path = "../../fuzz/fuzz_targets/support/sip_in.rs"]
mod sip_in;
#[path = "../stack_support/mod.rs"]
mod stack_support;
#[cfg(feature = "tls")]
#[path = "../tls_support/mod.rs"]
mod tls_support;

mod fuzz_corpus;
mod net;
mod net_out;
mod net_udp;
mod regressions;
#[cfg(all(feature = "dns", feature = "tls"))]
mod resolve;
mod rfc4475;
#[cfg(feature = "tls")]
mod tls;
