//! The public address of one UDP socket: when to query it, and which responses count. No I/O.
//!
//! A response is only a claim, and the address in it goes into Via, Contact and SDP: a forged
//! one diverts calls. It therefore counts only if it comes from the server's address, matches
//! an outstanding transaction with 96 random bits, and is confirmed by a second query.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::message::{Transaction, answer, is_answer};

/// Initial retransmission interval, which doubles (RFC 8489 §6.2.1: RTO).
pub const RTO: Duration = Duration::from_millis(500);
/// Number of times a request is sent (Rc).
pub const SENDS: u32 = 7;
/// Delay before a new address is confirmed by another query.
const CONFIRM: Duration = Duration::from_millis(500);
/// Minimum time between two changes of the address: if it changes all the time, it is not
/// usable behind that NAT anyway.
const HOLD: Duration = Duration::from_secs(60);

/// The result of a datagram or of a time-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// The datagram is not a STUN response.
    NotOurs,
    Nothing,
    /// The new public address.
    Address(SocketAddr),
    /// The response does not count, for this reason.
    Refused(&'static str),
    /// No response; the known address stays.
    Silence,
}

/// The state of one socket.
#[derive(Debug)]
pub struct Binding {
    local: SocketAddr,
    server: SocketAddr,
    every: Duration,
    /// The outstanding transaction, and how often it was sent.
    asked: Option<(Transaction, u32)>,
    due: Instant,
    known: Option<SocketAddr>,
    since: Option<Instant>,
    /// The address in the last response, if not confirmed yet.
    claimed: Option<SocketAddr>,
}

impl Binding {
    /// For a socket bound to `local`, which queries this server at once and then at this
    /// interval.
    pub fn new(now: Instant, local: SocketAddr, server: SocketAddr, every: Duration) -> Self {
        let (asked, known, since, claimed) = (None, None, None, None);
        Binding { local, server, every, asked, due: now, known, since, claimed }
    }

    /// The server queried.
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// Changes the server, after a new lookup of its name.
    pub fn set_server(&mut self, now: Instant, server: SocketAddr) {
        if self.server != server {
            (self.server, self.asked, self.due) = (server, None, now);
        }
    }

    /// The confirmed address.
    pub fn known(&self) -> Option<SocketAddr> {
        self.known
    }

    /// When to call [`Binding::timeout`].
    pub fn due(&self) -> Instant {
        self.due
    }

    /// The transaction to send now, if one is due; `fresh` is used for a new one.
    pub fn timeout(&mut self, now: Instant, fresh: Transaction) -> (Option<Transaction>, News) {
        if now < self.due {
            return (None, News::Nothing);
        }
        match self.asked {
            Some((_, sends)) if sends >= SENDS => {
                (self.asked, self.due) = (None, now + self.every);
                (None, News::Silence)
            }
            Some((transaction, sends)) => {
                self.asked = Some((transaction, sends + 1));
                self.due = now + RTO * 2u32.pow(sends);
                (Some(transaction), News::Nothing)
            }
            None => {
                (self.asked, self.due) = (Some((fresh, 1)), now + RTO);
                (Some(fresh), News::Nothing)
            }
        }
    }

    /// Handles a datagram.
    pub fn datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> News {
        if !is_answer(datagram) {
            return News::NotOurs;
        }
        let Some((transaction, _)) = self.asked.filter(|_| from == self.server) else {
            return News::Refused("it does not come from the server that was asked");
        };
        let Some(said) = answer(datagram, &transaction) else {
            return News::Refused("nothing was asked by that name");
        };
        (self.asked, self.due) = (None, now + self.every);
        match said.and_then(|address| self.sound(address)) {
            Ok(address) => self.said(now, address),
            Err(why) => News::Refused(why),
        }
    }

    fn said(&mut self, now: Instant, address: SocketAddr) -> News {
        if self.known == Some(address) {
            self.claimed = None;
            return News::Nothing;
        }
        let held = self.since.map(|since| since + HOLD).filter(|until| *until > now);
        let again = self.claimed.replace(address);
        match (held, again) {
            (Some(until), _) => self.due = until.min(self.due),
            (None, Some(again)) if again == address => {
                (self.claimed, self.known, self.since) = (None, Some(address), Some(now));
                return News::Address(address);
            }
            (None, Some(_)) => return News::Refused("it says another address each time"),
            (None, None) => self.due = now + CONFIRM,
        }
        News::Nothing
    }

    /// Checks that the address could be a public one.
    fn sound(&self, address: SocketAddr) -> Result<SocketAddr, &'static str> {
        let ip = address.ip().to_canonical();
        let nowhere = match ip {
            IpAddr::V4(ip) => ip.is_broadcast() || ip.octets()[0] == 0,
            IpAddr::V6(ip) => ip.is_unspecified(),
        };
        if address.is_ipv4() != self.local.is_ipv4() {
            return Err("the address that it says is of the other family");
        }
        if nowhere || ip.is_multicast() || address.port() == 0 {
            return Err("its address is not a host's");
        }
        // A server on the Internet sees no private address, and a server on another machine
        // sees no loopback address.
        if reach(ip) < reach(self.server.ip().to_canonical()) {
            return Err("the address that it says cannot be reached from where it is");
        }
        Ok(address)
    }
}

