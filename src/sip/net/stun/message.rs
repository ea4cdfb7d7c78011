//! The STUN Binding request and the parsing of its response (RFC 8489). No I/O.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The magic cookie in every message (RFC 8489 §5).
const COOKIE: u32 = 0x2112_A442;
const HEADER: usize = 20;
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
/// Unknown attributes below this value invalidate the response (RFC 8489 §6.3.3).
const OPTIONAL: u16 = 0x8000;
/// Attributes that are known but ignored: MAPPED-ADDRESS, which NATs rewrite (RFC 8489
/// §14.1), its equivalents in RFC 3489, and authentication.
const PASSED_OVER: [u16; 9] = [0x0001, 0x0004, 0x0005, 0x0006, 0x0008, 0x0009, 0x000A, 0x0014, 0x0015];

/// 96 random bits, unknown to off-path attackers (RFC 8489 §5).
pub type Transaction = [u8; 12];

/// A Binding request without attributes.
pub fn request(transaction: &Transaction) -> [u8; HEADER] {
    let mut message = [0; HEADER];
    message[..2].copy_from_slice(&BINDING_REQUEST.to_be_bytes());
    message[4..8].copy_from_slice(&COOKIE.to_be_bytes());
    message[8..].copy_from_slice(transaction);
    message
}

/// Whether the first octets are those of a Binding response; no SIP message starts like that.
pub fn is_answer(datagram: &[u8]) -> bool {
    let Some(header) = datagram.first_chunk::<HEADER>() else { return false };
    let kind = u16::from_be_bytes([header[0], header[1]]);
    matches!(kind, BINDING_SUCCESS | BINDING_ERROR) && header[4..8] == COOKIE.to_be_bytes()
}

/// The address in the response to this transaction; `Err` if it has none. `None` if it is a
/// response to another transaction.
pub fn answer(datagram: &[u8], transaction: &Transaction) -> Option<Result<SocketAddr, &'static str>> {
    let (header, attributes) = datagram.split_first_chunk::<HEADER>()?;
    if !is_answer(datagram) || header[8..] != transaction[..] {
        return None;
    }
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if length != attributes.len() || !length.is_multiple_of(4) {
        return Some(Err("its length is wrong"));
    }
    if u16::from_be_bytes([header[0], header[1]]) == BINDING_ERROR {
        return Some(Err("it refuses"));
    }
    Some(mapped(attributes, transaction))
}

fn mapped(mut attributes: &[u8], transaction: &Transaction) -> Result<SocketAddr, &'static str> {
    let mut found = None;
    while let Some((head, rest)) = attributes.split_first_chunk::<4>() {
        let kind = u16::from_be_bytes([head[0], head[1]]);
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let value = rest.get(..length).ok_or("an attribute is longer than the message")?;
        attributes = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        match kind {
            // Only the first one counts (RFC 8489 §14).
            XOR_MAPPED_ADDRESS if found.is_none() => found = Some(address(value, transaction)?),
            XOR_MAPPED_ADDRESS => {}
            kind if kind >= OPTIONAL || PASSED_OVER.contains(&kind) => {}
            _ => return Err("it has an attribute that is not known here"),
        }
    }
    found.ok_or("it has no XOR-MAPPED-ADDRESS")
}

/// Decodes XOR-MAPPED-ADDRESS (RFC 8489 §14.2).
fn address(value: &[u8], transaction: &Transaction) -> Result<SocketAddr, &'static str> {
    let cookie = COOKIE.to_be_bytes();
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&cookie);
    mask[4..].copy_from_slice(transaction);
    let (head, ip) = value.split_first_chunk::<4>().ok_or("its address is cut")?;
    let port = u16::from_be_bytes([head[2] ^ cookie[0], head[3] ^ cookie[1]]);
    let unmasked = |at: usize| ip.get(at).copied().unwrap_or_default() ^ mask[at];
    let ip = match (head[1], ip.len()) {
        (1, 4) => IpAddr::V4(Ipv4Addr::from(std::array::from_fn::<u8, 4, _>(unmasked))),
        (2, 16) => IpAddr::V6(Ipv6Addr::from(std::array::from_fn::<u8, 16, _>(unmasked))),
        _ => return Err("its address is of no known family"),
    };
    Ok(SocketAddr::new(ip, port))
}

/// Responses for tests of the callers.
#[cfg(test)]
pub mod tests_only {
    use super::*;

