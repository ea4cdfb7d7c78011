//! One process in several networks.

use std::process::Command;

/// A secure trunk, a carrier on a private network, phones of a LAN and behind a NAT, and, if `B2B_ASTERISK`
/// gives its location (`scripts/interop.sh --get-asterisk`), Asterisk that requires a client certificate.
/// Each has its own namespace, and is checked by captures there.
#[test]
#[ignore = "needs root, iproute2, iptables, dumpcap, tshark, openssl and python3"]
fn one_process_serves_five_networks_and_shows_none_of_them_an_address_of_another() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/interop/networks.py");
    let mut command = Command::new("python3");
    command.args(["-B", script, "--binary", env!("CARGO_BIN_EXE_b2b")]);
    if let Some(folder) = std::env::var_os("B2B_ASTERISK") {
        command.arg("--asterisk").arg(folder);
    }
    let output = command.output().expect("python3");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
}
