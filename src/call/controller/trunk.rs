//! Joins of legs on different media threads: each thread gets an endpoint more, and the
//! two send to each other. One hop more, and nothing is shared between the threads.
//!
//! It is the exception (an attended transfer between calls of different threads): legs of
//! one call are allocated near each other.

use std::net::SocketAddr;

use b2b_media::forward::{ExtensionMap, PayloadMap};
use b2b_media::relay::{EndpointConfig, OpenError, RelayHandle, RelayId, Remote, Way};

#[derive(Debug)]
struct Trunk {
    legs: [RelayId; 2],
    ends: [RelayId; 2],
}

/// The trunks of a controller.
#[derive(Debug, Default)]
pub(super) struct Trunks(Vec<Trunk>);

impl Trunks {
    /// Joins two legs, over a trunk where they need one. Trunks that either of them had to
    /// others are closed.
    pub fn join(
        &mut self,
        relay: &RelayHandle,
        legs: [RelayId; 2],
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
        let ends = match known {
            Some(trunk) if trunk.legs == legs => trunk.ends,
            Some(trunk) => [trunk.ends[1], trunk.ends[0]],
            None => {
                let (ends, _) = open(relay, legs, ipv6)?;
                self.0.push(Trunk { legs, ends });
                ends
            }
        };
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

/// Two endpoints that send to each other, each near its leg; and where the
/// first one receives.
pub(super) fn open(
    relay: &RelayHandle,
    legs: [RelayId; 2],
    ipv6: bool,
) -> Result<([RelayId; 2], SocketAddr), OpenError> {
    let (one, here) = relay.open(ipv6, Some(legs[0]), EndpointConfig::default())?;
    let (other, there) =
        relay.open(ipv6, Some(legs[1]), EndpointConfig::default()).inspect_err(|_| relay.close(one))?;
    relay.describe(one, Remote::at(there));
    relay.describe(other, Remote::at(here));
    Ok(([one, other], here))
}
