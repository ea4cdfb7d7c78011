//! Carries out the actions of the dial machine: its branches are legs.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use super::admission::Outgoing;
use super::dial::{BranchNo, Dial, DialLimits, DialOutput, DialTarget, Silence, Stage, WhyCancelled};
use super::follow::Follow;
use super::invite::shown_by;
use super::redirect::of_reason;
use super::referral::party_at;
use super::reliable::is_reliable;
use super::say::reason_value;
use super::table::{Admitted, Dialling, Leaving, Leg, LegRules, Purpose};
use super::waiting::{OnDescription, OnEndpoint, OnFound};
use super::{CallStep, Turn};
use crate::LegId;
use crate::controller::{AddressFamily, Hold, MediaError, PairPolicy};
use crate::failure::DialFailure;
use crate::failure::cause;
use crate::headers;
use crate::identity::diversion;
use crate::initial_session::LateOffer;
use crate::leg_fsm::{LegEvent, LegState, TerminationCause};
use crate::leg_life::Life;
use crate::lookup::{EarlyMedia, LookupRequest, ResolvedContact};
use crate::reason::Reason;
use crate::service::{DialError, DialOptions, DialRequest, DialStage, DialTo};
use b2b_sip::msg::{Host, Response, Uri};

impl CallStep<'_> {
    /// Begins to dial, once the target is known.
    pub(super) fn dial(&mut self, t: &mut Turn<'_>, request: DialRequest, purpose: Purpose) {
        if self.begin_dial(t.now, request.options, purpose) {
            self.dial_to(t, request.to);
        }
    }

    /// Registers a dialling with its purpose. `false`: it is refused.
    pub(super) fn begin_dial(&mut self, now: Instant, options: DialOptions, purpose: Purpose) -> bool {
        if self.call.dialling.is_some() {
            refuse(purpose, DialError::Invalid("the call is dialling already".to_owned()));
            return false;
        }
        // The caller's bridge has ended, and the caller is about to be hung up or was transferred away; its
        // handler learns of it and asks for another party.
        if let Purpose::Caller { caller, .. } = &purpose
            && (self.call.is_leaving(*caller) || self.call.leg(*caller).is_none_or(|it| it.life.is_ending()))
        {
            self.common.counters.late();
            refuse(purpose, DialError::CallerGone);
            return false;
        }
        // A transfer has bridged the caller meanwhile, or has bridged others and the caller is about to
        // leave; its handler asks for another party.
        if let Purpose::Caller { .. } = &purpose
            && self.call.bridge.is_some()
        {
            self.common.counters.late();
            refuse(purpose, DialError::Invalid("the call has a bridge".to_owned()));
            return false;
        }
        if let Purpose::Caller { caller, .. } = &purpose
            && let Some(it) = self.call.leg_mut(*caller)
        {
            it.passing.policy = options.caller_policy.clone().or_else(|| it.passing.policy.take());
            it.passing.rules = LegRules::new(options.rules.clone(), false);
            let shown = || shown_by(it.life.invite()?, it.identity.who.as_deref());
            if let Some(shown) = options.caller.clone().or_else(shown) {
                it.identity.shown = Some(Box::new(shown));
            }
        }
        let dialling =
            Dialling { purpose, options, began: now, lookup: None, dial: None, branches: Vec::new() };
        self.call.dialling = Some(Box::new(dialling));
        true
    }

    /// Looks the target up if necessary, and dials.
    pub(super) fn dial_to(&mut self, t: &mut Turn<'_>, to: DialTo) {
        let call = self.id;
        let dialling = self.call.dialling.as_ref();
        if let Some(route) = dialling.and_then(|it| it.options.route.as_ref()) {
            self.common.history.route(call, t.now, &route.name, &route.why);
        }
        match to {
            DialTo::Contacts(contacts) => {
                self.dial_stages(t, vec![DialStage { contacts, ..DialStage::default() }]);
            }
            DialTo::Stages(stages) => self.dial_stages(t, stages),
            DialTo::Target(target) => {
                let caller = self.caller_uri();
                let lookup = LookupRequest { caller, ..LookupRequest::new(target, t.now) };
                let lookup = self.common.look_up(lookup, OnFound::Dial { call });
                let dialling = self.call.dialling.as_mut();
                if let Some(dialling) = dialling.filter(|_| lookup.is_some()) {
                    dialling.lookup = lookup;
                }
            }
        }
    }

    /// The caller on whose behalf a call dials, as a URI.
    pub(super) fn caller_uri(&self) -> Option<String> {
        let caller = self.call.dialling.as_ref()?.purpose.caller()?;
        let it = self.call.leg(caller)?;
        let from = it.life.invite()?.from().ok()?;
        match it.identity.who.as_deref().filter(|who| who.corrects(&from)) {
            Some(who) => Some(who.said.clone()),
            None => Some(String::from_utf8_lossy(from.uri.raw).into_owned()),
        }
    }

    pub(super) fn dial_stages(&mut self, t: &mut Turn<'_>, stages: Vec<DialStage>) {
        let call = self.id;
        let dialling = self.call.dialling.as_mut();
        let Some(dialling) = dialling.filter(|it| it.dial.is_none()) else {
            return self.common.counters.late();
        };
        let options = &dialling.options;
        let stages = stages.into_iter().map(|stage| Stage {
            rounds: rounds(stage.contacts),
            lasts: options.target_timeout.or(stage.lasts),
            failover: stage.failover,
        });
        let (stages, ring): (Vec<_>, _) = (stages.collect(), options.ring_timeout);
        let limits = DialLimits {
            ring,
            trying: options.trying_timeout,
            // Redirected calls ring within the time of the redirecting target.
            total: options.total_timeout.unwrap_or_else(|| stages.iter().map(|it| it.lasts(ring)).sum()),
            redirects: options.max_redirects,
        };
        dialling.dial = Some(Dial::new(t.now, stages, limits));
        self.common.follows.push(Follow::Dial { call });
    }

    /// Applies an action to the dial machine; its outputs follow.
    pub(super) fn with_dial(&mut self, act: impl FnOnce(&mut Dial<ResolvedContact>)) {
        let call = self.id;
        let dialling = self.call.dialling.as_mut();
        let Some(dialling) = dialling else { return self.common.counters.late() };
        match &mut dialling.dial {
            Some(dial) => {
                act(dial);
                self.common.counters.late += dial.take_late();
                self.common.follows.push(Follow::Dial { call });
            }
            // The lookup is not finished: the only possible event is that the caller has gone.
            None => self.common.follows.push(Follow::DialOver { call, error: DialError::CallerGone }),
        }
    }

    /// Carries out the next output of a dial machine; the remaining ones follow.
    pub(super) fn perform_dial(&mut self, t: &mut Turn<'_>) {
        let call = self.id;
        let dialling = self.call.dialling.as_mut();
        let Some(output) = dialling.and_then(|it| it.dial.as_mut()?.poll()) else {
            return self.arm(t.now);
        };
        match output {
            DialOutput::Start(branch, contact) => self.start_branch(t, branch, contact),
            DialOutput::Cancel(branch, why) => match self.branch(branch) {
                Some(leg) => self.give_up_branch(t, leg, why),
                None => self.common.counters.impossible("perform_dial"),
            },
            DialOutput::Progress { branch, status, early_media } => {
                self.progress(t, branch, status, early_media);
            }
            DialOutput::Won(branch) => self.won(t, branch),
            DialOutput::Failed(failure) => self.dial_over(t, DialError::Failed(failure)),
        }
        self.common.follows.push(Follow::Dial { call });
    }

    /// A branch has failed: informs the dial machine, then reports the refusal.
    pub(super) fn branch_failed(
        &mut self,
        leg: LegId,
        failure: DialFailure,
        act: impl FnOnce(&mut Dial<ResolvedContact>, DialFailure),
    ) {
        let call = self.id;
        let said = failure.clone();
        self.with_dial(|dial| act(dial, failure));
        self.common.follows.push(Follow::Refused { call, leg, failure: said });
    }

    pub(super) fn call_timeout(&mut self, t: &mut Turn<'_>) {
        let call = self.id;
        let now = t.now;
        let it = &mut *self.call;
        let leaves = it.leaving.take_if(|it| it.until <= now);
        let too_long = it.watch.ends_at.take_if(|at| *at <= now).is_some();
        if it.watch.counts_at.take_if(|at| *at <= now).is_some() {
            self.common.follows.push(Follow::CountPackets { call });
        }
        let dial = it.dialling.as_ref().and_then(|it| it.dial.as_ref()?.next_timeout());
        let path = it.bridge.as_ref().and_then(|bridge| bridge.direct.as_ref()?.look);
        if path.is_some_and(|at| at <= now) {
            self.common.follows.push(Follow::Lead { call });
        }
        if let Some(Leaving { leg, .. }) = leaves {
            self.common.follows.push(Follow::HangUp { leg, status: 480 });
        }
        if dial.is_some_and(|at| at <= now) {
            let silent = self.silent_branches(t);
            self.with_dial(|dial| {
                silent.into_iter().for_each(|(branch, silence)| dial.silence(branch, silence));
                dial.timeout(now);
            });
        }
        if too_long {
            self.common.follows.push(Follow::TooLong { call });
        }
    }

    /// Branches whose time for a response is over, and whether they really had none.
    fn silent_branches(&self, t: &Turn<'_>) -> Vec<(BranchNo, Silence)> {
        let dial = self.call.dialling.as_ref().and_then(|it| it.dial.as_ref());
        let due = dial.map(|dial| dial.silent_at(t.now)).unwrap_or_default();
        let silent = |branch: BranchNo| {
            let usage = self.branch(branch).and_then(|leg| self.call.leg(leg)?.usage);
            match usage.filter(|usage| t.sip.is_silent(*usage)) {
                Some(usage) => t.sip.turned_at(t.now, usage).map_or(Silence::FromTheStart, Silence::Since),
                None => Silence::Over,
            }
        };
        due.into_iter().map(|branch| (branch, silent(branch))).collect()
    }

    /// The leg of a branch.
    pub(super) fn branch(&self, branch: BranchNo) -> Option<LegId> {
        self.call.dialling.as_ref()?.branches.get(usize::from(branch)).copied()
    }

    fn start_branch(&mut self, t: &mut Turn<'_>, branch: BranchNo, mut contact: ResolvedContact) {
        if contact.diverted.as_ref().is_some_and(|it| it.reason.is_empty()) {
            let dial = self.call.dialling.as_ref().and_then(|it| it.dial.as_ref());
            contact = of_reason(contact, diversion::after(dial.and_then(Dial::failed_with)));
        }
        let outgoing = self.admitted_outgoing(t, &contact);
        self.common.counters.dialled += u64::from(outgoing.is_ok());
        let caller = self.call.dialling.as_ref().and_then(|it| it.purpose.caller());
        if let Some(usage) =
            caller.filter(|_| contact.emergency.is_some()).and_then(|leg| self.call.leg(leg)?.usage)
        {
            t.sip.keep_invitation(t.now, usage);
        }
        let family = family_of(&contact)
            .or_else(|| caller.and_then(|leg| Some(self.call.leg(leg)?.media.family)))
            .unwrap_or(AddressFamily::V4);
        let mut it = Leg::new(Life::outgoing(), family);
        it.branch = Some(branch);
        it.passing.policy = contact.policy.clone();
        it.identity.party = Arc::new(party_at(&contact));
        it.contact = Some(Box::new(contact));
        let leg = self.new_leg(it);
        if let Some(dialling) = self.call.dialling.as_mut() {
            dialling.branches.push(leg);
        }
        match outgoing {
            Ok(Outgoing { channels, wait, place, attempt }) => {
                if let Some(it) = self.call.leg_mut(leg) {
                    it.admitted = Admitted { channels, place, attempt };
                }
                self.tell_leg(t, leg);
                if wait.is_zero() {
                    return self.offer_to_branch(t, caller, leg);
                }
                self.branch_waits(t, caller, leg, wait);
            }
            Err((status, reason)) => self.branch_over(t, leg, DialFailure::new(status, &reason)),
        }
    }

    /// Prepares the media of a branch and the offer of its INVITE.
    pub(super) fn offer_to_branch(&mut self, t: &mut Turn<'_>, caller: Option<LegId>, leg: LegId) {
        let waiting = caller.and_then(|it| self.call.leg(it)).filter(|it| it.is_waiting());
        match (caller, waiting.map(|it| it.life.open_offer())) {
            // The caller's offer is passed on.
            (Some(caller), Some(Some(offer))) => {
                let then = OnDescription::Invite { branch: leg };
                let then = OnEndpoint::OfferFrom { from: caller, to: leg, offer, then };
                self.with_endpoint(t, caller, None, then);
            }
            // The caller made no offer: the callee makes it.
            (Some(_), Some(None)) => self.invite(t, leg, Ok(None)),
            // We make the offer: for a caller who is up, or on our own behalf.
            (caller, None) => {
                let like = caller.and_then(|it| self.call.leg(it)?.media.endpoint);
                let then = OnDescription::Invite { branch: leg };
                self.with_endpoint(t, leg, like, OnEndpoint::LocalOffer { leg, like, then });
            }
            (None, Some(_)) => self.common.counters.impossible("offer_to_branch"),
        }
    }

    /// There is no media for a branch.
    pub(super) fn no_media(&mut self, t: &mut Turn<'_>, leg: LegId, error: &MediaError) {
        tracing::warn!("leg {}: {error}", leg.0);
        let (status, reason) = error.status();
        self.branch_over(t, leg, DialFailure::of_ours(status, &reason));
    }

    /// The policy for offers to a leg.
    pub(super) fn policy_towards(&self, leg: LegId) -> Cow<'_, PairPolicy> {
        let it = self.call.leg(leg);
        let own = it.and_then(|it| it.passing.policy.as_deref()).unwrap_or(&self.common.config.policy);
        let decodes = own.decodes || it.is_some() && self.is_recorded();
        // A party that takes no later offers cannot be told of a resume.
        let told_once = it.is_some_and(|it| it.takes.no_reinvites);
        let usual = if told_once { Hold::Over } else { Hold::No };
        match it.map(|it| it.hold.ours).filter(|hold| *hold != Hold::No).unwrap_or(usual) {
            Hold::No if decodes == own.decodes => Cow::Borrowed(own),
            hold => Cow::Owned(PairPolicy { hold, decodes, ..own.clone() }),
        }
    }

    /// Whether a call is recorded, or will be once it is answered.
    fn is_recorded(&self) -> bool {
        self.call.recordings.running.is_some()
            || self.call.dialling.as_ref().is_some_and(|it| it.options.record)
    }

    /// Takes the header fields and parts from a branch's response that the caller's response gets.
    pub(super) fn give_fields(&mut self, branch: LegId, response: &Response) {
        let dialling = self.call.dialling.as_ref();
        let caller = dialling.and_then(|it| it.purpose.caller());
        let parts = caller.map(|caller| self.parts_across(branch, caller, response));
        if let (Some(it), Some(parts)) = (caller.and_then(|leg| self.call.leg_mut(leg)), parts) {
            it.passing.parts = parts;
        }
        if let Some(it) = caller.and_then(|leg| self.call.leg_mut(leg))
            && let Some(LegRules { rules, .. }) = it.passing.rules.as_deref()
        {
            it.passing.given.clear();
            headers::apply(rules, true, &mut it.passing.given, Some(response));
        }
    }

    /// A branch received a provisional response.
    pub(super) fn branch_provisional(&mut self, t: &mut Turn<'_>, leg: LegId, response: &Response) {
        let Some(it) = self.call.leg_mut(leg) else {
            return self.common.counters.impossible("branch_provisional");
        };
        // The branch has won already: its 2xx has overtaken this response.
        let Some(branch) = it.branch else { return self.common.counters.ignored() };
        let said = response.session().filter(|_| !matches!(it.callee.offer, LateOffer::InAnswer));
        let mut session = said.is_some();
        it.callee.said = said.or(it.callee.said.take());
        let early = it.contact.as_ref().map_or(EarlyMedia::Pass, |contact| contact.early_media);
        let mut status = response.status();
        // Its answer is kept for the caller's 2xx.
        let ignored = session && early == EarlyMedia::Ignore && status != 180;
        if session && early != EarlyMedia::Pass {
            (session, status) = (false, 180);
        }
        // Its ringing is not told: the caller hears its early media.
        let ignored = ignored
            || !session
                && it.life.state() == LegState::EarlyMedia
                && it.contact.as_ref().is_some_and(|contact| contact.drops_ringing);
        it.callee.reliable = is_reliable(response);
        self.takes_info(leg, response);
        self.give_fields(leg, response);
        let event = if session { LegEvent::EarlyMedia } else { LegEvent::Ring };
        if !self.advance_leg(t, leg, event, None) {
            return;
        }
        // A 183 may be an announcement that the callee cannot be reached.
        if response.status() == 180 {
            self.attempted(t, leg, Some(true));
        }
        if !ignored {
            self.with_dial(|dial| dial.provisional(branch, status, session));
        }
    }

    /// A branch failed without a response from the remote party, before or after its INVITE was sent.
    pub(super) fn branch_over(&mut self, t: &mut Turn<'_>, leg: LegId, failure: DialFailure) {
        let Some((branch, usage)) = self.call.leg(leg).map(|it| (it.branch, it.usage)) else {
            return self.common.counters.late();
        };
        if usage.is_none() {
            let (status, reason) = (failure.status, failure.reason.clone());
            self.forget_leg(t, leg, TerminationCause::Failed { status, reason }, None);
        }
        if let Some(branch) = branch {
            let now = t.now;
            self.branch_failed(leg, failure, |dial, it| dial.silent(now, branch, it));
        }
    }

    /// The dial machine has cancelled this branch.
    fn give_up_branch(&mut self, t: &mut Turn<'_>, leg: LegId, why: WhyCancelled) {
        let Some(it) = self.call.leg_mut(leg) else { return self.common.counters.late() };
        match why {
            WhyCancelled::AnsweredElsewhere => {
                it.why.reason = Some(reason_value(&Reason::completed_elsewhere()));
            }
            WhyCancelled::NoAnswer => it.why.reason = Some(reason_value(&Reason::q850(cause::NO_ANSWER))),
            WhyCancelled::Declined | WhyCancelled::CallerGone | WhyCancelled::Silent => {}
        }
        if why == WhyCancelled::Silent {
            let call = it.call;
            self.common.history.decided(call, t.now, Some(leg), "given up", "no response in time");
        }
        // The end of its transaction may take another 32 s.
        self.attempted(t, leg, (why == WhyCancelled::Silent).then_some(false));
        self.hang_up(t, leg);
    }
}

