//! Requests of the `ng` protocol and their replies: cookies, retransmission, timeout. A machine without I/O.
//!
//! A request is `<cookie> <dictionary>` in a datagram. Its reply has the same cookie; the server answers a
//! repeated request with the same reply, so requests may be retransmitted (rtpengine keeps replies for some
//! seconds).

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::bencode::{BencodeError, Value};

/// Intervals before each retransmission of a request; after the last one it has timed out.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(150),
    Duration::from_millis(350),
    Duration::from_millis(700),
    Duration::from_millis(1_300),
];

/// Requests that await their replies. `T` is their purpose.
#[derive(Debug)]
pub struct Exchanges<T> {
    /// Prefix of our cookies: another process at our address must not get our replies.
    prefix: String,
    next: u64,
    open: HashMap<u64, Open<T>>,
    due: BTreeSet<(Instant, u64)>,
}

#[derive(Debug)]
struct Open<T> {
    datagram: Bytes,
    tries: usize,
    due: Instant,
    what: T,
}

/// An action that is due.
#[derive(Debug, PartialEq, Eq)]
pub enum Due<T> {
    /// Retransmit this.
    Again(Bytes),
    /// This has timed out.
    GivenUp(T),
}

/// Why a datagram is no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    #[error("its cookie matches no pending request")]
    Cookie,
    #[error("its dictionary cannot be read: {0}")]
    Bencode(#[from] BencodeError),
}

impl<T> Exchanges<T> {
    /// Starts without requests. `prefix` has no spaces, and is unique.
    pub fn new(prefix: String) -> Self {
        Exchanges { prefix, next: 1, open: HashMap::new(), due: BTreeSet::new() }
    }

    /// A request as a datagram; it is retransmitted until it is answered.
    pub fn ask(&mut self, now: Instant, what: T, request: &Value) -> Bytes {
        let number = self.next;
        self.next += 1;
        let mut datagram = format!("{}_{number} ", self.prefix).into_bytes();
        request.encode(&mut datagram);
        let datagram = Bytes::from(datagram);
        let due = now + PAUSES[0];
        self.due.insert((due, number));
        self.open.insert(number, Open { datagram: datagram.clone(), tries: 1, due, what });
        datagram
    }

    /// Takes a datagram from the server; returns the request that it answers, and the reply.
    ///
    /// # Errors
    /// If it is no reply, or a duplicate; nothing changes.
    pub fn reply(&mut self, datagram: &[u8]) -> Result<(T, Value), ReplyError> {
        let space = memchr::memchr(b' ', datagram).ok_or(ReplyError::Cookie)?;
        let cookie = std::str::from_utf8(&datagram[..space]).map_err(|_| ReplyError::Cookie)?;
        let number = cookie.strip_prefix(&*self.prefix).and_then(|rest| rest.strip_prefix('_'));
        let number: u64 = number.and_then(|number| number.parse().ok()).ok_or(ReplyError::Cookie)?;
        if !self.open.contains_key(&number) {
            return Err(ReplyError::Cookie);
        }
        let value = Value::decode(&datagram[space + 1..])?;
        let open = self.open.remove(&number).ok_or(ReplyError::Cookie)?;
        self.due.remove(&(open.due, number));
        Ok((open.what, value))
    }

    /// When to call [`Exchanges::timeout`].
    pub fn next_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The next action that is due; must be called until there is none.
    pub fn timeout(&mut self, now: Instant) -> Option<Due<T>> {
        let (at, number) = self.due.first().copied().filter(|(at, _)| *at <= now)?;
        self.due.remove(&(at, number));
        let open = self.open.get_mut(&number)?;
        match PAUSES.get(open.tries) {
            Some(pause) => {
                open.tries += 1;
                open.due = now + *pause;
                self.due.insert((open.due, number));
                Some(Due::Again(open.datagram.clone()))
            }
            None => self.open.remove(&number).map(|open| Due::GivenUp(open.what)),
        }
    }

    /// Number of pending requests.
    pub fn len(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ping() -> Value {
        Value::dict([("command", "ping".into())])
    }

    #[test]
    fn a_reply_finds_its_request_by_the_cookie_and_only_once() {
        let now = Instant::now();
        let mut exchanges = Exchanges::new("p".to_owned());
        assert_eq!(exchanges.ask(now, 'a', &ping()), &b"p_1 d7:command4:pinge"[..]);
        assert_eq!(exchanges.ask(now, 'b', &ping()), &b"p_2 d7:command4:pinge"[..]);
        assert_eq!(exchanges.reply(b"p_2 d6:result4:ponge").map(|(what, _)| what), Ok('b'));
        assert_eq!(exchanges.reply(b"p_2 d6:result4:ponge"), Err(ReplyError::Cookie));
        assert_eq!(exchanges.reply(b"p_1 d6:result4:ponge").map(|(what, _)| what), Ok('a'));
        assert_eq!((exchanges.len(), exchanges.next_timeout()), (0, None));
    }

    #[test]
    fn hostile_datagrams_leave_the_request_waiting() {
        let now = Instant::now();
        let mut exchanges = Exchanges::new("p".to_owned());
        let _ = exchanges.ask(now, (), &ping());
        for datagram in [&b""[..], b" ", b"p_1", b"q_1 de", b"p_9 de", b"p_x de", b"\xFF\xFE de", b"_1 de"] {
            assert_eq!(exchanges.reply(datagram), Err(ReplyError::Cookie), "{datagram:?}");
        }
        for datagram in [&b"p_1 "[..], b"p_1 d", b"p_1 lllll", b"p_1 dee"] {
            assert!(matches!(exchanges.reply(datagram), Err(ReplyError::Bencode(_))), "{datagram:?}");
        }
        assert!(exchanges.reply(b"p_1 de").is_ok());
    }

    #[test]
    fn a_request_is_sent_again_and_at_last_given_up() {
        let mut now = Instant::now();
        let mut exchanges = Exchanges::new("p".to_owned());
        let first = exchanges.ask(now, 7, &ping());
        assert_eq!(exchanges.timeout(now), None, "not at once");
        for pause in PAUSES.iter().take(PAUSES.len() - 1) {
            now += *pause;
            assert_eq!(exchanges.timeout(now), Some(Due::Again(first.clone())));
            assert_eq!(exchanges.timeout(now), None);
        }
        now += PAUSES[PAUSES.len() - 1];
        assert_eq!(exchanges.timeout(now), Some(Due::GivenUp(7)));
        assert_eq!((exchanges.timeout(now), exchanges.len()), (None, 0));
    }
}
