//! IP packets around a payload, as if they had been captured.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const UDP: u8 = 17;
const TCP: u8 = 6;
/// PSH and ACK.
const DATA: u8 = 0x18;
const WINDOW: u16 = 65_535;
const HOP_LIMIT: u8 = 64;

/// A UDP packet whose payload was `original` bytes long, of which `kept` is the beginning. The checksum of a
/// truncated packet cannot be computed: it is 0 over IPv4 (RFC 768); over IPv6 a 0 would be an error (RFC
/// 8200 §8.1) that readers report, so it is 0xffff.
pub fn udp(from: SocketAddr, to: SocketAddr, kept: &[u8], original: usize) -> Vec<u8> {
    let length = (8 + original) as u16;
    let mut header = Vec::with_capacity(8);
    let no_sum = if from.is_ipv4() && to.is_ipv4() { 0 } else { 0xffff };
    for word in [from.port(), to.port(), length, if kept.len() == original { 0 } else { no_sum }] {
        header.extend_from_slice(&word.to_be_bytes());
    }
    let sum_at = (kept.len() == original).then_some(6);
    packet(from, to, UDP, header, sum_at, kept, original)
}

/// A TCP segment.
pub fn tcp(from: SocketAddr, to: SocketAddr, sequence: u32, acknowledged: u32, payload: &[u8]) -> Vec<u8> {
    let mut header = Vec::with_capacity(20);
    header.extend_from_slice(&from.port().to_be_bytes());
    header.extend_from_slice(&to.port().to_be_bytes());
    header.extend_from_slice(&sequence.to_be_bytes());
    header.extend_from_slice(&acknowledged.to_be_bytes());
    header.extend_from_slice(&[5 << 4, DATA]); // five words, no options
    header.extend_from_slice(&WINDOW.to_be_bytes());
    header.extend_from_slice(&[0; 4]); // checksum, urgent pointer
    packet(from, to, TCP, header, Some(16), payload, payload.len())
}

/// `sum_at`: the offset of the checksum in the header.
fn packet(
    from: SocketAddr,
    to: SocketAddr,
    protocol: u8,
    mut header: Vec<u8>,
    sum_at: Option<usize>,
    kept: &[u8],
    original: usize,
) -> Vec<u8> {
    let length = header.len() + original;
    let (mut ip, addresses) = ip_header(from.ip(), to.ip(), protocol, length);
    if let Some(at) = sum_at {
        // The pseudo-header: addresses, length, protocol (RFC 768, RFC 8200 §8.1).
        let pseudo = [&addresses[..], &(length as u32).to_be_bytes(), &[0, 0, 0, protocol]].concat();
        let sum = match checksum(&[&pseudo, &header, kept]) {
            0 if protocol == UDP => 0xffff,
            sum => sum,
        };
        header[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    ip.extend_from_slice(&header);
    ip.extend_from_slice(kept);
    ip
}

/// The IP header, and the addresses in its byte representation.
fn ip_header(from: IpAddr, to: IpAddr, protocol: u8, length: usize) -> (Vec<u8>, Vec<u8>) {
    if let (IpAddr::V4(from), IpAddr::V4(to)) = (from.to_canonical(), to.to_canonical()) {
        return (ipv4(from, to, protocol, length), [from.octets(), to.octets()].concat());
    }
    let v6 = |ip| match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let addresses = [v6(from).octets(), v6(to).octets()].concat();
    let mut ip = vec![0x60, 0, 0, 0];
    ip.extend_from_slice(&(length as u16).to_be_bytes());
    ip.extend_from_slice(&[protocol, HOP_LIMIT]);
    ip.extend_from_slice(&addresses);
    (ip, addresses)
}

fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, length: usize) -> Vec<u8> {
    let mut ip = vec![0x45, 0];
    ip.extend_from_slice(&((20 + length) as u16).to_be_bytes());
    ip.extend_from_slice(&[0, 0, 0x40, 0]); // no identification, not to be fragmented
    ip.extend_from_slice(&[HOP_LIMIT, protocol, 0, 0]);
    ip.extend_from_slice(&from.octets());
    ip.extend_from_slice(&to.octets());
    let sum = checksum(&[&ip]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    ip
}

/// The ones' complement sum (RFC 1071); every part but the last has an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
