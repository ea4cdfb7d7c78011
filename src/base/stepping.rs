//! What a process works on, in words of memory that outlives it: after a death by a fault of its own, the next process
//! finds there which message and which call were the last ones. Writing is a copy, without a system call.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The words before the octets of a message: state, call, source, length.
const HEAD: usize = 5;
/// The words that there have to be: what is longer than the rest is cut off.
pub const WORDS: usize = 512;

/// The bits of the state. Without [`AT_WORK`] the others say nothing.
const AT_WORK: u64 = 1;
const HAS_CALL: u64 = 2;
const HAS_MESSAGE: u64 = 4;
/// What is written down has ended in a panic.
const BROKEN: u64 = 8;

/// Memory that outlives the process.
pub trait Outlives: Send + Sync {
    /// [`WORDS`] words.
    fn words(&self) -> &[AtomicU64];
}

/// See the module documentation. One thread writes.
#[derive(Clone)]
pub struct Stepping(Arc<dyn Outlives>);

/// What a process before has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Its thread has panicked at this.
    pub broken: bool,
    /// The call; `None`: it was not known yet, or there is none.
    pub call: Option<u64>,
    /// The message, and from where it came; `None`: it was none.
    pub message: Option<(IpAddr, Vec<u8>)>,
}

impl fmt::Debug for Stepping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stepping").finish_non_exhaustive()
    }
}

impl Stepping {
    /// What is worked on is written here from now on.
    pub fn new(memory: Arc<dyn Outlives>) -> Self {
        Stepping(memory)
    }

    fn set(&self, word: usize, value: u64) {
        if let Some(word) = self.0.words().get(word) {
            word.store(value, Ordering::Relaxed);
        }
    }

    fn get(&self, word: usize) -> u64 {
        self.0.words().get(word).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// Adds to the state, unless it is that of a panic.
    fn adds(&self, bits: u64, write: impl FnOnce(&Self)) {
        let state = self.get(0);
        if state & BROKEN == 0 {
            write(self);
            self.set(0, state | AT_WORK | bits);
        }
    }

    /// A message is taken.
    pub fn message(&self, source: IpAddr, octets: &[u8]) {
        self.over();
        self.adds(HAS_MESSAGE, |it| {
            let source = match source {
                IpAddr::V4(address) => address.to_ipv6_mapped(),
                IpAddr::V6(address) => address,
            };
            let source = source.to_bits();
            it.set(2, (source >> 64) as u64);
            it.set(3, source as u64);
            let words = it.0.words().get(HEAD..).unwrap_or_default();
            let octets = octets.get(..words.len() * 8).unwrap_or(octets);
            it.set(4, octets.len() as u64);
            for (word, octets) in words.iter().zip(octets.chunks(8)) {
                let mut all = [0; 8];
                all.iter_mut().zip(octets).for_each(|(to, octet)| *to = *octet);
                word.store(u64::from_ne_bytes(all), Ordering::Relaxed);
            }
        });
    }

    /// This call takes a step, because of the message if there is one.
    pub fn call(&self, call: u64) {
        self.adds(HAS_CALL, |it| it.set(1, call));
    }

    /// Nothing is worked on any more.
    pub fn over(&self) {
        if self.get(0) & BROKEN == 0 {
            self.set(0, 0);
        }
    }

    /// What is worked on has panicked: it stays written down.
    pub fn broke(&self) {
        self.set(0, self.get(0) | BROKEN);
    }

    /// What a process before has left, which is forgotten.
    pub fn take_left(&self) -> Option<Left> {
        let state = self.get(0);
        self.set(0, 0);
        let has = |bit: u64| state & bit != 0;
        has(AT_WORK).then(|| Left {
            broken: has(BROKEN),
            call: has(HAS_CALL).then(|| self.get(1)),
            message: has(HAS_MESSAGE).then(|| {
                let source = Ipv6Addr::from_bits(u128::from(self.get(2)) << 64 | u128::from(self.get(3)));
                let words = self.0.words().get(HEAD..).unwrap_or_default();
                let mut octets: Vec<u8> =
                    words.iter().flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect();
                octets.truncate(usize::try_from(self.get(4)).unwrap_or(usize::MAX));
                (source.to_canonical(), octets)
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Memory([AtomicU64; WORDS]);

    impl Outlives for Memory {
        fn words(&self) -> &[AtomicU64] {
            &self.0
        }
    }

    #[test]
    fn the_last_message_and_its_call_are_left_until_they_are_over() {
        let memory = Arc::new(Memory([const { AtomicU64::new(0) }; WORDS]));
        let [stepping, next] = [0, 1].map(|_| Stepping::new(memory.clone()));
        assert_eq!(next.take_left(), None);
        let source: IpAddr = "192.0.2.7".parse().unwrap();
        let message = |octets: &[u8]| Some((source, octets.to_vec()));
        stepping.message(source, b"INFO sip:1");
        stepping.call(7);
        stepping.message(source, b"BYE");
        assert_eq!(next.take_left(), Some(Left { broken: false, call: None, message: message(b"BYE") }));
        stepping.call(8);
        assert_eq!(next.take_left(), Some(Left { broken: false, call: Some(8), message: None }));
        let (long, most) = ([b'x'; 5_000], (WORDS - HEAD) * 8);
        stepping.message(source, &long);
        stepping.call(9);
        stepping.over();
        assert_eq!(next.take_left(), None);
        // What is done after a panic hides nothing.
        stepping.message(source, &long);
        stepping.call(9);
        stepping.broke();
        stepping.message("2001:db8::1".parse().unwrap(), b"ACK");
        stepping.over();
        assert_eq!(
            next.take_left(),
            Some(Left { broken: true, call: Some(9), message: message(&long[..most]) })
        );
        assert_eq!(next.take_left(), None);
    }
}
