//! Generation of tags, branches and Call-IDs.
//!
//! Each token starts with a shard byte, so that several signalling shards can share a port:
//! responses are routed by branch, requests in a dialog by our tag. The rest is random, which
//! makes tokens unguessable (RFC 3261 §19.3) and discloses nothing; a map finds the state of
//! a token by its bits. Randomness comes from seeded cryptographic generators: for a call leg
//! from its `Chance`, so that the leg can be replayed alone, for everything else from the
//! `Mint`.

use std::fmt;

use rand::rngs::ChaCha12Rng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The branch prefix of RFC 3261 §8.1.1.7.
pub const MAGIC_COOKIE: &str = "z9hG4bK";

const HEX: &[u8; 16] = b"0123456789abcdef";
const TAG_LEN: usize = 2 + 24;
const BRANCH_LEN: usize = MAGIC_COOKIE.len() + TAG_LEN;
const CALL_ID_LEN: usize = 2 + 32;

/// A tag of ours (RFC 3261 §19.3): shard and 96 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag([u8; TAG_LEN]);

/// A branch of ours (RFC 3261 §8.1.1.7): magic cookie, shard, 96 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Branch([u8; BRANCH_LEN]);

/// A Call-ID of ours (RFC 3261 §8.1.1.4): shard and 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallIdToken([u8; CALL_ID_LEN]);

macro_rules! token_text {
    ($type:ident) => {
        impl $type {
            /// The token as text.
            pub fn as_str(&self) -> &str {
                // It contains only ASCII.
                std::str::from_utf8(&self.0).unwrap_or_default()
            }

            /// The token as bytes.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

macro_rules! token_value {
    ($type:ident, $locate:path) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                let ours = $locate(text.as_bytes()).and_then(|_| text.as_bytes().try_into().ok());
                ours.map($type).ok_or_else(|| serde::de::Error::custom("not a token of ours"))
            }
        }
    };
}

token_value!(Tag, locate_tag);
token_value!(Branch, locate_branch);
token_text!(Tag);
token_text!(Branch);
token_text!(CallIdToken);

/// The parts of one of our tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Locator {
    /// The signalling shard that generated it.
    pub shard: u8,
    /// The last 64 of its random bits, as a map key; compare the whole token before trusting
    /// it.
    pub random: u64,
}

/// Parses a tag from a message. `None` if it is not in our format.
pub fn locate_tag(tag: &[u8]) -> Option<Locator> {
    if tag.len() != TAG_LEN {
        return None;
    }
    let (head, random) = tag.split_at(TAG_LEN - 16);
    Some(Locator { shard: from_hex(head.get(..2)?)? as u8, random: from_hex(random)? })
}

/// Parses a branch from a message. `None` if it is not in our format.
pub fn locate_branch(branch: &[u8]) -> Option<Locator> {
    locate_tag(branch.strip_prefix(MAGIC_COOKIE.as_bytes())?)
}

/// Writes tokens from a random generator.
struct Writer<R> {
    rng: R,
    shard: u8,
}

impl<R: Rng> Writer<R> {
    fn tag(&mut self) -> Tag {
        let mut bytes = [0; TAG_LEN];
        to_hex(&mut bytes[..2], u64::from(self.shard));
        to_hex(&mut bytes[2..10], u64::from(self.rng.next_u32()));
        to_hex(&mut bytes[10..], self.rng.next_u64());
        Tag(bytes)
    }

    fn branch(&mut self) -> Branch {
        let mut bytes = [0; BRANCH_LEN];
        let (cookie, rest) = bytes.split_at_mut(MAGIC_COOKIE.len());
        cookie.copy_from_slice(MAGIC_COOKIE.as_bytes());
        rest.copy_from_slice(self.tag().as_bytes());
        Branch(bytes)
    }

    fn call_id(&mut self) -> CallIdToken {
        let mut bytes = [0; CALL_ID_LEN];
        to_hex(&mut bytes[..2], u64::from(self.shard));
        to_hex(&mut bytes[2..18], self.rng.next_u64());
        to_hex(&mut bytes[18..], self.rng.next_u64());
        CallIdToken(bytes)
    }
}

/// The source of identifiers and randomness of a signalling shard, outside of calls.
pub struct Mint(Writer<ChaCha12Rng>);

impl Mint {
    /// In production, `seed` comes from the operating system's generator; it must stay
    /// secret, since all tags follow from it.
    pub fn new(seed: [u8; 32], shard: u8) -> Self {
        Mint(Writer { rng: ChaCha12Rng::from_seed(seed), shard })
    }

    /// Position in the random stream, for [`Mint::skip_to`].
    pub fn position(&self) -> u64 {
        self.0.rng.get_word_pos() as u64
    }

    /// Continues where another mint with the same seed has stopped.
    pub fn skip_to(&mut self, position: u64) {
        self.0.rng.set_word_pos(u128::from(position));
    }

    /// The signalling shard.
    pub fn shard(&self) -> u8 {
        self.0.shard
    }

    /// A new tag.
    pub fn tag(&mut self) -> Tag {
        self.0.tag()
    }

    /// A new branch.
    pub fn branch(&mut self) -> Branch {
        self.0.branch()
    }

    /// A new Call-ID.
    pub fn call_id(&mut self) -> CallIdToken {
        self.0.call_id()
    }

    /// 64 random bits, for initial sequence numbers and back-off times.
    pub fn random(&mut self) -> u64 {
        self.0.rng.next_u64()
    }

    /// An unpredictable random stream for a call leg.
    pub fn chance(&mut self) -> Chance {
        let mut seed = [0; 32];
        self.0.rng.fill_bytes(&mut seed);
        Chance::new(seed, self.0.shard)
    }
}

