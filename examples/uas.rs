//! A UAS in one loop: answers every INVITE with 200, and BYE, OPTIONS and the rest as the endpoint does. The
//! media of its calls are discarded, or with `--echo` sent back to their source. It shows the SIP core
//! without the layers above it, and `scripts/bench-uas.sh` measures it.
//!
//! `cargo run --release --example uas -- 127.0.0.1:5060 [--echo]`

use std::net::SocketAddr;
use std::time::Instant;

use b2b::sip::endpoint::{Body, Endpoint, EndpointConfig, Event, Reply, UsageEvent};
use b2b::sip::net::{NetConfig, SipStack};
use bytes::Bytes;
use tokio::net::UdpSocket;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut bind: SocketAddr = "127.0.0.1:5060".parse()?;
    let mut echo = false;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--echo" => echo = true,
            address => bind = address.parse()?,
        }
    }
    let endpoint = Endpoint::new(EndpointConfig::new(rand::random()));
    let mut stack = SipStack::bind(NetConfig::new(bind), endpoint)?;
    let local = stack.local().unwrap_or(bind);

    let media = UdpSocket::bind((local.ip(), 0)).await?;
    let sdp = session_description(media.local_addr()?);
    if echo {
        tokio::spawn(send_back(media));
    }
    println!("listening on {local}");
    loop {
        let event = stack.next_event().await;
        let now = Instant::now();
        let endpoint = stack.endpoint();
        // On an error the far end has already changed the call; another event reports how.
        let _ = match event {
            Event::Incoming { usage, .. } | Event::Usage { usage, event: UsageEvent::ReInvite { .. } } => {
                endpoint.answer(now, usage, Some(Body::sdp(sdp.clone())))
            }
            Event::Usage { event: UsageEvent::Request { transaction, .. }, .. } => {
                endpoint.respond(now, transaction, Reply::status(200))
            }
            Event::Request { transaction, .. } => endpoint.respond(now, transaction, Reply::status(405)),
            Event::Usage { .. }
            | Event::Response { .. }
            | Event::Resubscribe { .. }
            | Event::Located { .. }
            | Event::Ahead { .. }
            | Event::FlowClosed { .. } => Ok(()),
        };
    }
}

fn session_description(rtp: SocketAddr) -> Bytes {
    let family = if rtp.is_ipv4() { "IP4" } else { "IP6" };
    let (ip, port) = (rtp.ip(), rtp.port());
    format!(
        "v=0\r\no=- 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 0 8\r\na=sendrecv\r\n"
    )
    .into()
}

async fn send_back(media: UdpSocket) {
    let mut buffer = [0; 2048];
    loop {
        if let Ok((length, from)) = media.recv_from(&mut buffer).await {
            let _ = media.send_to(&buffer[..length], from).await;
        }
    }
}