/// The scope of an address: this machine, the link, a private network, everywhere.
fn reach(ip: IpAddr) -> u8 {
    match ip {
        ip if ip.is_loopback() => 0,
        IpAddr::V4(ip) if ip.is_link_local() => 1,
        // RFC 1918, RFC 6598
        IpAddr::V4(ip) if ip.is_private() || ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64 => 2,
        IpAddr::V6(ip) if ip.is_unicast_link_local() => 1,
        IpAddr::V6(ip) if Ipv6Addr::is_unique_local(&ip) => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::tests_only::success;
    use super::*;

    const EVERY: Duration = Duration::from_secs(30);

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    struct Bench {
        now: Instant,
        it: Binding,
        number: u8,
    }

    impl Bench {
        fn new() -> Bench {
            let (now, server) = (Instant::now(), at("198.51.100.3:3478"));
            Bench { now, it: Binding::new(now, at("10.0.0.5:5060"), server, EVERY), number: 0 }
        }

        /// Waits until it sends a request.
        fn asks(&mut self) -> Transaction {
            self.now = self.now.max(self.it.due());
            self.number += 1;
            self.it.timeout(self.now, [self.number; 12]).0.expect("a request")
        }

        fn hears(&mut self, transaction: &Transaction, address: &str) -> News {
            let server = self.it.server();
            self.it.datagram(self.now, server, &success(transaction, at(address)))
        }

        /// Sends a request and receives this response.
        fn told(&mut self, address: &str) -> News {
            let transaction = self.asks();
            self.hears(&transaction, address)
        }
    }

    #[test]
    fn an_address_counts_when_a_second_question_has_the_same_answer() {
        let mut bench = Bench::new();
        let start = bench.now;
        assert_eq!(bench.told("203.0.113.7:40000"), News::Nothing);
        assert_eq!(bench.it.known(), None);
        assert_eq!(bench.told("203.0.113.7:40000"), News::Address(at("203.0.113.7:40000")));
        assert_eq!(bench.now - start, CONFIRM);
        assert_eq!(bench.told("203.0.113.7:40000"), News::Nothing);
        assert_eq!(bench.now - start, CONFIRM + EVERY, "it is asked so often");
    }

    #[test]
    fn a_change_waits_until_the_last_one_is_a_minute_old() {
        let mut bench = Bench::new();
        bench.told("203.0.113.7:40000");
        bench.told("203.0.113.7:40000");
        let start = bench.now;
        loop {
            match bench.told("203.0.113.8:40000") {
                News::Nothing => assert_eq!(bench.it.known(), Some(at("203.0.113.7:40000"))),
                news => break assert_eq!(news, News::Address(at("203.0.113.8:40000"))),
            }
        }
        assert!(bench.now - start >= HOLD && bench.now - start <= HOLD + EVERY, "{:?}", bench.now - start);
    }

    #[test]
    fn an_address_that_is_another_one_each_time_is_none() {
        let mut bench = Bench::new();
        assert_eq!(bench.told("203.0.113.7:1"), News::Nothing);
        for port in 2..20 {
            let news = bench.told(&format!("203.0.113.7:{port}"));
            assert_eq!(news, News::Refused("it says another address each time"));
        }
        assert_eq!(bench.it.known(), None);
    }

    /// A liar responds from another address, to no request of ours, too late, or with an
    /// impossible address.
    #[test]
    fn a_liar_is_not_believed() {
        let mut bench = Bench::new();
        let transaction = bench.asks();
        let lie = success(&transaction, at("203.0.113.66:5060"));
        for from in ["198.51.100.4:3478", "198.51.100.3:3479"] {
            assert!(matches!(bench.it.datagram(bench.now, at(from), &lie), News::Refused(_)), "{from}");
        }
        assert!(matches!(bench.hears(&[99; 12], "203.0.113.66:5060"), News::Refused(_)), "a guess");
        assert_eq!(
            bench.hears(&transaction, "203.0.113.7:40000"),
            News::Nothing,
            "the true one still counts"
        );
        assert!(
            matches!(bench.hears(&transaction, "203.0.113.66:5060"), News::Refused(_)),
            "a second answer"
        );
        assert_eq!(bench.told("203.0.113.7:40000"), News::Address(at("203.0.113.7:40000")));
        for nobody in [
            "127.0.0.1:5060",
            "10.0.0.66:5060",
            "169.254.1.1:5060",
            "100.64.0.1:5060",
            "0.0.0.0:5060",
            "255.255.255.255:5060",
            "224.0.0.1:5060",
            "203.0.113.7:0",
            "[2001:db8::1]:5060",
        ] {
            assert!(matches!(bench.told(nobody), News::Refused(_)), "{nobody}");
        }
        assert_eq!(bench.it.known(), Some(at("203.0.113.7:40000")));
        assert_eq!(
            bench.it.datagram(bench.now, at("192.0.2.1:5060"), b"OPTIONS sip:x SIP/2.0"),
            News::NotOurs
        );
    }

    #[test]
    fn a_server_that_is_silent_is_asked_seven_times_and_what_was_known_stays() {
        let mut bench = Bench::new();
        bench.told("203.0.113.7:40000");
        bench.told("203.0.113.7:40000");
        bench.now = bench.it.due();
        let start = bench.now;
        let first = bench.asks();
        for _ in 1..SENDS {
            assert_eq!(bench.asks(), first, "the same request");
        }
        bench.now = bench.it.due();
        assert_eq!(bench.it.timeout(bench.now, [0; 12]), (None, News::Silence));
        assert_eq!(bench.now - start, RTO * 127);
        assert_eq!(bench.it.known(), Some(at("203.0.113.7:40000")));
        assert_eq!(bench.told("203.0.113.7:40000"), News::Nothing);
    }
}
