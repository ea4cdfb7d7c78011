//! The floor of `scripts/bench-b2bua.sh`: a blocking socket loop that passes each datagram to the other side
//! and knows nothing of SIP. It handles the same datagrams as a call through the server (which sends 100 only
//! when a caller has to wait); their cost here is the kernel's.
//!
//! `cargo run --release --example b2bua_floor -- 127.0.0.1:5060 127.0.0.1:5070` receives calls at the first
//! address and passes them to the second.

use std::net::{SocketAddr, UdpSocket};

fn main() -> anyhow::Result<()> {
    let mut words = std::env::args().skip(1);
    let mut address = |usual: &str| words.next().unwrap_or_else(|| usual.to_owned());
    let socket = UdpSocket::bind(address("127.0.0.1:5060"))?;
    let callee: SocketAddr = address("127.0.0.1:5070").parse()?;
    println!("listening on {}", socket.local_addr()?);
    let mut caller = callee;
    let mut data = [0; 65_535];
    loop {
        let (length, from) = socket.recv_from(&mut data)?;
        let data = &data[..length];
        if from == callee {
            socket.send_to(data, caller)?;
            continue;
        }
        caller = from;
        socket.send_to(data, callee)?;
    }
}
