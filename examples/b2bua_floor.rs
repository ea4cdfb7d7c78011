//! The floor of `scripts/bench-b2bua.sh`: a blocking socket loop that hands each datagram
//! to the other side, answers INVITE with 100 as a B2BUA does, and knows nothing else of
//! SIP. The same datagrams in and out as a call through the server; what they cost here is
//! what the kernel and the copying cost.
//!
//! `cargo run --release --example b2bua_floor -- 127.0.0.1:5060 127.0.0.1:5070`
//! takes calls at the first address and hands them to the second.

use std::net::{SocketAddr, UdpSocket};

fn main() -> anyhow::Result<()> {
    let mut words = std::env::args().skip(1);
    let mut address = |usual: &str| words.next().unwrap_or_else(|| usual.to_owned());
    let socket = UdpSocket::bind(address("127.0.0.1:5060"))?;
    let callee: SocketAddr = address("127.0.0.1:5070").parse()?;
    println!("listening on {}", socket.local_addr()?);
    let mut caller = callee;
    let mut data = [0; 65_535];
    let mut trying = Vec::with_capacity(2048);
    loop {
        let (length, from) = socket.recv_from(&mut data)?;
        let data = &data[..length];
        if from == callee {
            socket.send_to(data, caller)?;
            continue;
        }
        caller = from;
        if data.starts_with(b"INVITE ") {
            trying.clear();
            trying.extend_from_slice(b"SIP/2.0 100 Trying\r\n");
            let copied: [&[u8]; 5] = [b"Via:", b"From:", b"To:", b"Call-ID:", b"CSeq:"];
            for line in data.split_inclusive(|byte| *byte == b'\n') {
                if copied.iter().any(|name| line.starts_with(name)) {
                    trying.extend_from_slice(line);
                }
            }
            trying.extend_from_slice(b"Content-Length: 0\r\n\r\n");
            socket.send_to(&trying, caller)?;
        }
        socket.send_to(data, callee)?;
    }
}
