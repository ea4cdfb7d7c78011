//! The keep-alives of one flow (RFC 5626 §4.4): when to send them, and when the flow counts
//! as lost. No I/O: time is an argument, and it has its own random generator.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::stun::message::{Transaction, answer, is_answer};
use super::stun::{RTO, SENDS};

/// Time limit for the CRLF in return (RFC 5626 §4.4.1).
const PONG: Duration = Duration::from_secs(10);

/// What the caller is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Nothing,
    /// Send CRLFCRLF.
    Ping,
    /// Send a STUN Binding request.
    Ask(Transaction),
    /// The flow is lost, for this reason.
    Lost(&'static str),
}

/// The keep-alive state of one flow.
#[derive(Debug)]
pub struct KeepAlive {
    every: Duration,
    due: Instant,
    way: Way,
    dice: StdRng,
}

#[derive(Debug)]
enum Way {
    /// A connection; whether a ping is outstanding.
    Crlf { asked: bool },
    /// UDP: the outstanding transaction and how often it was sent, and our address as the
    /// peer sees it.
    Stun { asked: Option<(Transaction, u32)>, seen: Option<SocketAddr> },
}

impl KeepAlive {
    /// For a flow that was just used, with this maximum interval.
    pub fn new(now: Instant, is_reliable: bool, every: Duration, seed: [u8; 32]) -> Self {
        let way = match is_reliable {
            true => Way::Crlf { asked: false },
            false => Way::Stun { asked: None, seen: None },
        };
        let mut it = KeepAlive { every, due: now, way, dice: StdRng::from_seed(seed) };
        it.rest(now);
        it
    }

    /// Changes the interval.
    pub fn set_every(&mut self, now: Instant, every: Duration) {
        if self.every != every {
            self.every = every;
            self.due = self.due.min(now + every);
        }
    }

    /// When to call [`KeepAlive::timeout`].
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Waits 80 to 100 % of the interval (RFC 5626 §4.4), so that a registrar's clients do
    /// not all send at once after its restart.
    fn rest(&mut self, now: Instant) {
        self.due = now + self.every.mul_f64(self.dice.random_range(0.8..=1.0));
    }

    /// Handles the passing of time.
    pub fn timeout(&mut self, now: Instant) -> Order {
        if now < self.due {
            return Order::Nothing;
        }
        match &mut self.way {
            Way::Crlf { asked: true } => Order::Lost("it has sent no CRLF back in 10 s"),
            Way::Crlf { asked } => {
                (*asked, self.due) = (true, now + PONG);
                Order::Ping
            }
            Way::Stun { asked: Some((_, sends)), .. } if *sends >= SENDS => {
                Order::Lost("it has answered no Binding request (STUN)")
            }
            Way::Stun { asked, .. } => {
                let (transaction, sends) = asked.unwrap_or_else(|| (self.dice.random(), 0));
                *asked = Some((transaction, sends + 1));
                self.due = now + RTO * 2u32.pow(sends);
                Order::Ask(transaction)
            }
        }
    }

    /// Handles a CRLF from the peer.
    pub fn pong(&mut self, now: Instant) {
        if let Way::Crlf { asked: asked @ true } = &mut self.way {
            *asked = false;
            self.rest(now);
        }
    }

    /// Handles a datagram from the peer; `None` if it is not the response to our request. The
    /// address in it is used only to detect a new NAT binding: the registrar still has the
    /// old one (RFC 5626 §4.4.2).
    pub fn datagram(&mut self, now: Instant, datagram: &[u8]) -> Option<Order> {
        let Way::Stun { asked: asked @ Some(_), seen } = &mut self.way else { return None };
        let (transaction, _) = (*asked)?;
        let says = answer(datagram, &transaction).filter(|_| is_answer(datagram))?;
        *asked = None;
        let before = *seen;
        *seen = says.ok().or(before);
        if before.is_some() && *seen != before {
            return Some(Order::Lost("a NAT has given us another address"));
        }
        self.rest(now);
        Some(Order::Nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::super::stun::message::tests_only::success;
    use super::*;

    const EVERY: Duration = Duration::from_secs(100);

    fn kept(is_reliable: bool) -> (KeepAlive, Instant) {
        let now = Instant::now();
        (KeepAlive::new(now, is_reliable, EVERY, [3; 32]), now)
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_connection_is_asked_in_time_each_time_and_goes_on_when_it_answers() {
        let (mut it, mut now) = kept(true);
        for _ in 0..50 {
            let wait = it.due() - now;
            assert!((EVERY.mul_f64(0.8)..=EVERY).contains(&wait), "{wait:?}");
            assert_eq!(it.timeout(it.due() - Duration::from_millis(1)), Order::Nothing);
            now = it.due();
            assert_eq!(it.timeout(now), Order::Ping);
            now += Duration::from_secs(9);
            assert_eq!(it.timeout(now), Order::Nothing);
            it.pong(now);
        }
    }

    #[test]
    fn a_connection_that_answers_too_late_is_gone() {
        let (mut it, _) = kept(true);
        // An unsolicited pong does not extend the deadline.
        it.pong(it.due());
        let now = it.due();
        assert_eq!(it.timeout(now), Order::Ping);
        assert!(matches!(it.timeout(now + PONG), Order::Lost(_)));
    }

    #[test]
    fn over_udp_a_request_is_repeated_before_the_flow_is_gone() {
        let (mut it, _) = kept(false);
        let mut asked = Vec::new();
        let begin = it.due();
        let end = loop {
            let now = it.due();
            match it.timeout(now) {
                Order::Ask(transaction) => asked.push(transaction),
                Order::Lost(_) => break now,
                order => panic!("{order:?}"),
            }
        };
        assert_eq!(asked.len(), 7);
        assert!(asked.iter().all(|it| *it == asked[0]));
        assert_eq!(end - begin, RTO * 127);
    }

    #[test]
    fn over_udp_only_an_answer_to_what_was_asked_counts_and_another_address_is_another_flow() {
        let (mut it, _) = kept(false);
        let (here, there) = (at("203.0.113.7:5060"), at("203.0.113.7:5061"));
        let asks = |it: &mut KeepAlive| {
            let now = it.due();
            match it.timeout(now) {
                Order::Ask(transaction) => (now, transaction),
                order => panic!("{order:?}"),
            }
        };
        let (now, first) = asks(&mut it);
        assert_eq!(it.datagram(now, &success(&[9; 12], there)), None, "a guess");
        assert_eq!(it.datagram(now, b"SIP/2.0 200 OK\r\n"), None);
        assert_eq!(it.datagram(now, &success(&first, here)), Some(Order::Nothing));
        assert_eq!(it.datagram(now, &success(&first, there)), None, "a copy");
        let (now, second) = asks(&mut it);
        assert_ne!(first, second);
        assert_eq!(it.datagram(now, &success(&second, here)), Some(Order::Nothing));
        let (now, third) = asks(&mut it);
        assert!(matches!(it.datagram(now, &success(&third, there)), Some(Order::Lost(_))));
    }
}