/// Reports the failure to the command that waits for it.
pub(super) fn refuse(purpose: Purpose, error: DialError) {
    // A closed receiver is no error.
    match purpose {
        Purpose::Caller { reply: Some(reply), .. } => drop(reply.send(Err(error))),
        Purpose::Originate { reply, .. } => drop(reply.send(Err(error))),
        Purpose::Caller { reply: None, .. } | Purpose::Transfer { .. } => {}
    }
}

/// Contacts in rounds: those of one priority together.
pub(super) fn rounds(contacts: Vec<ResolvedContact>) -> Vec<Vec<DialTarget<ResolvedContact>>> {
    let mut rounds: Vec<Vec<DialTarget<ResolvedContact>>> = Vec::new();
    let mut last = None;
    for contact in contacts {
        let together = last == Some(contact.priority);
        last = Some(contact.priority);
        let target = target_of(contact);
        match rounds.last_mut().filter(|_| together) {
            Some(round) => round.push(target),
            None => rounds.push(vec![target]),
        }
    }
    rounds
}

/// A contact as a target of the dial machine.
pub(super) fn target_of(contact: ResolvedContact) -> DialTarget<ResolvedContact> {
    let user = contact.uri.split_once('@').map_or(contact.uri.as_str(), |(user, _)| user);
    let kin = contact.gateway.is_some().then(|| Arc::from(user));
    let member = contact.member.clone();
    DialTarget { ring: contact.ring, trying: contact.trying, kin, member, target: contact }
}

/// The address family of a contact, if its host is an address.
fn family_of(contact: &ResolvedContact) -> Option<AddressFamily> {
    if let Some(flow) = &contact.flow {
        return Some(AddressFamily::of(flow.remote));
    }
    let uri = Uri::parse(contact.next_hop.as_ref().unwrap_or(&contact.uri).as_bytes()).ok()?;
    match uri.host? {
        Host::V4(_) => Some(AddressFamily::V4),
        Host::V6(_) => Some(AddressFamily::V6),
        Host::Name(_) => None,
    }
}
