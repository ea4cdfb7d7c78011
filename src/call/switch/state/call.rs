//! A call as a value: its legs, its dialling, its bridge, its variables.

use std::sync::Arc;
use std::time::Instant;

use crate::bridge_fsm::{BridgeMode, BridgeState};
use crate::call_fsm::{CallDirection, CallState};
use crate::controller::{EndpointId, RecordingId, StreamSpec};
use crate::handler::Party;
use crate::leg_fsm::TerminationCause;
use crate::lookup::ResolvedContact;
use crate::service::command::Reply;
use crate::service::{CallError, DialError, DialOptions};
use crate::switch::dial::{BranchNo, Dial};
use crate::switch::state::exchange::{Exchanges, Origin, Path};
use crate::switch::state::leg::Leg;
use crate::switch::state::recording::Recordings;
use crate::switch::state::transfer::Referrer;
use crate::switch::work::slots::Key;
use crate::{BridgeId, CallId, LegId};
use b2b_sip::endpoint::UsageId;
use b2b_sip::transaction::timer_queue::Queued;

/// The legs of a call that are not over, branches included, in the order in which they were added.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Legs(pub Vec<(LegId, Leg)>);

impl Legs {
    pub fn ids(&self) -> impl Iterator<Item = LegId> {
        self.0.iter().map(|(id, _)| *id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (LegId, &Leg)> {
        self.0.iter().map(|(id, leg)| (*id, leg))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Leg> {
        self.0.iter_mut().map(|(_, leg)| leg)
    }

    pub fn each_mut(&mut self) -> impl Iterator<Item = (LegId, &mut Leg)> {
        self.0.iter_mut().map(|(id, leg)| (*id, leg))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, id: LegId) -> Option<&Leg> {
        self.0.iter().find(|(one, _)| *one == id).map(|(_, leg)| leg)
    }

    pub(crate) fn get_mut(&mut self, id: LegId) -> Option<&mut Leg> {
        self.0.iter_mut().find(|(one, _)| *one == id).map(|(_, leg)| leg)
    }

    pub(crate) fn remove(&mut self, id: LegId) -> Option<Leg> {
        let place = self.0.iter().position(|(one, _)| *one == id)?;
        Some(self.0.remove(place).1)
    }
}

/// The purpose of a dialling.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) enum Purpose {
    /// For a caller, answered or not, who is to be joined with the callee.
    Caller { caller: LegId, reply: Option<Reply<Result<BridgeId, DialError>>> },
    /// For a leg of our own. `early`: told of the first leg with early media.
    Originate { early: Option<Reply<LegId>>, reply: Reply<Result<LegId, DialError>> },
    /// A transfer: to replace `leaves`, which asked for it, and be joined with `stays`.
    Transfer { leaves: LegId, stays: LegId, referrer: Referrer },
}

impl Purpose {
    /// The leg that is to be joined with the callee.
    pub fn caller(&self) -> Option<LegId> {
        match self {
            Purpose::Caller { caller, .. } => Some(*caller),
            Purpose::Transfer { stays, .. } => Some(*stays),
            Purpose::Originate { .. } => None,
        }
    }
}

/// A dialling in progress.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Dialling {
    pub purpose: Purpose,
    pub options: DialOptions,
    #[serde(with = "b2b_base::ages")]
    pub began: Instant,
    /// The pending request that looks its target up.
    pub lookup: Option<Key>,
    /// `None`: its target is being looked up.
    pub dial: Option<Dial<ResolvedContact>>,
    /// By branch number.
    pub branches: Vec<LegId>,
}

impl Dialling {
    /// The leg of a branch.
    pub fn leg(&self, branch: BranchNo) -> Option<LegId> {
        self.branches.get(usize::from(branch)).copied()
    }
}

/// Two legs that are joined.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Bridge {
    pub id: BridgeId,
    pub a: LegId,
    pub b: LegId,
    pub state: BridgeState,
    pub mode: BridgeMode,
    pub auto_hangup: bool,
    /// `None`: its media has to stay with b2b.
    pub direct: Option<Path>,
    #[serde(with = "b2b_base::ages::option")]
    pub started: Option<Instant>,
}

impl Bridge {
    pub fn other(&self, leg: LegId) -> Option<LegId> {
        match leg {
            _ if leg == self.a => Some(self.b),
            _ if leg == self.b => Some(self.a),
            _ => None,
        }
    }
}

/// Why a call ends.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct EndReason {
    pub cause: TerminationCause,
    /// The leg whose party has ended it; `None`: we have.
    pub by: Option<LegId>,
}

