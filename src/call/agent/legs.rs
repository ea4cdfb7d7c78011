//! The table of legs, found by identifier, usage or media session.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::challenge::LegAuth;
use super::digits::Infos;
use super::{LegAudio, LegId, RemoteIdentity};
use crate::agent::leg::Leg;
use crate::leg_fsm::{LegState, TerminationCause};
use b2b_base::metrics::{MediaStats, UaStats};
use b2b_media::relay::RelayId;
use b2b_sip::endpoint::UsageId;
use b2b_sip::msg::Response;

/// A leg with its dialog usage and its media session.
pub(super) struct Entry {
    pub(super) leg: Leg,
    pub(super) usage: UsageId,
    /// The source of the peer's last message.
    pub(super) signalling: Option<IpAddr>,
    pub(super) session: Option<RelayId>,
    /// The audio until the session takes it.
    pub(super) audio: Option<LegAudio>,
    /// The session has audio.
    pub(super) attached: bool,
    /// Opened when the leg is answered: our source waits for it.
    pub(super) gate: Option<Arc<AtomicBool>>,
    /// Digits to send by INFO.
    pub(super) infos: Infos,
    /// Attach the audio with the first configuration of media; otherwise only when the leg is answered: a
    /// file must not start before the party can hear it.
    pub(super) early_audio: bool,
    /// The application knows of the leg.
    pub(super) told: bool,
    pub(super) ended: Option<TerminationCause>,
    /// The leg takes the route of our registration.
    pub(super) home: bool,
    /// Credentials and challenges; `None`: we have no credentials.
    pub(super) auth: Option<Box<LegAuth>>,
    /// The endpoint has reported the end of the usage.
    pub(super) usage_over: bool,
    /// The identity of the remote party; `None`: nothing is known besides the target of our INVITE.
    pub(super) identity: Option<RemoteIdentity>,
    /// The last URI in the remote party's From.
    pub(super) claimed: Option<String>,
    /// The 2xx to our INVITE, if messages are kept.
    pub(super) answer: Option<Box<Response>>,
}

impl Entry {
    pub(super) fn new(leg: Leg, usage: UsageId, told: bool) -> Self {
        Entry {
            leg,
            usage,
            signalling: None,
            session: None,
            audio: None,
            attached: false,
            gate: None,
            infos: Infos::default(),
            early_audio: false,
            told,
            ended: None,
            home: false,
            auth: None,
            usage_over: false,
            identity: None,
            claimed: None,
            answer: None,
        }
    }

    /// The counters for this leg's direction.
    pub(super) fn side<'a>(&self, stats: &'a mut UaStats) -> &'a mut MediaStats {
        if self.leg.is_inbound() { &mut stats.incoming } else { &mut stats.outgoing }
    }

    pub(super) fn is_up(&self) -> bool {
        self.leg.state() == LegState::Answered
    }
}

/// All legs.
#[derive(Default)]
pub(super) struct Legs {
    by_id: HashMap<LegId, Entry>,
    by_usage: HashMap<UsageId, LegId>,
    by_session: HashMap<RelayId, LegId>,
    last: u64,
}

impl Legs {
    pub(super) fn insert(&mut self, entry: Entry) -> LegId {
        self.last += 1;
        let id = LegId(self.last);
        self.by_usage.insert(entry.usage, id);
        if let Some(session) = entry.session {
            self.by_session.insert(session, id);
        }
        self.by_id.insert(id, entry);
        id
    }

    pub(super) fn get(&mut self, id: LegId) -> Option<&mut Entry> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn of_usage(&self, usage: UsageId) -> Option<LegId> {
        self.by_usage.get(&usage).copied()
    }

    pub(super) fn of_session(&self, session: RelayId) -> Option<LegId> {
        self.by_session.get(&session).copied()
    }

    pub(super) fn set_session(&mut self, id: LegId, session: RelayId) {
        if let Some(entry) = self.by_id.get_mut(&id) {
            entry.session = Some(session);
            self.by_session.insert(session, id);
        }
    }

    pub(super) fn session_closed(&mut self, session: RelayId) {
        if let Some(id) = self.by_session.remove(&session)
            && let Some(entry) = self.by_id.get_mut(&id)
        {
            entry.session = None;
        }
    }

    pub(super) fn remove(&mut self, id: LegId) {
        if let Some(entry) = self.by_id.remove(&id) {
            self.by_usage.remove(&entry.usage);
            if let Some(session) = entry.session {
                self.by_session.remove(&session);
            }
        }
    }

    /// All identifiers, in the order of creation.
    pub(super) fn ids(&self) -> Vec<LegId> {
        let mut ids: Vec<_> = self.by_id.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.by_id.values()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}
