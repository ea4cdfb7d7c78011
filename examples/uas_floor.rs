//! The floor of `scripts/bench-uas.sh`: a blocking socket loop that copies five header fields of each INVITE
//! and BYE behind `SIP/2.0 200 OK` and knows nothing else of SIP. The cost of a call here is that of the
//! kernel and the copying. If the INVITE has a body, the response repeats it: an answer that accepts the
//! whole offer.
//!
//! `cargo run --release --example uas_floor -- 127.0.0.1:5060`

use std::net::UdpSocket;

fn main() -> anyhow::Result<()> {
    let bind = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:5060".to_owned());
    let socket = UdpSocket::bind(&bind)?;
    // It never retransmits, so datagrams that overflow the buffer while another program has the core are
    // lost.
    socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20)?;
    let local = socket.local_addr()?;
    println!("listening on {local}");
    let mut request = [0; 65_535];
    let mut response = Vec::with_capacity(2048);
    loop {
        let (length, from) = socket.recv_from(&mut request)?;
        let request = &request[..length];
        if request.starts_with(b"ACK ") {
            continue;
        }
        let head = request.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap_or(length);
        let (head, body) = request.split_at(head);
        let body = body.get(4..).filter(|_| head.starts_with(b"INVITE ")).unwrap_or_default();
        response.clear();
        response.extend_from_slice(b"SIP/2.0 200 OK\r\n");
        for line in head.split(|byte| *byte == b'\n') {
            let copied: [&[u8]; 6] = [b"Via:", b"From:", b"To:", b"Call-ID:", b"CSeq:", b"Content-Type:"];
            if copied.iter().any(|name| line.starts_with(name)) {
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                response.extend_from_slice(line);
                if line.starts_with(b"To:") && head.starts_with(b"INVITE ") {
                    response.extend_from_slice(b";tag=floor");
                }
                response.extend_from_slice(b"\r\n");
            }
        }
        let end = format!("Contact: <sip:{local}>\r\nContent-Length: {}\r\n\r\n", body.len());
        response.extend_from_slice(end.as_bytes());
        response.extend_from_slice(body);
        socket.send_to(&response, from)?;
    }
}
