//! Shared parts of the tests of trunks: phones with their own addresses, one of them as a gateway.

use std::net::Ipv4Addr;

use crate::server_support::phone::Phone;
use crate::server_support::{Server, configured, start};

/// A phone at 127.0.0.`last`, for signalling and media.
pub fn phone(name: &'static str, last: u8) -> Phone {
    Phone::at(name, [Ipv4Addr::new(127, 0, 0, last); 3])
}

/// Host and port of a phone.
pub fn at(phone: &Phone) -> String {
    phone.uri().split_once('@').expect("an address").1.to_owned()
}

/// A gateway at this phone, with these lines, and the route of 200 to it.
pub fn carrier(phone: &Phone, lines: &str) -> String {
    let host = at(phone);
    let address = host.split(':').next().expect("an address");
    format!(
        "[[gateway]]\nname = \"carrier\"\nhosts = [\"{host}\"]\nsources = [\"{address}\"]\noptions_s = 0\n\
         transport = \"udp\"\n{lines}\n[[route]]\ncalled = \"200\"\nto = \"gateway/carrier\"\n"
    )
}

/// The same, with a route of 300 to the other phone.
pub fn configuration(gateway: &Phone, lines: &str, other: &Phone) -> String {
    format!("{}{}", carrier(gateway, lines), route("300", other))
}

/// A route of this number to this phone.
pub fn route(called: &str, to: &Phone) -> String {
    format!("[[route]]\ncalled = \"{called}\"\nto = [\"{}\"]\n", to.uri())
}

/// A server with these lines that trusts this address only.
pub fn trusting(address: &str, lines: &str) -> Server {
    let folder = configured(lines);
    let path = folder.path().join("b2bua.toml");
    let text = std::fs::read_to_string(&path).expect("the file");
    let text = text.replace("trusted = [\"127.0.0.0/8\"]", &format!("trusted = [\"{address}\"]"));
    std::fs::write(&path, text).expect("a file");
    start(folder)
}