/// What ends a call by itself.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Watch {
    /// When the call reaches its maximum duration.
    #[serde(with = "b2b_base::ages::option")]
    pub ends_at: Option<Instant>,
    /// When the packets of an emergency call are counted again, and how many they were.
    #[serde(with = "b2b_base::ages::option")]
    pub counts_at: Option<Instant>,
    pub packets: Option<u64>,
}

/// A leg that has been transferred away, and has yet to get its NOTIFY (RFC 5589 §6.1).
#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(crate) struct Leaving {
    pub leg: LegId,
    /// When we hang it up, if it has not done so itself.
    #[serde(with = "b2b_base::ages")]
    pub until: Instant,
}

/// A call.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Call {
    pub state: CallState,
    /// The leg that began the call; 0: it was originated here.
    pub a: LegId,
    pub legs: Legs,
    pub dialling: Option<Box<Dialling>>,
    /// A contact has been dialled: further ones count for whoever leads to them.
    pub has_dialled: bool,
    pub bridge: Option<Box<Bridge>>,
    pub exchanges: Exchanges,
    /// A leg that has been transferred away.
    pub leaving: Option<Leaving>,
    /// The call that it has become part of, if any.
    pub linked: Option<CallId>,
    /// The application that has the call by name.
    pub application: Option<Arc<str>>,
    /// Variables set by handlers and operators.
    pub variables: Option<Box<Variables>>,
    /// Final values of some variables, for the end of the last leg.
    pub last_variables: Option<Box<Variables>>,
    /// Its present recording, and the number of recordings so far.
    pub recordings: Recordings,
    /// A handler holds leg A: the leg is not refused when the handler returns.
    pub adopted: bool,
    #[serde(with = "b2b_base::ages")]
    pub began: Instant,
    #[serde(with = "b2b_base::ages::option")]
    pub answered_at: Option<Instant>,
    pub watch: Watch,
    pub end: Option<EndReason>,
    /// How many deaths of the process it has outlived.
    #[serde(default)]
    pub resumed: u32,
    #[serde(skip)]
    pub queued: Queued,
}

impl Call {
    pub fn new(now: Instant) -> Self {
        Call {
            state: CallState::Idle,
            a: LegId(0),
            legs: Legs::default(),
            dialling: None,
            has_dialled: false,
            bridge: None,
            exchanges: Exchanges::default(),
            leaving: None,
            linked: None,
            application: None,
            variables: None,
            last_variables: None,
            recordings: Recordings::default(),
            adopted: false,
            began: now,
            answered_at: None,
            watch: Watch::default(),
            end: None,
            resumed: 0,
            queued: Queued::default(),
        }
    }

    /// The direction of the first of its remaining legs.
    pub fn began_as(&self) -> CallDirection {
        self.legs.iter().next().map_or(CallDirection::Inbound, |(_, leg)| leg.direction())
    }

    /// Whether an offer is under way.
    pub fn is_asked(&self) -> bool {
        self.exchanges.under_way.is_some()
    }

    /// Whether it is dialling, or an offer is under way.
    pub fn is_busy(&self) -> bool {
        self.dialling.is_some() || self.is_asked()
    }

    /// Whether it is dialling, or a newcomer is about to replace a party. A command may have changed its state since.
    pub fn is_changing_parties(&self) -> bool {
        let asked = self.exchanges.under_way.as_ref();
        self.dialling.is_some() || asked.is_some_and(|it| matches!(it.origin, Origin::Replacing(_)))
    }

    /// Whether a leg has been transferred away and has not ended yet.
    pub fn is_leaving(&self, leg: LegId) -> bool {
        self.leaving.is_some_and(|leaving| leaving.leg == leg) && self.leg(leg).is_some()
    }

    /// The other leg, and the mode, of a leg that is in a bridge.
    pub fn bridged(&self, leg: LegId) -> Option<(LegId, BridgeMode)> {
        self.leg(leg)?;
        let bridge = self.bridge.as_ref()?;
        let other = bridge.other(leg)?;
        self.leg(other).filter(|it| it.is_up())?;
        Some((other, bridge.mode))
    }

    /// The party of a leg.
    pub fn party(&self, leg: LegId) -> Arc<Party> {
        self.leg(leg).map(|it| it.identity.party.clone()).unwrap_or_default()
    }

    /// Its variables.
    pub fn variables(&self) -> Variables {
        self.variables.as_deref().cloned().unwrap_or_default()
    }

    /// The branches whose time for a response is over, with their dialogs.
    pub fn silent_at(&self, now: Instant) -> Vec<(BranchNo, Option<UsageId>)> {
        let Some(dialling) = &self.dialling else { return Vec::new() };
        let due = dialling.dial.as_ref().map(|dial| dial.silent_at(now)).unwrap_or_default();
        let usage = |branch| self.leg(dialling.leg(branch)?)?.usage;
        due.into_iter().map(|branch| (branch, usage(branch))).collect()
    }

