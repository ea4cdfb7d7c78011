//! Minting of tags, branches and Call-IDs.
//!
//! Each token starts with a shard byte, so that more than one signalling shard
//! can share a port: responses route by branch, in-dialog requests by our tag.
//! The rest is random, which makes them unguessable (RFC 3261 §19.3), and says
//! nothing of what else is there: what a token names is found by its bits in a
//! map. All randomness comes from one seeded cryptographic generator.

use std::fmt;

use rand::rngs::StdRng;
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

/// The one source of identifiers and of randomness of a signalling shard.
pub struct Mint {
    rng: StdRng,
    shard: u8,
}

impl Mint {
    /// In production `seed` comes from the operating system's generator: who
    /// knows it knows every tag.
    pub fn new(seed: [u8; 32], shard: u8) -> Self {
        Mint { rng: StdRng::from_seed(seed), shard }
    }

    /// A tag.
    pub fn tag(&mut self) -> Tag {
        let mut bytes = [0; TAG_LEN];
        to_hex(&mut bytes[..2], u64::from(self.shard));
        to_hex(&mut bytes[2..10], u64::from(self.rng.next_u32()));
        to_hex(&mut bytes[10..], self.rng.next_u64());
        Tag(bytes)
    }

    /// A branch.
    pub fn branch(&mut self) -> Branch {
        let mut bytes = [0; BRANCH_LEN];
        let (cookie, rest) = bytes.split_at_mut(MAGIC_COOKIE.len());
        cookie.copy_from_slice(MAGIC_COOKIE.as_bytes());
        rest.copy_from_slice(self.tag().as_bytes());
        Branch(bytes)
    }

    /// A Call-ID.
    pub fn call_id(&mut self) -> CallIdToken {
        let mut bytes = [0; CALL_ID_LEN];
        to_hex(&mut bytes[..2], u64::from(self.shard));
        to_hex(&mut bytes[2..18], self.rng.next_u64());
        to_hex(&mut bytes[18..], self.rng.next_u64());
        CallIdToken(bytes)
    }

    /// 64 random bits, for sequence origins and back-off times.
    pub fn random(&mut self) -> u64 {
        self.rng.next_u64()
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
    }

    #[test]
    fn a_seed_gives_the_same_tokens_again_and_another_seed_does_not() {
        let first = |seed| Mint::new([seed; 32], 0).call_id();
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
    }
}