    /// A success response with this IPv4 or IPv6 address.
    pub fn success(transaction: &Transaction, said: SocketAddr) -> Vec<u8> {
        let (family, ip) = match said.ip() {
            IpAddr::V4(ip) => (1, ip.octets().to_vec()),
            IpAddr::V6(ip) => (2, ip.octets().to_vec()),
        };
        let mask: Vec<u8> = COOKIE.to_be_bytes().into_iter().chain(*transaction).collect();
        let ip = ip.iter().zip(&mask).map(|(octet, mask)| octet ^ mask);
        let port = (said.port() ^ (COOKIE >> 16) as u16).to_be_bytes();
        let value: Vec<u8> = [0, family].into_iter().chain(port).chain(ip).collect();
        let mut message = request(transaction).to_vec();
        message[..2].copy_from_slice(&BINDING_SUCCESS.to_be_bytes());
        message[2..4].copy_from_slice(&(value.len() as u16 + 4).to_be_bytes());
        message.extend_from_slice(&XOR_MAPPED_ADDRESS.to_be_bytes());
        message.extend_from_slice(&(value.len() as u16).to_be_bytes());
        message.extend_from_slice(&value);
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5769 §2.1 to §2.3: the transaction and the responses.
    const ASKED: Transaction = [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];

    fn response(kind: u16, attributes: &[u8]) -> Vec<u8> {
        let mut message = request(&ASKED).to_vec();
        message[..2].copy_from_slice(&kind.to_be_bytes());
        message[2..4].copy_from_slice(&(attributes.len() as u16).to_be_bytes());
        message.extend_from_slice(attributes);
        message
    }

    /// SOFTWARE "test vector" of RFC 5769 §2.2, and its XOR-MAPPED-ADDRESS.
    const SOFTWARE: [u8; 16] = *b"\x80\x22\x00\x0btest vector\x20";
    const V4: [u8; 12] = [0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43];

    #[test]
    fn the_responses_of_rfc_5769_say_their_addresses() {
        let message = response(BINDING_SUCCESS, &[&SOFTWARE[..], &V4].concat());
        assert_eq!(answer(&message, &ASKED), Some(Ok("192.0.2.1:32853".parse().unwrap())));
        let v6 = [
            0x00, 0x20, 0x00, 0x14, 0x00, 0x02, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79,
            0xbc, 0x25, 0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9,
        ];
        let message = response(BINDING_SUCCESS, &v6);
        let told = "[2001:db8:1234:5678:11:2233:4455:6677]:32853";
        assert_eq!(answer(&message, &ASKED), Some(Ok(told.parse().unwrap())));
    }

    #[test]
    fn what_is_no_answer_to_what_was_asked_is_none() {
        let good = response(BINDING_SUCCESS, &V4);
        for at in [4, 8, 19] {
            let mut wrong = good.clone();
            wrong[at] ^= 1;
            assert_eq!(answer(&wrong, &ASKED), None, "octet {at}");
        }
        assert_eq!(answer(&request(&ASKED), &ASKED), None, "a request");
        assert!(!is_answer(b"OPTIONS sip:b2b@192.0.2.1 SIP/2.0\r\n") && !is_answer(b"\r\n\r\n"));
        assert!(is_answer(&good));
    }

    #[test]
    fn answers_without_a_sound_xor_mapped_address_say_nothing() {
        let plain = [0x00, 0x01, 0x00, 0x08, 0x00, 0x01, 0x80, 0x55, 192, 0, 2, 1];
        let unknown = [0x00, 0x1f, 0x00, 0x00];
        let family = [0x00, 0x20, 0x00, 0x08, 0x00, 0x03, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43];
        for (attributes, why) in [
            (&plain[..], "it has no XOR-MAPPED-ADDRESS"),
            (&[&unknown[..], &V4].concat(), "it has an attribute that is not known here"),
            (&family, "its address is of no known family"),
            (&[0x00, 0x20, 0x00, 0x10], "an attribute is longer than the message"),
            (&[0x00, 0x20, 0x00, 0x00], "its address is cut"),
        ] {
            assert_eq!(answer(&response(BINDING_SUCCESS, attributes), &ASKED), Some(Err(why)));
        }
        assert_eq!(answer(&response(BINDING_ERROR, &[]), &ASKED), Some(Err("it refuses")));
        let mut long = response(BINDING_SUCCESS, &V4);
        long.push(0);
        assert_eq!(answer(&long, &ASKED), Some(Err("its length is wrong")));
    }
}
