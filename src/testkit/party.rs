//! A user agent of the test: it calls, answers, and records events.

use std::net::SocketAddr;

use bytes::Bytes;

use super::{B2B, Harness, flow};
use b2b_sip::endpoint::{
    Body, Endpoint, EndpointConfig, Event, Extensions, Invite, Replaces, Termination, UsageEvent, UsageId,
};
use b2b_sip::msg::Method;

/// Identifies a party.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartyId(usize);

impl PartyId {
    pub(super) fn index(self) -> usize {
        self.0
    }
}

pub(super) struct Party {
    pub endpoint: Endpoint,
    pub address: SocketAddr,
    /// Earlier addresses, where it is still reachable.
    pub before: Vec<SocketAddr>,
    /// Whether its host is down: it neither sends nor receives.
    pub dead: bool,
    events: Vec<Event>,
    up: Vec<UsageId>,
}

impl Party {
    /// Whether it receives datagrams for this address.
    pub fn is_at(&self, address: SocketAddr) -> bool {
        self.address == address || self.before.contains(&address)
    }
}

impl Harness {
    /// Adds a party at this address.
    ///
    /// # Panics
    /// It is not an address.
    pub fn party(&mut self, address: &str) -> PartyId {
        self.party_with(address, |_| {})
    }

    /// Like [`Harness::party`], with an endpoint that the test configures.
    ///
    /// # Panics
    /// It is not an address.
    pub fn party_with(&mut self, address: &str, set_up: impl FnOnce(&mut EndpointConfig)) -> PartyId {
        let seed = self.parties.len() as u8 + 1;
        let mut config = EndpointConfig {
            user: format!("party{seed}"),
            accept: vec![Method::Info, Method::Message, Method::Notify],
            outside: vec![Method::Message, Method::Notify, Method::Register],
            extensions: Extensions { reliable: true, refer: true, replaces: true },
            ..EndpointConfig::new([seed; 32])
        };
        set_up(&mut config);
        let address = address.parse().unwrap_or_else(|_| panic!("{address} is no address"));
        let mut endpoint = Endpoint::new(config);
        endpoint.set_udp(move |remote, _| Some(flow(address, remote)));
        self.parties.push(Party {
            endpoint,
            address,
            before: Vec::new(),
            dead: false,
            events: Vec::new(),
            up: Vec::new(),
        });
        PartyId(self.parties.len() - 1)
    }

    fn at(&mut self, party: PartyId) -> &mut Party {
        &mut self.parties[party.0]
    }

    /// A party's endpoint, for operations without a shortcut here.
    pub fn endpoint(&mut self, party: PartyId) -> &mut Endpoint {
        &mut self.at(party).endpoint
    }

    /// Takes the party's host down.
    pub fn kill(&mut self, party: PartyId) {
        self.at(party).dead = true;
    }

    /// Moves the party to this address; its next request tells a call of it. Datagrams to the old address
    /// still arrive.
    ///
    /// # Panics
    /// It is not an address.
    pub fn moves(&mut self, party: PartyId, usage: UsageId, address: &str) {
        let address = address.parse().unwrap_or_else(|_| panic!("{address} is no address"));
        let it = self.at(party);
        let before = std::mem::replace(&mut it.address, address);
        it.before.push(before);
        it.endpoint.set_udp(move |remote, _| Some(flow(address, remote)));
        it.endpoint.forget_flow(usage);
    }

    /// Brings the party's host back.
    pub fn revive(&mut self, party: PartyId) {
        self.at(party).dead = false;
    }

    /// Calls a number at the switch.
    ///
    /// # Panics
    /// The number is not valid in a URI.
    pub fn call(&mut self, party: PartyId, number: &str, offer: Option<&str>) -> UsageId {
        let target = Bytes::from(format!("sip:{number}@{B2B}"));
        let body = offer.map(|offer| Body::sdp(offer.to_owned()));
        self.invite(party, Invite { target, body, ..Invite::default() })
    }

    /// The Replaces value (RFC 3891) for a call that is to take this one's place; `None` if the call is over.
    pub fn replaces(&mut self, party: PartyId, usage: UsageId) -> Option<Replaces> {
        let dialog = self.endpoint(party).dialog(usage)?;
        Some(Replaces {
            call_id: Bytes::copy_from_slice(dialog.call_id),
            to_tag: Bytes::copy_from_slice(dialog.remote_tag),
            from_tag: Bytes::copy_from_slice(dialog.local_tag.as_bytes()),
            early_only: false,
        })
    }

    /// Sends an INVITE composed by the test.
    ///
    /// # Panics
    /// It cannot be sent.
    pub fn invite(&mut self, party: PartyId, invite: Invite) -> UsageId {
        let now = self.now();
        let usage = self.endpoint(party).invite(now, invite).expect("an INVITE that can be sent");
        self.settle();
        usage
    }

    /// The incoming calls at a party since the last query.
    pub fn incoming(&mut self, party: PartyId) -> Vec<UsageId> {
        let events = &mut self.at(party).events;
        let found = events.extract_if(.., |event| matches!(event, Event::Incoming { .. }));
        found
            .filter_map(|event| if let Event::Incoming { usage, .. } = event { Some(usage) } else { None })
            .collect()
    }