    /// The next deadline of the call.
    pub fn next_timeout(&self) -> Option<Instant> {
        let dialling = self.dialling.as_ref().and_then(|it| it.dial.as_ref()?.next_timeout());
        let leaving = self.leaving.map(|it| it.until);
        let path = self.bridge.as_ref().and_then(|bridge| bridge.direct.as_ref()?.look);
        dialling
            .into_iter()
            .chain(leaving)
            .chain(path)
            .chain(self.watch.ends_at)
            .chain(self.watch.counts_at)
            .min()
    }

    /// The endpoint of an answered leg.
    pub(crate) fn leg_media(&self, leg: LegId) -> Result<EndpointId, CallError> {
        self.media_of(leg, Leg::is_up)
    }

    /// The endpoint for a stream: one that only listens hears early media, too.
    pub(crate) fn stream_media(&self, leg: LegId, spec: StreamSpec) -> Result<EndpointId, CallError> {
        self.media_of(leg, |it| it.is_up() || !spec.speaks && it.has_early_media())
    }

    pub(crate) fn media_of(
        &self,
        leg: LegId,
        is_ready: impl Fn(&Leg) -> bool,
    ) -> Result<EndpointId, CallError> {
        let it = self.leg(leg).filter(|it| !it.life.is_ending()).ok_or(CallError::Gone)?;
        if !is_ready(it) {
            return Err(CallError::WrongState("the leg has to be answered first"));
        }
        it.media.endpoint.ok_or(CallError::WrongState("the leg has no media"))
    }

    /// A leg of it.
    #[inline]
    pub fn leg(&self, leg: LegId) -> Option<&Leg> {
        self.legs.get(leg)
    }

    /// As [`Call::leg`], mutable.
    #[inline]
    pub fn leg_mut(&mut self, leg: LegId) -> Option<&mut Leg> {
        self.legs.get_mut(leg)
    }

    /// Takes the recording with this number out, and says whose it is: that of a leg, or the call's own.
    pub(crate) fn recorded_by(&mut self, id: RecordingId) -> Option<Option<LegId>> {
        let take = |it: &mut Recordings| it.running.take_if(|it| it.id == Some(id)).is_some();
        if take(&mut self.recordings) {
            return Some(None);
        }
        self.legs.each_mut().find_map(|(leg, it)| take(&mut it.recordings).then_some(Some(leg)))
    }
}

/// Name and value, in the order in which they were first set.
pub(crate) type Variables = Vec<(String, String)>;

/// Maximum variables per call, bytes per name and bytes per value.
pub(crate) const LIMITS: (usize, usize, usize) = (32, 64, 1_024);

impl Call {
    /// Sets a variable; an empty value removes it. A final value set earlier is discarded.
    pub(crate) fn set_variable(&mut self, name: String, value: String) -> Result<(), CallError> {
        if let Some(last) = self.last_variables.as_deref_mut() {
            last.retain(|(known, _)| *known != name);
        }
        let variables = self.variables.get_or_insert_default();
        let place = variables.iter().position(|(known, _)| *known == name);
        match place {
            Some(place) if value.is_empty() => drop(variables.remove(place)),
            None if value.is_empty() => {}
            _ if value.len() > LIMITS.2 || name.is_empty() || name.len() > LIMITS.1 => {
                return Err(CallError::WrongState("a variable's name has 1 to 64 bytes, its value 1,024"));
            }
            None if variables.len() >= LIMITS.0 => {
                return Err(CallError::WrongState("a call has 32 variables at most"));
            }
            Some(place) => variables[place].1 = value,
            None => variables.push((name, value)),
        }
        Ok(())
    }

    /// Sets a variable together with the value that it takes when the last leg of the call is over.
    pub(crate) fn set_variable_until_the_end(
        &mut self,
        name: String,
        value: String,
        last: String,
    ) -> Result<(), CallError> {
        self.set_variable(name.clone(), value)?;
        self.last_variables.get_or_insert_default().push((name, last));
        Ok(())
    }

    /// The variables for the record of this leg, which is over.
    pub(crate) fn recorded_variables(&self, leg: LegId) -> Variables {
        let mut variables = self.variables();
        let is_last = self.legs.ids().all(|other| other == leg);
        for (name, last) in self.last_variables.as_deref().filter(|_| is_last).into_iter().flatten() {
            if let Some((_, value)) = variables.iter_mut().find(|(known, _)| known == name) {
                value.clone_from(last);
            }
        }
        variables
    }
}
