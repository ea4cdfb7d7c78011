//! Stateless nonces: a timestamp and a serial number under a MAC that also covers the source
//! and the realm. A nonce is valid only from the source address it was issued to.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const PLAIN: usize = 6 + 4;
const MAC: usize = 16;
const DIGITS: usize = 2 * (PLAIN + MAC);

/// Identifies a nonce: milliseconds since the mint's start, and a serial number. Ordered by
/// age, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NonceId {
    pub made_ms: u64,
    pub serial: u32,
}

/// Makes and recognises nonces.
pub(super) struct NonceMint {
    keyed: Hmac<Sha256>,
    start: Instant,
    serial: u32,
    /// The last nonce verified as ours, because a request's nonce is checked twice.
    seen: Option<Seen>,
}

struct Seen {
    digits: [u8; DIGITS],
    source: IpAddr,
    realm: Box<str>,
    id: NonceId,
}

impl NonceMint {
    /// `key` must stay secret: it suffices to make valid nonces.
    pub fn new(key: [u8; 32], start: Instant) -> Self {
        // HMAC accepts a key of any length.
        let keyed = Hmac::new_from_slice(&key).unwrap_or_else(|_| Hmac::new(&Default::default()));
        NonceMint { keyed, start, serial: 0, seen: None }
    }

    /// Milliseconds since the start, the unit of [`NonceId::made_ms`].
    pub fn ms(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_millis() as u64
    }

    /// A new nonce for this source and realm.
    pub fn mint(&mut self, now: Instant, source: IpAddr, realm: &str) -> String {
        self.serial = self.serial.wrapping_add(1);
        let mut plain = [0; PLAIN];
        let (time, serial) = plain.split_at_mut(6);
        time.copy_from_slice(&self.ms(now).to_be_bytes()[2..]);
        serial.copy_from_slice(&self.serial.to_be_bytes());
        let mac = self.mac(&plain, source, realm).finalize().into_bytes();
        let mut text = String::with_capacity(DIGITS);
        for byte in plain.iter().chain(&mac[..MAC]) {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
            }
        }
        text
    }

    /// The nonce's id if it was made here for this source and realm within `lifetime`.
    pub fn check(
        &mut self,
        now: Instant,
        nonce: &[u8],
        source: IpAddr,
        realm: &str,
        lifetime: Duration,
    ) -> Option<NonceId> {
        let id = match &self.seen {
            Some(seen) if seen.digits == nonce && seen.source == source && *seen.realm == *realm => seen.id,
            _ => self.ours(nonce, source, realm)?,
        };
        let age = self.ms(now).saturating_sub(id.made_ms);
        (u128::from(age) < lifetime.as_millis()).then_some(id)
    }

    fn ours(&mut self, nonce: &[u8], source: IpAddr, realm: &str) -> Option<NonceId> {
        let bytes = unhex(nonce)?;
        let (plain, mac) = bytes.split_first_chunk::<PLAIN>()?;
        self.mac(plain, source, realm).verify_truncated_left(mac).ok()?;
        let [a, b, c, d, e, f, serial @ ..] = *plain;
        let made_ms = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        let id = NonceId { made_ms, serial: u32::from_be_bytes(serial) };
        let digits = nonce.try_into().ok()?;
        match &mut self.seen {
            Some(seen) if *seen.realm == *realm => (seen.digits, seen.source, seen.id) = (digits, source, id),
            seen => *seen = Some(Seen { digits, source, realm: realm.into(), id }),
        }
        Some(id)
    }

    fn mac(&self, plain: &[u8; PLAIN], source: IpAddr, realm: &str) -> Hmac<Sha256> {
        let source = match source.to_canonical() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        let mut mac = self.keyed.clone();
        // All fields before the realm have a fixed length, so the input is unambiguous.
        mac.update(plain);
        mac.update(&source.octets());
        mac.update(realm.as_bytes());
        mac
    }
}

fn unhex(text: &[u8]) -> Option<[u8; PLAIN + MAC]> {
    let mut bytes = [0; PLAIN + MAC];
    if text.len() != DIGITS {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = *pair else { return None };
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_nonce_is_good_for_its_source_realm_and_time_only() {
        let start = Instant::now();
        let mut mint = NonceMint::new([7; 32], start);
        let now = start + Duration::from_secs(5);
        let nonce = mint.mint(now, ip("192.0.2.1"), "b2b");
        let mut check =
            |at, source: &str, realm| mint.check(at, nonce.as_bytes(), ip(source), realm, HOUR).is_some();
        assert!(check(now, "192.0.2.1", "b2b"));
        assert!(check(now, "::ffff:192.0.2.1", "b2b"), "the same address on a dual-stack socket");
        assert!(check(now + HOUR - Duration::from_millis(1), "192.0.2.1", "b2b"));
        assert!(!check(now + HOUR, "192.0.2.1", "b2b"));
        assert!(!check(now, "192.0.2.2", "b2b"));
        assert!(!check(now, "192.0.2.1", "b2c"));
    }

    #[test]
    fn a_nonce_with_any_digit_changed_is_not_ours() {
        let start = Instant::now();
        let mut mint = NonceMint::new([7; 32], start);
        let nonce = mint.mint(start, ip("::1"), "b2b");
        for at in 0..nonce.len() {
            let mut forged = nonce.clone().into_bytes();
            forged[at] = if forged[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(mint.check(start, &forged, ip("::1"), "b2b", HOUR), None);
        }
        for odd in [&b""[..], b"zz", &nonce.as_bytes()[1..], &[b'g'; DIGITS], &[0xff; DIGITS]] {
            assert_eq!(mint.check(start, odd, ip("::1"), "b2b", HOUR), None);
        }
    }

    #[test]
    fn no_two_nonces_are_the_same_and_another_key_knows_none_of_them() {
        let start = Instant::now();
        let mut mint = NonceMint::new([7; 32], start);
        let (a, b) = (mint.mint(start, ip("::1"), "b2b"), mint.mint(start, ip("::1"), "b2b"));
        assert_ne!(a, b);
        let mut other = NonceMint::new([8; 32], start);
        assert_eq!(other.check(start, a.as_bytes(), ip("::1"), "b2b", HOUR), None);
    }
}