    /// The single incoming call at a party.
    ///
    /// # Panics
    /// There is none, or there are more.
    pub fn next_call(&mut self, party: PartyId) -> UsageId {
        match self.incoming(party).as_slice() {
            [usage] => *usage,
            other => panic!("{} calls have come in", other.len()),
        }
    }

    /// Answers the single incoming call.
    ///
    /// # Panics
    /// See [`Harness::next_call`].
    pub fn answer_next(&mut self, party: PartyId, answer: &str) -> UsageId {
        let usage = self.next_call(party);
        self.answer(party, usage, Some(answer));
        usage
    }

    /// Answers an INVITE or re-INVITE.
    ///
    /// # Panics
    /// There is no INVITE to answer.
    pub fn answer(&mut self, party: PartyId, usage: UsageId, answer: Option<&str>) {
        let now = self.now();
        let body = answer.map(|answer| Body::sdp(answer.to_owned()));
        self.endpoint(party).answer(now, usage, body).expect("an INVITE to answer");
        self.settle();
    }

    /// Sends a provisional response.
    ///
    /// # Panics
    /// There is no INVITE to answer.
    pub fn ring(&mut self, party: PartyId, usage: UsageId, status: u16, session: Option<&str>) {
        let now = self.now();
        let body = session.map(|session| Body::sdp(session.to_owned()));
        self.endpoint(party).provisional(now, usage, status, "", body).expect("an INVITE to answer");
        self.settle();
    }

    /// Refuses an INVITE.
    ///
    /// # Panics
    /// There is no INVITE to refuse.
    pub fn reject(&mut self, party: PartyId, usage: UsageId, status: u16) {
        let now = self.now();
        self.endpoint(party).reject(now, usage, status, "").expect("an INVITE to refuse");
        self.settle();
    }

    /// Hangs up.
    ///
    /// # Panics
    /// The call is not answered.
    pub fn hang_up(&mut self, party: PartyId, usage: UsageId) {
        let now = self.now();
        self.endpoint(party).bye(now, usage).expect("an answered call");
        self.settle();
    }

    /// Cancels an outgoing call.
    ///
    /// # Panics
    /// It is not an outgoing call of the party, or it is answered.
    pub fn cancel(&mut self, party: PartyId, usage: UsageId) {
        let now = self.now();
        self.endpoint(party).cancel(now, usage).expect("a call to give up");
        self.settle();
    }

    /// Refers the far end to this target, the value of Refer-To.
    ///
    /// # Panics
    /// The call is not answered.
    pub fn refer(&mut self, party: PartyId, usage: UsageId, to: impl Into<Bytes>) {
        let now = self.now();
        let referred = self.endpoint(party).refer(now, usage, to.into(), true, Vec::new());
        referred.expect("an answered call");
        self.settle();
    }

    /// The events at a party since the last query.
    pub fn take(&mut self, party: PartyId) -> Vec<Event> {
        std::mem::take(&mut self.at(party).events)
    }

    /// Whether a party's call is answered and acknowledged, and not over.
    pub fn is_up(&self, party: PartyId, usage: UsageId) -> bool {
        self.parties[party.0].up.contains(&usage)
    }

    /// A party's calls that are answered, and not over.
    pub fn up(&self, party: PartyId) -> Vec<UsageId> {
        self.parties[party.0].up.clone()
    }

    /// The provisional responses that a caller has received since the last query.
    pub fn heard(&mut self, party: PartyId) -> Vec<(u16, String)> {
        let of = |event: &Event| match event {
            Event::Usage { event: UsageEvent::Provisional { response, .. }, .. } => {
                Some((response.status(), String::from_utf8_lossy(&response.body()).into_owned()))
            }
            _ => None,
        };
        let events = &mut self.at(party).events;
        let heard = events.iter().filter_map(of).collect();
        events.retain(|event| of(event).is_none());
        heard
    }

    /// How a party's call ended; `None` if it has not.
    pub fn ended(&mut self, party: PartyId, usage: UsageId) -> Option<Termination> {
        let events = &mut self.at(party).events;
        let end = events.iter().position(|event| {
            matches!(event, Event::Usage { usage: it, event: UsageEvent::Terminated { .. } } if *it == usage)
        })?;
        match events.remove(end) {
            Event::Usage { event: UsageEvent::Terminated { cause }, .. } => Some(cause),
            _ => None,
        }
    }

    pub(super) fn party_event(&mut self, party: usize, event: Event) {
        let Some(party) = self.parties.get_mut(party) else { return };
        match &event {
            Event::Usage { usage, event: UsageEvent::Answered { .. } | UsageEvent::Acknowledged { .. } }
                if !party.up.contains(usage) =>
            {
                party.up.push(*usage);
            }
            Event::Usage { usage, event: UsageEvent::Terminated { .. } } => party.up.retain(|it| it != usage),
            _ => {}
        }
        party.events.push(event);
    }
}
