//! Carries out the effects of steps.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::cdr::Cdr;
use crate::controller::{EndpointId, EndpointStats, MediaController, MediaError, MediaFuture, Verb};
use crate::handler::Party;
use crate::history::Outcome as Settled;
use crate::service::Watched;
use crate::switch::Switch;
use crate::switch::common::Common;
use crate::switch::keep::Kept;
use crate::switch::restore::NOBODYS;
use crate::switch::state::effect::{Calling, DialogCommand, Effect, Note, OfBridge};
use crate::switch::state::follow::{Dialog, Follow};
use crate::switch::state::leg::Passed;
use crate::switch::state::waits::{MediaAnswer, OnFound, OnMedia, Waits};
use crate::switch::step::records::not_recorded;
use crate::switch::turn::{Moment, Turn};
use crate::switch::work::sleepers::Sleeper;
use crate::switch::work::tasks::{Came, Done};
use crate::{CallId, LegId};
use b2b_sip::endpoint::{CommandError, HeaderFields, Onward, Reply, SessionRefresher, UsageId};
use b2b_sip::msg::{Method, Response};

/// The header fields that an INVITE inherits.
#[derive(Serialize, Deserialize)]
struct OnwardFields(#[serde(with = "crate::controller::json::fields")] HeaderFields);

/// Header fields with credentials.
#[derive(Serialize, Deserialize)]
struct Credentials(#[serde(with = "crate::controller::json::fields")] HeaderFields);

impl Switch {
    /// Carries out the effects of the last step, in order. What follows from one comes at its place among what follows
    /// from the step.
    pub(crate) fn carry_out_effects(&mut self, t: &mut Turn<'_>) {
        while !self.common.out.effects.is_empty() {
            let mut more = 0;
            let mut effects = std::mem::take(&mut self.common.out.effects);
            for (place, effect) in effects.drain(..) {
                let end = self.common.out.left.len();
                self.carry_out_effect(t, effect);
                more += self.common.out.put_back(end, place + more);
            }
            // Most effects have none themselves: the memory is used again.
            if self.common.out.effects.is_empty() {
                self.common.out.effects = effects;
                return;
            }
        }
    }

    fn carry_out_effect(&mut self, t: &mut Turn<'_>, effect: Effect) {
        let (now, common) = (t.now, &mut self.common);
        match effect {
            Effect::Respond { transaction, reply } => t.respond(transaction, reply),
            Effect::AnswerRefer { refer, status } => t.answer_refer(refer, status),
            Effect::NotifyRefer { refer, status, reason } => t.tell_referrer(Some(refer), status, &reason),
            Effect::Invite(calling) => common.call_branch(t, *calling),
            Effect::Accept { leg, usage, reply, then } => {
                let sent = t.sip.reply(now, usage, reply);
                if let Err(error) = &sent {
                    not_sent(leg, error);
                }
                common.out.push(Follow::Accepted { leg, then, sent });
            }
            Effect::Pass { usage, to, request, by, transaction } => {
                match t.sip.request(now, usage, request) {
                    Ok(request) => {
                        let passed = Passed { request, by, transaction };
                        common.out.push(Follow::Passed { to, passed });
                    }
                    Err(error) => {
                        not_sent(to, &error);
                        t.respond(transaction, Reply::status(480));
                    }
                }
            }
            Effect::Refer { usage, refer_to, headers, referring } => {
                let sent = t.sip.refer(now, usage, refer_to, true, headers);
                common.out.push(Follow::ReferSent { referring, sent });
            }
            Effect::Dialog { leg, usage, command } => common.command(t, leg, usage, command),
            Effect::TellMedia(Verb::FollowRecording { recording, endpoint, other_side }) => {
                let followed =
                    common.world.parts.controller.follow_recording(recording, endpoint, other_side);
                if let Err(error) = followed {
                    tracing::warn!("recording {} ends with the leg that it is of: {error}", recording.0);
                }
            }
            Effect::TellMedia(verb) => common.world.parts.controller.tell(verb),
            Effect::Media { verb, then } => {
                common.ask_media(then, |media| media.request(*verb).map(MediaAnswer::from));
            }
            Effect::OpenEndpoint { mut spec, first_for_help, in_place_of, then } => {
                if let Some(lost) = in_place_of.filter(|lost| lost.0 & NOBODYS == 0) {
                    let media = &common.world.parts.controller;
                    spec.session = media.descriptions(lost).map(Box::new);
                    let family = spec.session.as_ref().and_then(|before| before.family());
                    spec.family = family.unwrap_or(spec.family);
                    media.release_endpoint(lost);
                }
                let full = self.calls.endpoints() >= common.world.parts.admission.most_endpoints();
                common.ask_media(then, |media| match full && !first_for_help {
                    true => MediaFuture::ready(Err(MediaError::NoPorts)),
                    false => media.open_endpoint(*spec).map(MediaAnswer::Endpoint),
                });
            }
            // No counters of it will come.
            Effect::Release { endpoint, .. } if endpoint.0 & NOBODYS != 0 => {}
            Effect::Release { call, leg, endpoint } => {
                let described = common.world.parts.controller.descriptions(endpoint);
                common.world.history.releasing(call, leg, endpoint, described);
                common.world.parts.controller.release_endpoint(endpoint);
            }
            // The future need not be awaited: it takes effect all the same.
            Effect::Capture { call, endpoint } => drop(common.capture_endpoint(t.at(), call, endpoint)),
            Effect::CountPackets { call, endpoints } => {
                common.ask_media(OnMedia::Packets { call }, |media| packets(media, &endpoints));
            }
            Effect::Tell(event) => {
                common.tell_handlers(&event);
                common.world.history.note(now, &event);
                if let Some(bus) = &common.world.parts.bus {
                    bus.publish(t.wall, event);
                }
            }
            Effect::Note { call, note } => common.note(t.at(), call, note),
            Effect::Counted { talk, goes_on_in, stats } => common.counted(t.at(), talk, goes_on_in, stats),
            Effect::LegIs { leg, state } => common.watchers.leg_is(leg, state),
            Effect::Ended { what, end } => common.watchers.ended(what, end),
            Effect::CallOver { call, end } => {
                common.world.history.call_over(call, now);
                common.settle_history(t.at());
                common.watchers.ended(Watched::Call(call), end);
                common.part_with_listeners(t.at(), call);
            }
            Effect::LegMoved { leg, endpoint, from, into } => {
                common.world.history.move_leg(leg, from, into);
                // Its media is written for the other call.
                common.kept.iter_mut().for_each(Kept::media_changes);
                if let Some(endpoint) = endpoint {
                    // The futures need not be awaited: both take effect all the same.
                    if common.world.history.trace(from, now).is_some() {
                        drop(common.world.parts.controller.capture(endpoint, None));
                    }
                    drop(common.capture_endpoint(t.at(), into, endpoint));
                }
            }
            Effect::Replaced(what) => common.watchers.replaced(what),
            Effect::Arm { call } => self.arm(now, call),
            Effect::Delay { caller, leg, wait } => {
                common.sleep_for(t.at(), wait, Sleeper::Branch { caller, leg });
            }
            Effect::Attempted { gateway, attempt, effective } => {
                common.world.parts.admission.attempted(now, &gateway, attempt, effective);
            }
            Effect::Remember(refer) => common.remember(refer),
            Effect::RecordingEnds { id, call, leg } => common.recordings_ending.add(id, call, leg),
            Effect::NotRecorded { id, error } => {
                if let Some((call, leg)) = common.recordings_ending.take(id) {
                    common.out.tell(not_recorded(call, leg, &error));
                }
            }
            Effect::Forget(request) => drop(common.work.answered(request)),
            Effect::AskHandlers(asked) => self.ask_handlers(*asked),
            Effect::HandTo(asked) => self.hand_to(*asked),
            Effect::AskWhere { referral, asked_by, next } => common.ask_where(*referral, asked_by, next),
            Effect::AskRedirect { redirection, targets, caller, then } => {
                common.ask_redirect(*redirection, targets, caller, then);
            }
            Effect::LookUp { call, request } => {
                if let Some(request) = common.look_up(request, OnFound::Dial { call }) {
                    common.out.push(Follow::LookingUp { call, request });
                }
            }
            Effect::TakeFromHandler { leg } => common.take_from_handler(leg),
            Effect::PartWithHandler { leg } => common.part_with_handler(t.at(), leg),
            Effect::ListensNoMore { call } => {
                common.world.listeners.get_mut(&call).and_then(Vec::pop);
            }
            Effect::Deaf { call } => drop(common.world.listeners.remove(&call)),
        }
    }
}

/// Adds up the packets of endpoints.
fn packets(media: &dyn MediaController, endpoints: &[EndpointId]) -> MediaFuture<MediaAnswer> {
    let counts: Vec<_> = endpoints.iter().map(|endpoint| media.stats(*endpoint)).collect();
    MediaFuture::pending(async move {
        let mut packets = 0;
        for count in counts {
            let count = count.await?;
            packets += count.received.packets + u64::from(count.rtcp.received);
        }
        Ok(MediaAnswer::Packets(packets))
    })
}

impl Common {
    /// Makes an entry in the history of a call.
    fn note(&mut self, t: Moment, call: CallId, note: Note) {
        let history = &mut self.world.history;
        match note {
            Note::Decided { leg, what, why } => history.decided(call, t.now, leg, what, &why),
            Note::Route { name, why } => history.route(call, t.now, &name, &why),
            Note::Leg { leg, call_id, name, party } => {
                if let Some(party) = party {
                    history.named(call, leg, &party);
                }
                history.leg(call, leg, &call_id, None);
                history.is_of(call, leg, &name);
            }
            Note::LegOver { leg, usage, record } => {
                let unanswered = usage.filter(|_| record.answered.is_none());
                if let (Some(kept), Some(usage)) = (&mut self.kept, unanswered) {
                    kept.unanswered.entry(call).or_default().push(usage);
                }
                history.by_gateway(call, leg, record.gateway.as_deref());
                let record = self.world.parts.records.is_some().then_some(record);
                history.leg_over(call, leg, record, t.now);
                self.settle_history(t);
            }
            Note::Talk { bridge, legs } => history.talk(call, bridge, legs, t.now),
            Note::TalkOver { bridge, by } => {
                history.talk_over(call, bridge, t.now, by);
                self.settle_history(t);
            }
            Note::Joined { legs: [(a, of_a), (b, of_b)], transcoded } => {
                history.joined(call, t.now, [(a, &of_a), (b, &of_b)], transcoded);
            }
            Note::Path { leg, direct } => history.path(call, t.now, leg, direct),
        }
    }

    /// Sends a request to media: its answer follows now or later.
    fn ask_media(
        &mut self,
        then: OnMedia,
        ask: impl FnOnce(&dyn MediaController) -> MediaFuture<MediaAnswer>,
    ) {
        // Counters change nothing in a call.
        let is_fact = !matches!(then, OnMedia::Counted { .. });
        self.kept.iter_mut().filter(|_| is_fact).for_each(Kept::media_changes);
        if self.world.is_replay() {
            return if is_fact {
                self.media_told(then)
            };
        }
        match ask(&*self.world.parts.controller).now() {
            Ok(result) => {
                if is_fact {
                    self.world.writes("media", &result);
                }
                self.out.push(Follow::Media { then, result });
            }
            Err(future) => {
                let call = self.world.is_about().filter(|_| is_fact);
                let request = self.work.ask(call, Waits::Media(then), |request| {
                    Box::pin(async move { Done(Came::Media(request, Box::new(future.await))) })
                });
                if is_fact {
                    self.world.writes("later", &request);
                }
            }
        }
    }

    /// Takes media's answer from the journal, now or later.
    fn media_told(&mut self, then: OnMedia) {
        if let Some(request) = self.world.reads_unless("later", &["media"]) {
            return self.work.ask_journal(self.world.is_told_of(), request, Waits::Media(then));
        }
        let result = self.world.reads("media").unwrap_or(Err(MediaError::Stopped));
        self.out.push(Follow::Media { then, result });
    }

    /// Sends the INVITE of a branch.
    fn call_branch(&mut self, t: &mut Turn<'_>, calling: Calling) {
        let Calling { leg, mut invite, from, without, then } = calling;
        if !without.is_empty() {
            let supported = t.sip.supported_without(&without);
            invite.headers.push((Bytes::from_static(b"Supported"), supported.into()));
        }
        if let Some(from) = from {
            let onward = t.sip.onward(&from);
            // Our loop mark is derived from a secret.
            let told = self.world.fact("onward", |_| OnwardFields(onward.headers));
            Onward { headers: told.0, ..onward }.apply(&mut invite);
        }
        self.foresee_seed(t);
        let sent = t.sip.invite(t.now, invite).map(|usage| {
            self.write_seed(t, usage);
            let call_id = t.sip.dialog(usage).map(|dialog| Bytes::copy_from_slice(dialog.call_id));
            Dialog { usage, call_id: call_id.unwrap_or_default() }
        });
        self.out.push(Follow::Invited { leg, then, sent });
    }

    /// Gives a command to a dialog.
    fn command(&mut self, t: &mut Turn<'_>, leg: LegId, usage: UsageId, command: DialogCommand) {
        let now = t.now;
        let (done, otherwise) = match command {
            DialogCommand::Ring(reply) => (t.sip.reply(now, usage, reply), None),
            DialogCommand::Refuse(reply) => (t.refuse(usage, reply), None),
            DialogCommand::Reply(reply) => (t.sip.reply(now, usage, reply), Some(Follow::NotReplied { leg })),
            DialogCommand::RefuseReInvite(reply) => {
                (t.refuse(usage, reply), Some(Follow::NotReplied { leg }))
            }
            DialogCommand::Bye { headers, body } => (t.sip.bye_with(now, usage, headers, body), None),
            DialogCommand::Cancel { headers } => (t.sip.cancel_with(now, usage, headers), None),
            DialogCommand::Prack { response, answer } => (t.sip.prack(now, usage, &response, answer), None),
            DialogCommand::Ack { answer } => (t.sip.ack(now, usage, Some(answer)), None),
            DialogCommand::Offer { exchange, headers, offer, by_update } => {
                let sent = match by_update {
                    true => t.sip.update_with(now, usage, headers, offer),
                    false => t.sip.reinvite_with(now, usage, headers, offer),
                };
                (sent, Some(Follow::NotOffered { leg, exchange }))
            }
            DialogCommand::Identity { headers } => (t.sip.update_with(now, usage, headers, None), None),
            DialogCommand::Info(info) => (t.sip.request(now, usage, info).map(drop), None),
            DialogCommand::NoRefresh => (t.sip.set_refresher(usage, SessionRefresher::Nobody), None),
            DialogCommand::KeepInvitation => {
                return t.sip.keep_invitation(now, usage);
            }
            DialogCommand::AuthorizesInside => (t.sip.authorizes_inside(usage), None),
            DialogCommand::Authorize { challenges, method, party } => {
                let uri = t.sip.dialog(usage).map(|dialog| dialog.remote_target.to_vec()).unwrap_or_default();
                let answer = self.credentials(&challenges, &method, party.as_deref(), &uri);
                let done = answer.map(|headers| t.sip.authorize(now, usage, headers));
                (done.unwrap_or(Err(NO_CREDENTIALS)), Some(Follow::NotAuthorized { leg }))
            }
            DialogCommand::AuthorizeRequest { challenge, party } => {
                let (cseq, responses) = (challenge.cseq, &challenge.responses);
                let done =
                    match self.credentials(responses, &challenge.method, party.as_deref(), &challenge.uri) {
                        Some(headers) => t.sip.authorize_request(now, usage, cseq, headers),
                        None => t.sip.leave_refused(now, usage, cseq),
                    };
                (done, None)
            }
        };
        if let Err(error) = done {
            not_sent(leg, &error);
            self.out.left.extend(otherwise);
        }
    }

    /// Credentials for a challenged request, if its gateway has any that may be sent.
    fn credentials(
        &mut self,
        challenges: &[Response],
        method: &Method,
        party: Option<&Party>,
        uri: &[u8],
    ) -> Option<HeaderFields> {
        let party = party?;
        let credentials = self.world.fact("credentials", |it| {
            it.parts.admission.credentials(challenges, method, party, uri).map(Credentials)
        });
        credentials.map(|Credentials(fields)| fields)
    }
}

const NO_CREDENTIALS: CommandError = CommandError::WrongState("there are no credentials for the challenge");

/// The remote party was faster: the end of its dialog is on its way.
fn not_sent(leg: LegId, error: &CommandError) {
    tracing::debug!("leg {}: {error}", leg.0);
}

impl Common {
    /// The counters of a leg at the end of its bridge. `goes_on_in`: the call that the leg is in now.
    pub(crate) fn counted(
        &mut self,
        t: Moment,
        OfBridge { call, bridge, leg }: OfBridge,
        goes_on_in: Option<CallId>,
        stats: Result<Box<EndpointStats>, MediaError>,
    ) {
        // The endpoint was released meanwhile: its final counters include this.
        let Ok(stats) = stats else { return self.out.counters.late() };
        self.world.history.counted(call, bridge, leg, goes_on_in, stats, t.now);
        self.settle_history(t);
    }

    /// Delivers the records and events that the histories have produced.
    pub(crate) fn settle_history(&mut self, t: Moment) {
        while let Some(outcome) = self.world.history.poll() {
            match outcome {
                Settled::Record(record) => self.hand_over(*record),
                Settled::News(event) => {
                    if let Some(bus) = &self.world.parts.bus {
                        bus.publish(t.wall, event);
                    }
                }
            }
        }
    }

    /// Has a record written, which the process after this one is not to do again.
    pub(crate) fn hand_over(&mut self, record: Cdr) {
        self.kept.iter_mut().for_each(|kept| kept.changes(record.call, true));
        if let Some(sink) = &mut self.world.parts.records {
            sink(record);
        }
    }

    /// A leg has an endpoint: its packets join the capture of its call, if there is one.
    pub(crate) fn capture_endpoint(
        &self,
        t: Moment,
        call: CallId,
        endpoint: EndpointId,
    ) -> Option<MediaFuture<()>> {
        let trace = self.world.history.trace(call, t.now)?;
        Some(self.world.parts.controller.capture(endpoint, Some(trace.clone())))
    }
}
