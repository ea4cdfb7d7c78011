//! Random joins of parties.

use b2b_media::codec::Law;
use b2b_media::forward::PayloadMap;
use b2b_media::relay::machine::Command;
use b2b_media::relay::{Recode, Way};
use b2b_media::remote::MOST_FORMATS;
use b2b_media::room::{Member, RoomAct};
use b2b_media::stage::Act;
use b2b_media::transcode::Plan;
use rand::RngExt;

use crate::party::Joint;
use crate::world::{ROOM, What, World};

impl World {
    /// Rejoins some parties.
    pub(super) fn joins(&mut self) {
        self.outcome.joins += 1;
        let mut free: Vec<usize> = (0..self.parties.len()).collect();
        if self.at > 0 {
            free.retain(|_| self.rng.random());
        }
        let peers: Vec<usize> =
            free.iter().filter_map(|n| self.parties[*n].joint.peer()).map(|it| it as usize).collect();
        free.extend(peers);
        free.sort_unstable();
        free.dedup();
        for n in free.clone() {
            self.parts(n);
        }
        while let Some(n) = free.pop() {
            let other = free.len().checked_sub(1).map(|last| self.rng.random_range(0..=last));
            match (self.rng.random_range(0..6), other) {
                (0, _) => self.enters(n),
                (1, _) => self.echoes(n),
                (2, _) => {}
                (_, Some(other)) => self.pairs(n, free.swap_remove(other)),
                (_, None) => self.enters(n),
            }
        }
        if !self.calm {
            let next = self.within(10, 90);
            self.put(next, What::Joins);
        }
    }

    fn joint(&mut self, n: usize, joint: Joint) {
        self.trace(|| format!("{n}: {joint:?}"));
        let (at, first) = (self.at, self.at == 0);
        let party = &mut self.parties[n];
        (party.joint, party.hears.since, party.clean_since) = (joint, at, at);
        (party.accepted.steady, party.anchor) = (party.accepted.steady && first, None);
    }

    /// Parts a party.
    fn parts(&mut self, n: usize) {
        let id = self.parties[n].id;
        match self.parties[n].joint {
            Joint::Alone => return,
            Joint::Room => {
                self.command(Command::Room { number: ROOM, act: Box::new(RoomAct::Leave { id }) });
            }
            Joint::Echo => self.command(Command::Stage { id, act: Box::new(Act::Echo { on: false }) }),
            joint => {
                let Some(peer) = joint.peer() else { return };
                let b = self.parties[peer as usize].id;
                self.command(Command::Part { a: id, b });
                self.joint(peer as usize, Joint::Alone);
            }
        }
        self.joint(n, Joint::Alone);
    }

    fn enters(&mut self, n: usize) {
        let id = self.parties[n].id;
        let enter = RoomAct::Enter { id, party: id, member: Member::default() };
        self.joint(n, Joint::Room);
        self.command(Command::Room { number: ROOM, act: Box::new(enter) });
    }

    fn echoes(&mut self, n: usize) {
        self.joint(n, Joint::Echo);
        let id = self.parties[n].id;
        self.command(Command::Stage { id, act: Box::new(Act::Echo { on: true }) });
    }

    fn pairs(&mut self, a: usize, b: usize) {
        let transcodes = self.rng.random_range(0..4) == 0;
        let (forward, there) = self.way(a, b, transcodes);
        let (backward, here) = self.way(b, a, transcodes);
        self.joint(a, there);
        self.joint(b, here);
        let (forward, backward) = (Box::new(forward), Box::new(backward));
        let (a, b) = (self.parties[a].id, self.parties[b].id);
        self.command(Command::Join { a, b, forward, backward });
    }

    /// The way from one to the other, and its kind.
    fn way(&self, from: usize, to: usize, transcodes: bool) -> (Way, Joint) {
        let (from, peer) = (&self.parties[from], to as u32);
        let to = &self.parties[to];
        let (here, there) = (from.codec, to.codec);
        let (number, other) = (here.payload_type(), there.payload_type());
        let mut way = Way::new(PayloadMap::EMPTY, here.clock_rate());
        way.clocks.set(number, here.clock_rate());
        match (Law::of(here), Law::of(there)) {
            _ if here == there && !transcodes => {
                way.payload_types.forward(number, number);
                (way, Joint::Relayed(peer))
            }
            (Some(_), Some(law)) if !transcodes => {
                way.payload_types.forward(number, other);
                way.recode = Some(Recode { payload_type: number, to: law });
                (way, Joint::Recoded(peer))
            }
            _ => {
                let mut formats = [None; MOST_FORMATS];
                formats[0] = Some((number, here));
                way.payload_types.up(number);
                way.transcode =
                    Some(Plan { from: formats, to: to.target(), events: None, cuts_tones: false });
                (way, Joint::Transcoded(peer))
            }
        }
    }
}
