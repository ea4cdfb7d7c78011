//! Short calls, one after the other: how long it takes until each is answered.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::Failure;
use crate::sip::Caller;

/// So many calls a second; from each INVITE to its answer, us.
pub fn run(server: SocketAddr, number: &str, rate: u32, lasts: Duration) -> Result<Vec<u64>, Failure> {
    let (caller, rtp) = (Caller::new(server, number)?, UdpSocket::bind("127.0.0.1:0")?);
    let (began, every, mut took) = (Instant::now(), Duration::from_secs(1) / rate, Vec::new());
    for n in 0u32.. {
        let due = every * n;
        if due >= lasts {
            break;
        }
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        let asked = Instant::now();
        let dialog = caller.call(n as usize, rtp.local_addr()?)?;
        took.push(asked.elapsed().as_micros() as u64);
        caller.hang_up(&dialog)?;
    }
    Ok(took)
}
