//! Joins of legs on different media threads: each thread gets one more endpoint, and the two send to each
//! other. This costs one hop, but the threads share nothing.
//!
//! This is the exception (an attended transfer between calls on different threads): the legs of one call are
//! allocated on the same thread.
//!
//! Media that the other leg's thread generates for a leg (DTMF tones, events, comfort noise) is generated for
//! the trunk endpoint that represents the leg there, in the leg's own formats, and passes the trunk
//! unchanged.

use std::net::SocketAddr;

use b2b_media::forward::{ExtensionMap, PayloadMap};
use b2b_media::relay::{EndpointConfig, OpenError, RelayHandle, RelayId, Way};
use b2b_media::remote::{Remote, Voice};

#[derive(Debug)]
struct Trunk {
    legs: [RelayId; 2],
    ends: [RelayId; 2],
    /// The addresses at which the ends receive.
    at: [SocketAddr; 2],
}

/// The open trunks of a controller.
#[derive(Debug, Default)]
pub(super) struct Trunks(Vec<Trunk>);

impl Trunks {
    /// Joins two legs, over a trunk if they are on different threads. Trunks of either leg to other legs are
    /// closed.
    pub fn join(
        &mut self,
        relay: &RelayHandle,
        legs: [RelayId; 2],
        remotes: [Option<Remote>; 2],
        ipv6: bool,
        forward: Way,
        backward: Way,
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
        // Payload types and codecs are converted where a packet enters the trunk.
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

    /// Closes the trunks of a released leg.
    pub fn release(&mut self, relay: &RelayHandle, leg: RelayId) {
        self.0.retain(|trunk| keep(relay, trunk, !trunk.legs.contains(&leg)));
    }

    /// The number of open trunks.
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

/// The remote side of a trunk end that sends to `at`, with the formats that the leg beyond accepts. Formats
/// of the leg's own media are converted before they reach it.
fn standing_for(beyond: Option<Remote>, at: SocketAddr) -> Remote {
    let Some(Remote { takes_event, takes_tones, voice, .. }) = beyond else { return Remote::at(at) };
    Remote { takes_event, takes_tones, voice: Voice { gets: voice.gets, ..Voice::NONE }, ..Remote::at(at) }
}

/// Opens two endpoints that send to each other, each on the thread of its leg; returns them and their
/// addresses.
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
