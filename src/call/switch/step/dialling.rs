//! Dialling: carries out the actions of the dial machine, whose branches are legs; on which terms a contact is
//! dialled; refusals of branches, and the contacts of a 3xx (RFC 3261 §8.1.3.4), on which the handlers decide.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::channels::Channel;
use crate::controller::{AddressFamily, Hold, MediaError, PairPolicy};
use crate::event::Event;
use crate::failure::{DialFailure, cause};
use crate::handler::{Party, Redirection};
use crate::identity::diversion;
use crate::initial_session::LateOffer;
use crate::leg_fsm::{LegEvent, LegState, TerminationCause};
use crate::leg_life::Life;
use crate::lookup::{EarlyMedia, LookupRequest, ResolvedContact};
use crate::reason::Reason;
use crate::service::{DialError, DialOptions, DialRequest, DialStage, DialTo};
use crate::switch::admission::{Dialled, Led, Outgoing};
use crate::switch::dial::{BranchNo, Dial, DialLimits, DialOutput, DialTarget, Silence, Stage, WhyCancelled};
use crate::switch::state::call::{Dialling, Leaving, Purpose};
use crate::switch::state::effect::{DialogCommand, Effect, Note};
use crate::switch::state::follow::Follow;
use crate::switch::state::handing::{Handing, Named, Redirected, Target, Whither};
use crate::switch::state::leg::{Admitted, Leg, LegRules};
use crate::switch::state::waits::{OnDescription, OnEndpoint};
use crate::switch::step::CallStep;
use crate::switch::step::invite::shown_by;
use crate::switch::step::reliable::is_reliable;
use crate::switch::step::transfer::party_at;
use crate::switch::turn::{Moment, q850_of, reason_value};
use crate::switch::work::slots::Key;
use crate::{LegId, headers};
use b2b_sip::endpoint::redirect_targets;
use b2b_sip::msg::{Host, Name, Response, Uri};

