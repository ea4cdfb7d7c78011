//! A message as a HEPv3 packet (HEP Network Protocol Specification, revision 36): a header and chunks, all
//! numbers in network byte order. Pure.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

/// The vendor of generic chunks.
const GENERIC: u16 = 0;
const FAMILY: u16 = 0x01;
const PROTOCOL: u16 = 0x02;
const SOURCE_V4: u16 = 0x03;
const DESTINATION_V4: u16 = 0x04;
const SOURCE_V6: u16 = 0x05;
const DESTINATION_V6: u16 = 0x06;
const SOURCE_PORT: u16 = 0x07;
const DESTINATION_PORT: u16 = 0x08;
const SECONDS: u16 = 0x09;
const MICROSECONDS: u16 = 0x0A;
const KIND: u16 = 0x0B;
const CAPTURE_ID: u16 = 0x0C;
const PASSWORD: u16 = 0x0E;
const PAYLOAD: u16 = 0x0F;
const CORRELATION: u16 = 0x11;

/// The payload type: SIP.
const SIP: u8 = 1;
/// Address families and transports, by their protocol numbers.
const V4: u8 = 2;
const V6: u8 = 10;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// A captured SIP message.
#[derive(Debug, Clone, Copy)]
pub struct Passed<'a> {
    pub at: SystemTime,
    pub from: SocketAddr,
    pub to: SocketAddr,
    /// It was received or sent as a datagram; encrypted messages are reported as TCP.
    pub udp: bool,
    /// The Call-ID; it differs between the legs of a call.
    pub correlation: &'a [u8],
    pub message: &'a [u8],
}

/// The capture agent.
#[derive(Debug, Clone, Copy)]
pub struct Agent<'a> {
    pub id: u32,
    pub password: Option<&'a str>,
}

/// The packet; `None`: the message is too long for one.
pub fn encode(passed: &Passed<'_>, agent: Agent<'_>) -> Option<Vec<u8>> {
    let mut packet = Vec::with_capacity(160 + passed.message.len() + passed.correlation.len());
    packet.extend_from_slice(b"HEP3\0\0");
    // A dual-stack socket shows IPv4 as IPv6.
    let (from, to) = (passed.from.ip().to_canonical(), passed.to.ip().to_canonical());
    let v4 = from.is_ipv4() && to.is_ipv4();
    chunk(&mut packet, FAMILY, &[if v4 { V4 } else { V6 }])?;
    chunk(&mut packet, PROTOCOL, &[if passed.udp { UDP } else { TCP }])?;
    for (ip, place_v4, place_v6) in [(from, SOURCE_V4, SOURCE_V6), (to, DESTINATION_V4, DESTINATION_V6)] {
        match ip {
            IpAddr::V4(ip) if v4 => chunk(&mut packet, place_v4, &ip.octets())?,
            IpAddr::V4(ip) => chunk(&mut packet, place_v6, &ip.to_ipv6_mapped().octets())?,
            IpAddr::V6(ip) => chunk(&mut packet, place_v6, &ip.octets())?,
        }
    }
    let since = passed.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    chunk(&mut packet, SOURCE_PORT, &passed.from.port().to_be_bytes())?;
    chunk(&mut packet, DESTINATION_PORT, &passed.to.port().to_be_bytes())?;
    chunk(&mut packet, SECONDS, &(since.as_secs() as u32).to_be_bytes())?;
    chunk(&mut packet, MICROSECONDS, &since.subsec_micros().to_be_bytes())?;
    chunk(&mut packet, KIND, &[SIP])?;
    chunk(&mut packet, CAPTURE_ID, &agent.id.to_be_bytes())?;
    if let Some(password) = agent.password {
        chunk(&mut packet, PASSWORD, password.as_bytes())?;
    }
    chunk(&mut packet, CORRELATION, passed.correlation)?;
    chunk(&mut packet, PAYLOAD, passed.message)?;
    let length = u16::try_from(packet.len()).ok()?;
    packet[4..6].copy_from_slice(&length.to_be_bytes());
    Some(packet)
}

fn chunk(packet: &mut Vec<u8>, kind: u16, value: &[u8]) -> Option<()> {
    let length = u16::try_from(6 + value.len()).ok()?;
    for number in [GENERIC, kind, length] {
        packet.extend_from_slice(&number.to_be_bytes());
    }
    packet.extend_from_slice(value);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(message: &[u8]) -> Passed<'_> {
        Passed {
            at: SystemTime::UNIX_EPOCH + Duration::from_micros(1_500_000_250),
            from: "192.0.2.1:5060".parse().unwrap(),
            to: "[::ffff:192.0.2.7]:5070".parse().unwrap(),
            udp: true,
            correlation: b"abc@1",
            message,
        }
    }

    #[test]
    fn a_packet_is_octet_for_octet_what_the_specification_says() {
        let packet = encode(&passed(b"BYE"), Agent { id: 0x0102_0304, password: Some("pw") }).unwrap();
        let expected: Vec<u8> = [
            &b"HEP3"[..],
            &[0, 121],
            &[0, 0, 0, 1, 0, 7, 2],
            &[0, 0, 0, 2, 0, 7, 17],
            &[0, 0, 0, 3, 0, 10, 192, 0, 2, 1],
            &[0, 0, 0, 4, 0, 10, 192, 0, 2, 7],
            &[0, 0, 0, 7, 0, 8, 0x13, 0xc4],
            &[0, 0, 0, 8, 0, 8, 0x13, 0xce],
            &[0, 0, 0, 9, 0, 10, 0, 0, 5, 0xdc],
            &[0, 0, 0, 10, 0, 10, 0, 0, 0, 250],
            &[0, 0, 0, 11, 0, 7, 1],
            &[0, 0, 0, 12, 0, 10, 1, 2, 3, 4],
            &[0, 0, 0, 14, 0, 8, b'p', b'w'],
            &[0, 0, 0, 17, 0, 11],
            b"abc@1",
            &[0, 0, 0, 15, 0, 9],
            b"BYE",
        ]
        .concat();
        assert_eq!(packet, expected);
    }

    #[test]
    fn families_do_not_mix_and_what_is_too_long_is_not_cut() {
        let v6 = Passed { from: "[2001:db8::1]:5061".parse().unwrap(), udp: false, ..passed(b"x") };
        let packet = encode(&v6, Agent { id: 1, password: None }).unwrap();
        assert_eq!((packet[12], packet[19]), (10, 6));
        let mapped = "::ffff:192.0.2.7".parse::<std::net::Ipv6Addr>().unwrap().octets();
        assert!(packet.windows(16).any(|window| window == mapped));
        let agent = Agent { id: 1, password: None };
        let longest =
            (0..).map(|less| 65_535 - less).find(|len| encode(&passed(&vec![0; *len]), agent).is_some());
        let packet = encode(&passed(&vec![0; longest.unwrap()]), agent).unwrap();
        assert_eq!((packet.len(), &packet[4..6]), (65_535, &[255, 255][..]));
    }
}
