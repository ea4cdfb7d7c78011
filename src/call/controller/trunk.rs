//! Joins of legs on different media threads: each thread gets an endpoint more, and the
//! two send to each other. One hop more, and nothing is shared between the threads.
//!
//! It is the exception (an attended transfer between calls of different threads): legs of
//! one call are allocated near each other.
//!
//! What is made for a leg by its other leg's thread (tones of digits, events, comfort noise) is made for
//! the end that stands for it there, in the leg's own words, and passes the trunk as it is.

use std::net::SocketAddr;

use b2b_media::forward::{ExtensionMap, PayloadMap};
use b2b_media::relay::{EndpointConfig, OpenError, RelayHandle, RelayId, Way};
use b2b_media::remote::{Remote, Voice};

#[derive(Debug)]
struct Trunk {
    legs: [RelayId; 2],
    ends: [RelayId; 2],
    /// Where the ends receive.
    at: [SocketAddr; 2],
}

/// The trunks of a controller.
#[derive(Debug, Default)]
pub(super) struct Trunks(Vec<Trunk>);

impl Trunks {
    /// Joins two legs, of which this is known, over a trunk where they need one. Trunks that either of
    /// them had to others are closed.
    pub fn join(
        &mut self,
        relay: &RelayHandle,
        legs: [RelayId; 2],
        remotes: [Option<Remote>; 2],
        ipv6: bool,
        (forward, backward): (Way, Way),
    ) -> Result<(), OpenError> {
        self.0.retain(|trunk| {
            let touched = legs.iter().any(|leg| trunk.legs.contains(leg));
            let same = legs.iter().all(|leg| trunk.legs.contains(leg));
            keep(relay, trunk, !touched || same)
        });
        if relay.join(legs[0], legs[1], forward, backward) {
            return Ok(());
        }
        let known = self.0.iter().find(|trunk| trunk.legs.contains(&legs[0]));
        let (ends, at) = match known {
            Some(trunk) if trunk.legs == legs => (trunk.ends, trunk.at),
            Some(trunk) => ([trunk.ends[1], trunk.ends[0]], [trunk.at[1], trunk.at[0]]),
            None => {
                let (ends, at) = open(relay, legs, ipv6)?;
                self.0.push(Trunk { legs, ends, at });
                (ends, at)
            }
        };
        relay.describe(ends[0], standing_for(remotes[1], at[1]));
        relay.describe(ends[1], standing_for(remotes[0], at[0]));
        // Numbers and codecs change where a packet enters the trunk.
        let through = |like: &Way| Way {
            extensions: ExtensionMap::all(),
            ..Way::new(PayloadMap::all(), like.clock_rate_out())
        };
        relay.join(legs[0], ends[0], forward, through(&backward));
        relay.join(ends[1], legs[1], through(&forward), backward);
        Ok(())
    }

    /// Closes the trunk between two legs.
    pub fn part(&mut self, relay: &RelayHandle, legs: [RelayId; 2]) {
        self.0.retain(|trunk| {
            let same = legs.iter().all(|leg| trunk.legs.contains(leg));
            keep(relay, trunk, !same)
        });
    }

    /// Closes the trunk of a leg that ends.
    pub fn release(&mut self, relay: &RelayHandle, leg: RelayId) {
        self.0.retain(|trunk| keep(relay, trunk, !trunk.legs.contains(&leg)));
    }

    /// Trunks open now.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

fn keep(relay: &RelayHandle, trunk: &Trunk, keep: bool) -> bool {
    if !keep {
        trunk.ends.iter().for_each(|end| relay.close(*end));
    }
    keep
}

/// An end whose other end receives here, with what the leg beyond takes. What that says has become
/// something else before it comes.
fn standing_for(beyond: Option<Remote>, at: SocketAddr) -> Remote {
    let Some(Remote { takes_event, takes_tones, voice, .. }) = beyond else { return Remote::at(at) };
    Remote { takes_event, takes_tones, voice: Voice { gets: voice.gets, ..Voice::NONE }, ..Remote::at(at) }
}

/// Two endpoints that send to each other, each near its leg; and where they receive.
pub(super) fn open(
    relay: &RelayHandle,
    legs: [RelayId; 2],
    ipv6: bool,
) -> Result<([RelayId; 2], [SocketAddr; 2]), OpenError> {
    let config = EndpointConfig::default();
    let (one, here) = relay.open_now(ipv6, legs[0], &config)?;
    let (other, there) = relay.open_now(ipv6, legs[1], &config).inspect_err(|_| relay.close(one))?;
    relay.describe(one, Remote::at(there));
    relay.describe(other, Remote::at(here));
    Ok(([one, other], [here, there]))
}