impl CallStep<'_> {
    /// Begins to dial, once the target is known.
    pub(crate) fn dial(&mut self, t: Moment, request: DialRequest, purpose: Purpose) {
        if self.begin_dial(t.now, request.options, purpose) {
            self.dial_to(t, request.to);
        }
    }

    /// Registers a dialling with its purpose. `false`: it is refused.
    pub(crate) fn begin_dial(&mut self, now: Instant, options: DialOptions, purpose: Purpose) -> bool {
        if self.call.dialling.is_some() {
            refuse(purpose, DialError::Invalid("the call is dialling already".to_owned()));
            return false;
        }
        // The caller's bridge has ended, and the caller is about to be hung up or was transferred away; its
        // handler learns of it and asks for another party.
        if let Purpose::Caller { caller, .. } = &purpose
            && (self.call.is_leaving(*caller) || self.call.leg(*caller).is_none_or(|it| it.life.is_ending()))
        {
            self.late();
            refuse(purpose, DialError::CallerGone);
            return false;
        }
        // A transfer has bridged the caller meanwhile, or has bridged others and the caller is about to
        // leave; its handler asks for another party.
        if let Purpose::Caller { .. } = &purpose
            && self.call.bridge.is_some()
        {
            self.late();
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
    pub(crate) fn dial_to(&mut self, t: Moment, to: DialTo) {
        let call = self.id;
        let dialling = self.call.dialling.as_ref();
        if let Some(route) = dialling.and_then(|it| it.options.route.as_ref()) {
            self.note(Note::Route { name: route.name.clone(), why: route.why.clone() });
        }
        match to {
            DialTo::Contacts(contacts) => {
                self.dial_stages(t, vec![DialStage { contacts, ..DialStage::default() }]);
            }
            DialTo::Stages(stages) => self.dial_stages(t, stages),
            DialTo::Target(target) => {
                let caller = self.caller_uri();
                let lookup = LookupRequest { caller, ..LookupRequest::new(target, t.now) };
                self.effect(Effect::LookUp { call, request: lookup });
            }
        }
    }

    /// The target is being looked up.
    pub(crate) fn looks_up(&mut self, request: Key) {
        match self.call.dialling.as_mut() {
            Some(dialling) => dialling.lookup = Some(request),
            None => self.effect(Effect::Forget(request)),
        }
    }

    /// The caller on whose behalf a call dials, as a URI.
    pub(crate) fn caller_uri(&self) -> Option<String> {
        let caller = self.call.dialling.as_ref()?.purpose.caller()?;
        let it = self.call.leg(caller)?;
        let from = it.life.invite()?.from().ok()?;
        match it.identity.who.as_deref().filter(|who| who.corrects(&from)) {
            Some(who) => Some(who.said.clone()),
            None => Some(String::from_utf8_lossy(from.uri.raw).into_owned()),
        }
    }

    pub(crate) fn dial_stages(&mut self, t: Moment, stages: Vec<DialStage>) {
        let call = self.id;
        let dialling = self.call.dialling.as_mut();
        let Some(dialling) = dialling.filter(|it| it.dial.is_none()) else { return self.late() };
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
        self.follow(Follow::Dial { call });
    }

    /// Applies an action to the dial machine; its outputs follow.
    pub(crate) fn with_dial(&mut self, act: impl FnOnce(&mut Dial<ResolvedContact>)) {
        let call = self.id;
        let dialling = self.call.dialling.as_mut();
        let Some(dialling) = dialling else { return self.late() };
        match &mut dialling.dial {
            Some(dial) => {
                act(dial);
                self.out.counters.late += dial.take_late();
                self.follow(Follow::Dial { call });
            }
            // The lookup is not finished: the only possible event is that the caller has gone.
            None => self.follow(Follow::DialOver { call, error: DialError::CallerGone }),
        }
    }

    /// Carries out the next output of a dial machine; the remaining ones follow.
    pub(crate) fn perform_dial(&mut self, t: Moment) {
        let call = self.id;
        let dialling = self.call.dialling.as_mut();
        let Some(output) = dialling.and_then(|it| it.dial.as_mut()?.poll()) else { return self.arm() };
        match output {
            DialOutput::Start(branch, contact) => self.start_branch(t, branch, contact),
            DialOutput::Cancel(branch, why) => match self.branch(branch) {
                Some(leg) => self.give_up_branch(leg, why),
                None => self.impossible("perform_dial"),
            },
            DialOutput::Progress { branch, status, early_media } => {
                self.progress(t, branch, status, early_media);
            }
            DialOutput::Won(branch) => self.won(t, branch),
            DialOutput::Failed(failure) => self.dial_over(DialError::Failed(failure)),
        }
        self.follow(Follow::Dial { call });
    }

    /// A branch has failed: informs the dial machine, then reports the refusal.
    pub(crate) fn branch_failed(
        &mut self,
        leg: LegId,
        failure: DialFailure,
        act: impl FnOnce(&mut Dial<ResolvedContact>, DialFailure),
    ) {
        let call = self.id;
        let said = failure.clone();
        self.with_dial(|dial| act(dial, failure));
        self.follow(Follow::Refused { call, leg, failure: said });
    }

    /// The call's timer has fired. `silent`: the branches whose time for a response is over.
    pub(super) fn call_timeout(&mut self, t: Moment, silent: Vec<(BranchNo, Silence)>) {
        let call = self.id;
        let now = t.now;
        let it = &mut *self.call;
        let leaves = it.leaving.take_if(|it| it.until <= now);
        let too_long = it.watch.ends_at.take_if(|at| *at <= now).is_some();
        if it.watch.counts_at.take_if(|at| *at <= now).is_some() {
            self.out.push(Follow::CountPackets { call });
        }
        let dial = it.dialling.as_ref().and_then(|it| it.dial.as_ref()?.next_timeout());
        let path = it.bridge.as_ref().and_then(|bridge| bridge.direct.as_ref()?.look);
        if path.is_some_and(|at| at <= now) {
            self.follow(Follow::Lead { call });
        }
        if let Some(Leaving { leg, .. }) = leaves {
            self.follow(Follow::HangUp { leg, status: 480 });
        }
        if dial.is_some_and(|at| at <= now) {
            self.with_dial(|dial| {
                silent.into_iter().for_each(|(branch, silence)| dial.silence(branch, silence));
                dial.timeout(now);
            });
        }
        if too_long {
            self.follow(Follow::TooLong { call });
        }
    }

    /// The leg of a branch.
    pub(crate) fn branch(&self, branch: BranchNo) -> Option<LegId> {
        self.call.dialling.as_ref()?.leg(branch)
    }

    fn start_branch(&mut self, t: Moment, branch: BranchNo, mut contact: ResolvedContact) {
        if contact.diverted.as_ref().is_some_and(|it| it.reason.is_empty()) {
            let dial = self.call.dialling.as_ref().and_then(|it| it.dial.as_ref());
            contact = of_reason(contact, diversion::after(dial.and_then(Dial::failed_with)));
        }
        let outgoing = self.admitted_outgoing(t, &contact);
        self.out.counters.dialled += u64::from(outgoing.is_ok());
        let caller = self.call.dialling.as_ref().and_then(|it| it.purpose.caller());
        let helps = caller.filter(|_| contact.emergency.is_some());
        if let Some((asks, usage)) = helps.and_then(|leg| Some((leg, self.call.leg(leg)?.usage?))) {
            self.command(asks, usage, DialogCommand::KeepInvitation);
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
                self.tell_leg(leg);
                if wait.is_zero() {
                    return self.offer_to_branch(t, caller, leg);
                }
                self.branch_waits(caller, leg, wait);
            }
            Err((status, reason)) => self.branch_over(t, leg, DialFailure::new(status, &reason)),
        }
    }

    /// Prepares the media of a branch and the offer of its INVITE.
    pub(crate) fn offer_to_branch(&mut self, t: Moment, caller: Option<LegId>, leg: LegId) {
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
            (None, Some(_)) => self.impossible("offer_to_branch"),
        }
    }

    /// There is no media for a branch.
    pub(crate) fn no_media(&mut self, t: Moment, leg: LegId, error: &MediaError) {
        tracing::warn!("leg {}: {error}", leg.0);
        let (status, reason) = error.status();
        self.branch_over(t, leg, DialFailure::of_ours(status, &reason));
    }

    /// The policy for offers to a leg.
    pub(crate) fn policy_towards(&self, leg: LegId) -> Cow<'_, PairPolicy> {
        let it = self.call.leg(leg);
        let own = it.and_then(|it| it.passing.policy.as_deref()).unwrap_or(&self.config.policy);
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
    pub(crate) fn give_fields(&mut self, branch: LegId, response: &Response) {
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
    pub(crate) fn branch_provisional(&mut self, t: Moment, leg: LegId, response: &Response) {
        let Some(it) = self.call.leg_mut(leg) else { return self.impossible("branch_provisional") };
        // The branch has won already: its 2xx has overtaken this response.
        let Some(branch) = it.branch else { return self.ignored() };
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
            self.attempted(leg, Some(true));
        }
        if !ignored {
            self.with_dial(|dial| dial.provisional(branch, status, session));
        }
    }

    /// A branch failed without a response from the remote party, before or after its INVITE was sent.
    pub(crate) fn branch_over(&mut self, t: Moment, leg: LegId, failure: DialFailure) {
        let Some((branch, usage)) = self.call.leg(leg).map(|it| (it.branch, it.usage)) else {
            return self.late();
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
    fn give_up_branch(&mut self, leg: LegId, why: WhyCancelled) {
        let Some(it) = self.call.leg_mut(leg) else { return self.late() };
        match why {
            WhyCancelled::AnsweredElsewhere => {
                it.why.reason = Some(reason_value(&Reason::completed_elsewhere()));
            }
            WhyCancelled::NoAnswer => it.why.reason = Some(reason_value(&Reason::q850(cause::NO_ANSWER))),
            WhyCancelled::Declined | WhyCancelled::CallerGone | WhyCancelled::Silent => {}
        }
        if why == WhyCancelled::Silent {
            self.note_decision(Some(leg), "given up", "no response in time");
        }
        // The end of its transaction may take another 32 s.
        self.attempted(leg, (why == WhyCancelled::Silent).then_some(false));
        self.hang_up(leg);
    }
}

/// Reports the failure to the command that waits for it.
pub(crate) fn refuse(purpose: Purpose, error: DialError) {
    // A closed receiver is no error.
    match purpose {
        Purpose::Caller { reply: Some(reply), .. } => drop(reply.send(Err(error))),
        Purpose::Originate { reply, .. } => drop(reply.send(Err(error))),
        Purpose::Caller { reply: None, .. } | Purpose::Transfer { .. } => {}
    }
}

/// Contacts in rounds: those of one priority together.
pub(crate) fn rounds(contacts: Vec<ResolvedContact>) -> Vec<Vec<DialTarget<ResolvedContact>>> {
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
pub(crate) fn target_of(contact: ResolvedContact) -> DialTarget<ResolvedContact> {
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

impl CallStep<'_> {
    /// The terms on which a contact may be dialled.
    pub(crate) fn admitted_outgoing(
        &mut self,
        t: Moment,
        contact: &ResolvedContact,
    ) -> Result<Outgoing, (u16, String)> {
        let held = self.held_by_call();
        let (led, leg) = self.led();
        let by = leg.map(|leg| self.call.party(leg));
        let dialling = self.call.dialling.as_ref();
        let token = dialling.and_then(|it| it.options.token.clone());
        let dialled = Dialled { contact, held: &held, by: by.as_deref(), token: token.as_deref(), led };
        let outgoing = self.asks.outgoing(t.now, dialled);
        self.call.has_dialled = true;
        outgoing
    }

    /// How a call comes to dial, and the leg of the party on whose behalf.
    fn led(&self) -> (Led, Option<LegId>) {
        let dialling = self.call.dialling.as_ref();
        let beside = dialling.is_some_and(|it| !it.branches.is_empty());
        let further = if beside { Led::Beside } else { Led::Again };
        match dialling.map(|it| &it.purpose) {
            Some(Purpose::Caller { caller, .. }) => {
                let first = !self.call.has_dialled;
                (if first { Led::Called } else { further }, Some(*caller))
            }
            Some(Purpose::Transfer { leaves, .. }) => (Led::Again, Some(*leaves)),
            Some(Purpose::Originate { .. }) => {
                let behalf = dialling.and_then(|it| it.options.behalf.as_ref());
                (further, behalf.map(|it| it.leg))
            }
            None => (further, None),
        }
    }

    /// The channels that the legs of a call hold.
    fn held_by_call(&self) -> Vec<Channel> {
        let legs = self.call.legs.iter();
        legs.flat_map(|(_, leg)| leg.admitted.channels.iter().cloned()).collect()
    }

    /// The INVITE of a branch goes out after this time.
    pub(super) fn branch_waits(&mut self, caller: Option<LegId>, leg: LegId, wait: Duration) {
        let Some(branch) = self.call.leg(leg).and_then(|it| it.branch) else {
            return self.impossible("branch_waits");
        };
        self.with_dial(|dial| dial.waits(branch, wait));
        self.effect(Effect::Delay { caller, leg, wait });
    }

    /// How long a branch has to wait further, because others have had their turn first.
    pub(super) fn waits_further(&mut self, t: Moment, leg: LegId) -> Duration {
        let place = self.call.leg(leg).and_then(|it| it.admitted.place.as_ref());
        self.asks.waits(t.now, place)
    }
}

/// Maximum number of contacts considered per response, and of branches that result from them: far fewer than
/// a whole dialling may have.
const CONTACTS: usize = 8;

impl CallStep<'_> {
    /// Handles a branch's final refusal. The targets of a 3xx are only a request of its sender: they are
    /// called if the handlers permit this party to redirect.
    pub(crate) fn branch_refused(&mut self, t: Moment, leg: LegId, response: &Response) {
        let failure = DialFailure {
            status: response.status(),
            reason: String::from_utf8_lossy(response.reason()).into_owned(),
            q850: q850_of(response),
            ours: false,
        };
        let of_branch = self.call.leg(leg).and_then(|it| Some((it, it.branch?)));
        let Some((it, branch)) = of_branch else { return self.impossible("branch_refused") };
        let (call, dialled) = (it.call, it.contact.as_deref().cloned());
        let reason =
            diverted_for(response, matches!(it.life.state(), LegState::Ringing | LegState::EarlyMedia));
        let mut targets = match failure.status {
            300..400 => redirect_targets(response),
            _ => Vec::new(),
        };
        targets.truncate(CONTACTS);
        let dialling = self.call.dialling.as_ref();
        let follows = dialling.and_then(|it| it.dial.as_ref()).is_some_and(|dial| dial.follows_redirects());
        let caller = dialling.and_then(|it| it.purpose.caller());
        let caller = caller.and_then(|leg| self.caller_of(leg));
        let caller = caller.or_else(|| dialling?.options.caller.clone());
        let (Some(dialled), true) = (dialled, follows && !targets.is_empty()) else {
            let now = t.now;
            return self.branch_failed(leg, failure, |dial, it| dial.failed(now, branch, it));
        };
        let (by, now) = (Party::clone(&self.call.party(leg)), t.now);
        let asked = Redirection { call, leg, by, dialled, target: String::new(), caller, at: now };
        let party = asked.by.clone();
        let targets = targets.into_iter().filter_map(|target| {
            Some(Target { q: target.q, to: String::from_utf8(target.uri.to_vec()).ok()? })
        });
        let (redirection, targets, caller) = (Box::new(asked), targets.collect(), self.caller_uri());
        let then = Box::new(Redirected { call, leg, branch, failure, party, reason });
        self.effect(Effect::AskRedirect { redirection, targets, caller, then });
    }

    /// The targets of a 3xx are resolved: the first contacts replace the branch.
    pub(crate) fn redirected(&mut self, t: Moment, redirected: Redirected, answers: Vec<Named>) {
        let Redirected { call, leg, branch, failure, party, reason } = redirected;
        // Another dialling of this call has its own branches.
        if self.branch(branch) != Some(leg) {
            return self.late();
        }
        let mut called: Vec<(u16, usize, Vec<DialTarget<ResolvedContact>>)> = Vec::new();
        let mut room = CONTACTS;
        for Named { q, to, whither } in answers {
            match whither {
                Whither::Call(rounds, why) => {
                    self.tell(Event::Redirected { call, leg, to });
                    if let Some(why) = why {
                        self.note_decision(Some(leg), "route", why);
                    }
                    for (place, mut round) in rounds.into_iter().enumerate() {
                        round.truncate(room);
                        room -= round.len();
                        let targets = round.into_iter().map(|contact| target_of(of_reason(contact, reason)));
                        // Equal ones in parallel, the others one after the other.
                        match called.iter_mut().find(|(of, at, _)| (*of, *at) == (q, place)) {
                            Some((_, _, round)) => round.extend(targets),
                            None => called.push((q, place, targets.collect())),
                        }
                    }
                }
                // Only if the application is the most preferred target.
                Whither::Application(name, why) if called.is_empty() => {
                    if self.redirect_to_application(t, leg, &name, &to, why.as_deref(), &failure) {
                        return;
                    }
                }
                Whither::Application(name, _) => {
                    self.note_decision(Some(leg), "not followed", name);
                }
                Whither::NotFollowed { why, line } => {
                    let party = party_name(&party);
                    let way = "redirect".to_owned();
                    self.not_followed(Event::NotFollowed { call, leg, party, way, to, why, line });
                }
                Whither::Nobody(why) => self.note_decision(Some(leg), "not followed", why),
            }
        }
        called.retain(|(.., round)| !round.is_empty());
        called.sort_by_key(|(q, place, _)| (std::cmp::Reverse(*q), *place));
        let now = t.now;
        if called.is_empty() {
            return self.branch_failed(leg, failure, |dial, it| dial.failed(now, branch, it));
        }
        let rounds: Vec<_> = called.into_iter().map(|(.., round)| round).collect();
        self.branch_failed(leg, failure, |dial, it| dial.redirected(now, branch, it, rounds));
    }

    /// Gives the caller to an application and ends the dialling. `false`: the caller cannot be given away.
    fn redirect_to_application(
        &mut self,
        t: Moment,
        leg: LegId,
        name: &str,
        to: &str,
        why: Option<&str>,
        failure: &DialFailure,
    ) -> bool {
        let Some(call) = self.call.leg(leg).map(|it| it.call) else {
            self.impossible("redirect_to_application");
            return false;
        };
        let dialling = self.call.dialling.as_ref();
        // If a command waits for the dialling, its sender owns the call.
        let caller = match dialling.map(|it| &it.purpose) {
            Some(Purpose::Caller { caller, reply: None }) => *caller,
            _ => {
                self.note_decision(Some(leg), "not followed", "an application has the call");
                return false;
            }
        };
        let moved = self.asks.knows_application(name).then(|| self.moved(caller, to, t)).flatten();
        let Some(moved) = moved else {
            self.note_decision(Some(leg), "not followed", name);
            return false;
        };
        self.tell(Event::Redirected { call, leg, to: to.to_owned() });
        if let Some(why) = why {
            self.note_decision(Some(leg), "route", why);
        }
        self.tell_refused(leg, failure.clone());
        self.with_dial(|dial| dial.given_away());
        let asked = Box::new(Handing::new(moved));
        self.follow(Follow::Hand { call, asked, name: name.to_owned() });
        true
    }

    /// A party names a target that it may not lead us to: counts, reports and logs this.
    pub(crate) fn not_followed(&mut self, event: Event) {
        self.out.counters.not_followed += 1;
        if let Event::NotFollowed { call, party, way, to, why, line, .. } = &event {
            let line = line.as_deref().map(|line| format!("; {line}")).unwrap_or_default();
            tracing::warn!("call {}: {way} of {party} to {to} is not followed: {why}{line}", call.0);
        }
        self.tell(event);
    }
}

/// The name of a party for events and logs.
pub(crate) fn party_name(party: &Party) -> String {
    match party {
        Party { user: Some(user), .. } => format!("user/{user}"),
        Party { gateway: Some(gateway), .. } => format!("gateway/{gateway}"),
        Party { address: Some(address), .. } => address.ip().to_string(),
        Party { number, .. } => number.clone(),
    }
}

/// Sets the diversion reason of a diverted contact that has none yet.
pub(crate) fn of_reason(mut contact: ResolvedContact, reason: &'static str) -> ResolvedContact {
    if let Some(diverted) = contact.diverted.as_mut().filter(|it| it.reason.is_empty()) {
        Arc::make_mut(diverted).reason = reason;
    }
    contact
}

/// The reason for a diversion: from the Diversion header field, otherwise derived from the response.
fn diverted_for(response: &Response, rang: bool) -> &'static str {
    let said = response.header(Name::parse(b"Diversion")).unwrap_or_default();
    let said = String::from_utf8_lossy(said).to_ascii_lowercase();
    let reason = said.split(';').find_map(|param| param.trim().strip_prefix("reason="));
    reason.and_then(diversion::reason).unwrap_or(match (response.status(), rang) {
        (301 | 302, false) => "unconditional",
        (301 | 302, true) => "no-answer",
        _ => "unknown",
    })
}
