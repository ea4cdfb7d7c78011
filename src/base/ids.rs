//! Minting of tags, branches and Call-IDs.
//!
//! Each token starts with a shard byte, so that more than one signalling shard
//! can share a port: responses route by branch, in-dialog requests by our tag.
//! The rest is random, which makes them unguessable (RFC 3261 §19.3), and says
//! nothing of what else is there: what a token names is found by its bits in a
//! map. Randomness comes from seeded cryptographic generators: what is part of
//! a call from the `Chance` of its leg, so that the leg can be replayed alone,
//! all else from the one `Mint`.

use std::fmt;

use rand::rngs::ChaCha12Rng;
use rand::{Rng, SeedableRng};

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
                // Only ASCII is ever written into it.
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

token_text!(Tag);
token_text!(Branch);
token_text!(CallIdToken);

/// What a token of ours says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Locator {
    /// The signalling shard that minted it.
    pub shard: u8,
    /// The last 64 of its random bits, for a map; compare the whole token
    /// before believing it.
    pub random: u64,
}

/// Reads a tag that came back to us. `None`: not a tag of our making.
pub fn locate_tag(tag: &[u8]) -> Option<Locator> {
    if tag.len() != TAG_LEN {
        return None;
    }
    let (head, random) = tag.split_at(TAG_LEN - 16);
    Some(Locator { shard: from_hex(head.get(..2)?)? as u8, random: from_hex(random)? })
}

/// Reads a branch that came back to us. `None`: not a branch of our making.
pub fn locate_branch(branch: &[u8]) -> Option<Locator> {
    locate_tag(branch.strip_prefix(MAGIC_COOKIE.as_bytes())?)
}

/// Writes tokens with the bits of a generator.
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

/// The identifiers and the randomness of a signalling shard that are no call's.
pub struct Mint(Writer<ChaCha12Rng>);

impl Mint {
    /// In production `seed` comes from the operating system's generator: who
    /// knows it knows every tag.
    pub fn new(seed: [u8; 32], shard: u8) -> Self {
        Mint(Writer { rng: ChaCha12Rng::from_seed(seed), shard })
    }

    /// How far its stream is used: what [`Mint::skip_to`] takes.
    pub fn position(&self) -> u64 {
        self.0.rng.get_word_pos() as u64
    }

    /// Goes on where another one of the same seed has stopped.
    pub fn skip_to(&mut self, position: u64) {
        self.0.rng.set_word_pos(u128::from(position));
    }

    /// The signalling shard.
    pub fn shard(&self) -> u8 {
        self.0.shard
    }

    /// A tag.
    pub fn tag(&mut self) -> Tag {
        self.0.tag()
    }

    /// A branch.
    pub fn branch(&mut self) -> Branch {
        self.0.branch()
    }

    /// A Call-ID.
    pub fn call_id(&mut self) -> CallIdToken {
        self.0.call_id()
    }

    /// 64 random bits, for sequence origins and back-off times.
    pub fn random(&mut self) -> u64 {
        self.0.rng.next_u64()
    }

    /// The stream of a call leg of its own, which nobody can foresee.
    pub fn chance(&mut self) -> Chance {
        let mut seed = [0; 32];
        self.0.rng.fill_bytes(&mut seed);
        Chance::new(seed, self.0.shard)
    }
}

/// The identifiers and the randomness of one call leg. What it gives is
/// determined by its seed and by what was drawn from it before.
///
/// It keeps no generator, which would be several times as large: one is made
/// for each draw and set to where the last one ended. The algorithm is named,
/// since `StdRng` may be another one in another version, and seeds are kept.
pub struct Chance {
    seed: [u8; 32],
    /// Words of the stream that are taken.
    position: u64,
    shard: u8,
}

/// What a call leg begins with.
pub struct Beginning {
    pub tag: Tag,
    /// Of use where the call is ours.
    pub call_id: CallIdToken,
    /// For the origin of its CSeq.
    pub random: u64,
}

impl Chance {
    /// Who knows `seed` knows every identifier of the leg.
    pub fn new(seed: [u8; 32], shard: u8) -> Self {
        Chance { seed, position: 0, shard }
    }

    /// What [`Chance::new`] takes to give the same again.
    pub fn seed(&self) -> [u8; 32] {
        self.seed
    }

    /// What a leg begins with, in one draw.
    pub fn begin(&mut self) -> Beginning {
        self.draw(|from| Beginning { tag: from.tag(), call_id: from.call_id(), random: from.rng.next_u64() })
    }

    /// A branch.
    pub fn branch(&mut self) -> Branch {
        self.draw(Writer::branch)
    }

    /// 64 random bits, for sequence origins and back-off times.
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

/// Without the seed: it is a secret.
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

    /// All that a leg may draw, as text.
    fn leg(chance: &mut Chance, mut between: impl FnMut()) -> String {
        let Beginning { tag, call_id, random } = chance.begin();
        let mut text = format!("{tag} {call_id} {random}");
        // Beyond the words that a generator makes at once.
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
