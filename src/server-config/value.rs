//! Parsers for the values of the server's flags. An error says how to write the value correctly.

use std::net::SocketAddr;

pub use b2b_config::value::*;

/// `--route`: a number, and the target of calls to it.
///
/// # Errors
/// What is wrong, and how to write it.
pub fn route(text: &str) -> Read<(String, String)> {
    match text.split_once('=') {
        Some((number, uri)) if !number.is_empty() => Ok((self::number(number)?, target(uri)?)),
        _ => Err("not a number; write it like 1000=sip:1000@127.0.0.1:5070".to_string()),
    }
}

/// `--listen`: the address of an interface other than SIP.
///
/// # Errors
/// What is wrong, and how to write it.
pub fn listen(text: &str) -> Read<SocketAddr> {
    text.parse().map_err(|_| {
        "not an IP address with a port; write it like 127.0.0.1:8090, or with port 0 for any free one"
            .to_string()
    })
}

/// `--rtp-ports`: the first and the last port.
///
/// # Errors
/// What is wrong, and how to write it.
pub fn port_range(text: &str) -> Read<(u16, u16)> {
    let range =
        text.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    match range {
        Some((first, last)) if (1_024..last).contains(&first) => Ok((first, last)),
        _ => Err("not a range of ports from 1024 on; write it like 16384-32767".to_string()),
    }
}

/// `--max-endpoints`.
///
/// # Errors
/// What is wrong, and how to write it.
pub fn endpoints(text: &str) -> Read<usize> {
    let number = text.parse().ok().filter(|number| (1..=1_000_000).contains(number));
    number.ok_or_else(|| "not a whole number from 1 to 1000000".to_string())
}
