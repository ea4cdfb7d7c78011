//! Streams from the believed source beside the believed stream. Exactly one is heard: another one takes
//! over with its second packet in sequence if the present one has ended, or after silence.

use crate::forward::Header;

/// After this much silence, ns, the first packet of another stream takes over.
const SILENCE: u64 = 60_000_000;
/// The same for a stream that was sent beside the present one.
const RIVAL_SILENCE: u64 = 200_000_000;
/// Streams that are remembered.
const REMEMBERED: usize = 4;
/// Maximum distance of sequence numbers within one stream.
const NEAR: u16 = 100;

/// How often believed packets came between those of another stream: once, if the last one is reordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    Never,
    Once,
    Often,
}

/// A stream that is not believed.
#[derive(Debug, Clone, Copy)]
struct Rival {
    ssrc: u32,
    /// When its last packet arrived, ms modulo 2^32.
    at_ms: u32,
    /// Its next sequence number.
    next: u16,
    /// How many packets were believed by then, modulo 2^16.
    believed: u16,
    beside: Beside,
}

/// The streams beside the believed one; see the module documentation.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rivals {
    places: [Option<Rival>; REMEMBERED],
}

impl Rivals {
    /// Steps by a packet of another stream that arrived at `at`; the last one of the present stream
    /// arrived at `last_at` as the `believed`-th. Returns whether its stream takes over.
    pub fn take_over(&mut self, header: &Header, at: u64, last_at: u64, believed: u64) -> bool {
        let (place, known) = self.find(header, at);
        let goes_on = known.is_some_and(|known| known.believed != believed as u16);
        let beside = match known.map_or(Beside::Never, |known| known.beside) {
            Beside::Never if goes_on => Beside::Once,
            Beside::Once if goes_on => Beside::Often,
            beside => beside,
        };
        let follows = !goes_on && known.is_some_and(|known| known.next == header.sequence);
        let silence = if beside == Beside::Often { RIVAL_SILENCE } else { SILENCE };
        if at.saturating_sub(last_at) >= silence || follows && beside != Beside::Often {
            self.places[place] = None;
            return true;
        }
        self.places[place] = Some(Rival::new(header, header.sequence.wrapping_add(1), at, believed, beside));
        false
    }

    /// Makes this packet, if it comes next, take over.
    pub fn expect(&mut self, header: &Header, at: u64, believed: u64) {
        let (place, _) = self.find(header, at);
        self.places[place] = Some(Rival::new(header, header.sequence, at, believed, Beside::Never));
    }

    /// Whether the packet's stream is sent beside the present one.
    pub fn has(&self, header: &Header, at: u64) -> bool {
        self.find(header, at).1.is_some_and(|known| known.beside == Beside::Often)
    }

    /// The place of a packet's stream and, if it was not silent for too long, what is known of it. The
    /// place of an unknown one is that of the stream that was silent for the longest time.
    fn find(&self, header: &Header, at: u64) -> (usize, Option<Rival>) {
        let own = self.places.iter().position(|place| place.is_some_and(|known| known.is(header)));
        let age = |place: &usize| self.places[*place].map_or(u32::MAX, |known| known.age_ms(at));
        let place = own.or_else(|| (0..REMEMBERED).max_by_key(age)).unwrap_or(0);
        let fresh = |known: &Rival| u64::from(known.age_ms(at)) * 1_000_000 < RIVAL_SILENCE;
        (place, self.places[place].filter(|known| own.is_some() && fresh(known)))
    }
}

impl Rival {
    fn new(header: &Header, next: u16, at: u64, believed: u64, beside: Beside) -> Self {
        let (at_ms, believed) = ((at / 1_000_000) as u32, believed as u16);
        Rival { ssrc: header.ssrc, at_ms, next, believed, beside }
    }

    fn is(&self, header: &Header) -> bool {
        let distance = header.sequence.wrapping_sub(self.next) as i16;
        self.ssrc == header.ssrc && distance.unsigned_abs() <= NEAR
    }

    /// 0 if `at` is before its last packet, as that of a held packet is.
    fn age_ms(&self, at: u64) -> u32 {
        let age = ((at / 1_000_000) as u32).wrapping_sub(self.at_ms) as i32;
        age.max(0).unsigned_abs()
    }
}
