//! A branch's refusal, and the contacts of a 3xx (RFC 3261 §8.1.3.4): the handlers decide whether and how
//! each of them is called.

use std::sync::Arc;

use super::dial::{BranchNo, DialTarget};
use super::dialling::{rounds, target_of};
use super::follow::Follow;
use super::handing::Handing;
use super::say::q850_of;
use super::table::Purpose;
use super::waiting::{Found, OnFound};
use super::{CallStep, Turn};
use crate::event::Event;
use crate::failure::DialFailure;
use crate::handler::{ApplicationHandler, HandlerAction, Party, Redirection};
use crate::identity::diversion;
use crate::leg_fsm::LegState;
use crate::lookup::{LookupRequest, ResolvedContact, Resolver};
use crate::service::DialTo;
use crate::{CallId, LegId};
use b2b_sip::endpoint::redirect_targets;
use b2b_sip::msg::{Name, Response};

/// Maximum number of contacts considered per response, and of branches that result from them: far fewer than
/// a whole dialling may have.
const CONTACTS: usize = 8;

/// The decision on one contact of a 3xx.
#[derive(serde::Serialize, serde::Deserialize)]
enum Whither {
    /// Calls these contacts, in rounds.
    Call(Vec<Vec<ResolvedContact>>, Option<String>),
    /// Gives the caller to this application.
    Application(String, Option<String>),
    /// The redirection is not permitted.
    NotFollowed { why: String, line: Option<String> },
    /// The target does not exist according to the routes.
    Nobody(String),
}

/// A contact, its q-value, and the decision on it.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Named {
    q: u16,
    to: String,
    whither: Whither,
}

/// A branch that was redirected, while its targets are resolved.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Redirected {
    pub call: CallId,
    leg: LegId,
    branch: BranchNo,
    failure: DialFailure,
    /// The party of the branch.
    party: Party,
    /// Why it was redirected, in the words of Diversion.
    #[serde(deserialize_with = "diversion::known_word")]
    reason: diversion::ReasonWord,
}

