//! Efficient formatting of IP addresses.

use std::fmt;
use std::net::IpAddr;

/// An address with the usual text form. The standard library formats each number of an IPv4
/// address separately, which takes a thousand instructions, and every Via and Contact has our
/// address.
#[derive(Debug, Clone, Copy)]
pub struct Host(pub IpAddr);

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let IpAddr::V4(ip) = self.0 else { return self.0.fmt(f) };
        let (mut text, mut length) = ([b'.'; "255.255.255.255".len()], 0);
        for (place, octet) in ip.octets().into_iter().enumerate() {
            // The dots are preset.
            length += usize::from(place > 0);
            for (unit, least) in [(100, 100), (10, 10), (1, 0)] {
                if octet >= least {
                    text[length] = b'0' + octet / unit % 10;
                    length += 1;
                }
            }
        }
        f.write_str(std::str::from_utf8(&text[..length]).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_the_standard_library_writes_them() {
        for octet in 0..=u8::MAX {
            let ip = IpAddr::from([octet, 255 - octet, 7, octet / 2]);
            assert_eq!(Host(ip).to_string(), ip.to_string());
        }
        for ip in ["0.0.0.0", "255.255.255.255", "192.0.2.10", "2001:db8::7", "::ffff:192.0.2.1"] {
            assert_eq!(Host(ip.parse().unwrap()).to_string(), ip);
        }
    }
}