/// The source of identifiers and randomness of one call leg, fully determined by its seed and
/// the previous draws.
///
/// It stores no generator, which would be several times as large: each draw makes one and
/// positions it where the last draw ended. The algorithm is fixed because seeds are stored,
/// and `StdRng` may change between versions.
#[derive(Serialize, Deserialize)]
pub struct Chance {
    seed: [u8; 32],
    /// Words of the stream used so far.
    position: u64,
    shard: u8,
}

/// The initial values of a call leg.
pub struct Beginning {
    pub tag: Tag,
    /// For outgoing calls.
    pub call_id: CallIdToken,
    /// For the initial CSeq number.
    pub random: u64,
}

impl Chance {
    /// `seed` must stay secret, since all identifiers of the leg follow from it.
    pub fn new(seed: [u8; 32], shard: u8) -> Self {
        Chance { seed, position: 0, shard }
    }

    /// The seed, for [`Chance::new`] to reproduce the leg.
    pub fn seed(&self) -> [u8; 32] {
        self.seed
    }

    /// The initial values of a leg, in one draw.
    pub fn begin(&mut self) -> Beginning {
        self.draw(|from| Beginning { tag: from.tag(), call_id: from.call_id(), random: from.rng.next_u64() })
    }

    /// A new branch.
    pub fn branch(&mut self) -> Branch {
        self.draw(Writer::branch)
    }

    /// 64 random bits, for initial sequence numbers and back-off times.
    pub fn random(&mut self) -> u64 {
        self.draw(|from| from.rng.next_u64())
    }

    fn draw<T>(&mut self, what: impl FnOnce(&mut Writer<ChaCha12Rng>) -> T) -> T {
        let mut rng = ChaCha12Rng::from_seed(self.seed);
        rng.set_word_pos(u128::from(self.position));
        let mut from = Writer { rng, shard: self.shard };
        let drawn = what(&mut from);
        self.position = from.rng.get_word_pos() as u64;
        drawn
    }
}

/// Omits the seed, which is a secret.
impl fmt::Debug for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chance").field("position", &self.position).finish_non_exhaustive()
    }
}

fn to_hex(out: &mut [u8], value: u64) {
    let digits = out.len();
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = HEX[(value >> (4 * (digits - 1 - i))) as usize & 15];
    }
}

fn from_hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |value, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_branches_lead_back_to_their_shard_and_random_bits() {
        let mut mint = Mint::new([7; 32], 0xa5);
        let (tag, branch) = (mint.tag(), mint.branch());
        for (token, located) in
            [(tag.as_str(), locate_tag(tag.as_bytes())), (branch.as_str(), locate_branch(branch.as_bytes()))]
        {
            let random = u64::from_str_radix(&token[token.len() - 16..], 16).unwrap();
            assert_eq!(located, Some(Locator { shard: 0xa5, random }), "{token}");
        }
        assert!(branch.as_str().starts_with(MAGIC_COOKIE));
    }

    #[test]
    fn foreign_tokens_lead_nowhere() {
        for foreign in ["", "z9hG4bK", "z9hG4bKnashds8", "1928301774", "zz00000000ffffffffffffffff"] {
            assert_eq!(locate_tag(foreign.as_bytes()), None, "{foreign}");
            assert_eq!(locate_branch(foreign.as_bytes()), None, "{foreign}");
        }
    }

    #[test]
    fn no_token_comes_twice() {
        let mut mint = Mint::new([7; 32], 0);
        assert_ne!(mint.tag(), mint.tag());
        assert_ne!(mint.branch(), mint.branch());
        assert_ne!(mint.call_id(), mint.call_id());
        let mut chance = mint.chance();
        assert_ne!(chance.branch(), chance.branch());
        assert_ne!(chance.random(), chance.random());
        assert_ne!(chance.begin().tag, chance.begin().tag);
        assert_ne!(chance.seed(), mint.chance().seed());
    }

    #[test]
    fn a_seed_gives_the_same_tokens_again_and_another_seed_does_not() {
        let first = |seed| Mint::new([seed; 32], 0).call_id();
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
    }

    /// Everything that a leg can draw, as text.
    fn leg(chance: &mut Chance, mut between: impl FnMut()) -> String {
        let Beginning { tag, call_id, random } = chance.begin();
        let mut text = format!("{tag} {call_id} {random}");
        // More words than a generator produces at once.
        for _ in 0..40 {
            between();
            text += &format!(" {} {}", chance.branch(), chance.random());
        }
        text
    }

    #[test]
    fn a_leg_draws_the_same_from_its_seed_whatever_others_draw_meanwhile() {
        let mut mint = Mint::new([7; 32], 3);
        let mut ours = mint.chance();
        let seed = ours.seed();
        let mut other = mint.chance();
        let among_others = leg(&mut ours, || {
            mint.tag();
            mint.chance().begin();
            other.branch();
        });
        assert_eq!(leg(&mut Chance::new(seed, 3), || ()), among_others);
        assert_ne!(leg(&mut Chance::new(other.seed(), 3), || ()), among_others);
    }

    #[test]
    fn draws_are_a_stream_without_gaps() {
        let (mut chance, mut whole) = (Chance::new([9; 32], 0), ChaCha12Rng::from_seed([9; 32]));
        for _ in 0..100 {
            assert_eq!(chance.random(), whole.next_u64());
        }
    }

    #[test]
    fn a_leg_s_stream_is_small_and_its_seed_is_not_shown() {
        assert!(size_of::<Chance>() <= 64);
        assert_eq!(format!("{:?}", Chance::new([0xab; 32], 0)), "Chance { position: 0, .. }");
    }
}