impl CallStep<'_> {
    /// Handles a branch's final refusal. The targets of a 3xx are only a request of its sender: they are
    /// called if the handlers permit this party to redirect.
    pub(super) fn branch_refused(&mut self, t: &mut Turn<'_>, leg: LegId, response: &Response) {
        let failure = DialFailure {
            status: response.status(),
            reason: String::from_utf8_lossy(response.reason()).into_owned(),
            q850: q850_of(response),
            ours: false,
        };
        let of_branch = self.call.leg(leg).and_then(|it| Some((it, it.branch?)));
        let Some((it, branch)) = of_branch else { return self.common.counters.impossible("branch_refused") };
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
        let (handlers, resolver, caller) =
            (self.common.parts.handlers.clone(), self.common.parts.resolver.clone(), self.caller_uri());
        let party = asked.by.clone();
        let found = Box::pin(async move {
            let mut answers = Vec::with_capacity(targets.len());
            for target in targets {
                let Ok(to) = String::from_utf8(target.uri.to_vec()) else { continue };
                let redirection = Redirection { target: to.clone(), ..asked.clone() };
                let whither = whither(&handlers, &*resolver, caller.clone(), redirection).await;
                answers.push(Named { q: target.q, to, whither });
            }
            answers
        });
        let then = Redirected { call, leg, branch, failure, party, reason };
        self.common.run(found, Found::Named, OnFound::Redirect(Box::new(then)));
    }

    /// The targets of a 3xx are resolved: the first contacts replace the branch.
    pub(super) fn redirected(&mut self, t: &mut Turn<'_>, redirected: Redirected, answers: Vec<Named>) {
        let Redirected { call, leg, branch, failure, party, reason } = redirected;
        // Another dialling of this call has its own branches.
        if self.branch(branch) != Some(leg) {
            return self.common.counters.late();
        }
        let mut called: Vec<(u16, usize, Vec<DialTarget<ResolvedContact>>)> = Vec::new();
        let mut room = CONTACTS;
        for Named { q, to, whither } in answers {
            match whither {
                Whither::Call(rounds, why) => {
                    self.tell(t, Event::Redirected { call, leg, to });
                    if let Some(why) = why {
                        self.common.history.decided(call, t.now, Some(leg), "route", &why);
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
                    self.common.history.decided(call, t.now, Some(leg), "not followed", &name);
                }
                Whither::NotFollowed { why, line } => {
                    let party = party_name(&party);
                    let way = "redirect".to_owned();
                    self.not_followed(t, Event::NotFollowed { call, leg, party, way, to, why, line });
                }
                Whither::Nobody(why) => {
                    self.common.history.decided(call, t.now, Some(leg), "not followed", &why)
                }
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
        t: &mut Turn<'_>,
        leg: LegId,
        name: &str,
        to: &str,
        why: Option<&str>,
        failure: &DialFailure,
    ) -> bool {
        let Some(call) = self.call.leg(leg).map(|it| it.call) else {
            self.common.counters.impossible("redirect_to_application");
            return false;
        };
        let dialling = self.call.dialling.as_ref();
        // If a command waits for the dialling, its sender owns the call.
        let caller = match dialling.map(|it| &it.purpose) {
            Some(Purpose::Caller { caller, reply: None }) => *caller,
            _ => {
                self.common.history.decided(
                    call,
                    t.now,
                    Some(leg),
                    "not followed",
                    "an application has the call",
                );
                return false;
            }
        };
        let moved = self.handler_named(name).and_then(|_| self.moved(caller, to, t));
        let Some(moved) = moved else {
            self.common.history.decided(call, t.now, Some(leg), "not followed", name);
            return false;
        };
        self.tell(t, Event::Redirected { call, leg, to: to.to_owned() });
        if let Some(why) = why {
            self.common.history.decided(call, t.now, Some(leg), "route", why);
        }
        self.tell_refused(t, leg, failure.clone());
        self.with_dial(|dial| dial.given_away());
        let asked = Box::new(Handing::new(moved));
        self.common.follows.push(Follow::Hand { call, asked, name: name.to_owned() });
        true
    }

    /// A party names a target that it may not lead us to: counts, reports and logs this.
    pub(super) fn not_followed(&mut self, t: &Turn<'_>, event: Event) {
        self.common.counters.not_followed += 1;
        if let Event::NotFollowed { call, party, way, to, why, line, .. } = &event {
            let line = line.as_deref().map(|line| format!("; {line}")).unwrap_or_default();
            tracing::warn!("call {}: {way} of {party} to {to} is not followed: {why}{line}", call.0);
        }
        self.tell(t, event);
    }
}

/// The name of a party for events and logs.
pub(super) fn party_name(party: &Party) -> String {
    match party {
        Party { user: Some(user), .. } => format!("user/{user}"),
        Party { gateway: Some(gateway), .. } => format!("gateway/{gateway}"),
        Party { address: Some(address), .. } => address.ip().to_string(),
        Party { number, .. } => number.clone(),
    }
}

/// Asks one handler after the other.
async fn whither(
    handlers: &[Arc<dyn ApplicationHandler>],
    resolver: &dyn Resolver,
    caller: Option<String>,
    redirection: Redirection,
) -> Whither {
    let at = redirection.at;
    for handler in handlers {
        let (action, why) = match handler.handle_redirect(redirection.clone()).await {
            HandlerAction::Continue => continue,
            HandlerAction::Routed { why, action, .. } => (*action, Some(why)),
            action => (action, None),
        };
        let (to, why) = match action {
            HandlerAction::Dial(request) => {
                (request.to, why.or(request.options.route.map(|route| route.why)))
            }
            HandlerAction::TransferTo(target) => (DialTo::Target(target), why),
            HandlerAction::Handle(name) => return Whither::Application(name, why),
            HandlerAction::NotFollowed { why, line } => return Whither::NotFollowed { why, line },
            HandlerAction::Reject { status, reason } => {
                return Whither::Nobody(why.unwrap_or_else(|| format!("{status} {reason}")));
            }
            other => return Whither::Nobody(other.word().to_owned()),
        };
        let stages = match to {
            DialTo::Contacts(contacts) => vec![contacts],
            DialTo::Stages(stages) => stages.into_iter().map(|stage| stage.contacts).collect(),
            DialTo::Target(target) => {
                let request = LookupRequest { caller, ..LookupRequest::new(target, at) };
                match resolver.lookup(&request).await {
                    Ok(Some(found)) => vec![found.contacts],
                    Ok(None) => return Whither::Nobody("it is of no kind that is known here".to_owned()),
                    Err(error) => return Whither::Nobody(error.to_string()),
                }
            }
        };
        let plain = |round: Vec<DialTarget<ResolvedContact>>| round.into_iter().map(|it| it.target).collect();
        let rounds = stages.into_iter().flat_map(rounds).map(plain);
        return Whither::Call(rounds.collect(), why);
    }
    Whither::NotFollowed { why: "no policy allows its destination".to_owned(), line: None }
}

/// Sets the diversion reason of a diverted contact that has none yet.
pub(super) fn of_reason(mut contact: ResolvedContact, reason: &'static str) -> ResolvedContact {
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
