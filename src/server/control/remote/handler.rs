//! The course of a call that is given to a program.
//!
//! | state | is done | then |
//! |---|---|---|
//! | `Returning` | after the server's death: waits for a program to connect again | `Reading` |
//! | `Reading` | reads the call's variables | offered: `Held`; no program takes it: `Quieting` |
//! | `Held` | nothing, until the program has decided or no longer has it | `Quieting` |
//! | `Quieting` | ends what the program has started for the party to hear | decided: over; else `Looking` |
//! | `Looking` | is it in a conversation? | it is: over; else `Leading` |
//! | `Leading` | where the fall-back leads; without one, is it answered? | over |

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::hold::{Back, Hold, Limits};
use super::told::OfferedCall;
use super::words::{GivenUp, Line, Words};
use super::{Chosen, News, Offer, Remotes, Word};
use crate::control::{Control, left::Left};
use b2b_call::application::{AppAnswer, AppEvent, AppHandle, Application, Saved, WantId, Wants};
use b2b_call::handler::{ApplicationHandler, HandlerAction, IncomingCall};
use b2b_call::service::{CallError, CallService, MediaVerbs, Place};
use b2b_call::{CallId, LegId};

/// Maximum octets of header fields that a program is sent.
const HEADERS: usize = 16 * 1_024;
/// The timer of [`Hold::next_timeout`].
const DEADLINE: u32 = 1;
/// The timer for the next attempt to retrieve a party from hold, and to find a program.
const AGAIN: u32 = 2;
/// Number and interval of the attempts, as in `control::hold`. Programs have as long to connect to a server that goes on
/// after its death.
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_millis(100);

/// The application `remote/<name>`.
#[derive(Clone)]
pub struct Remote {
    name: String,
    remotes: Remotes,
    control: Control,
    limits: Limits,
    /// The application or target that gets a call that is taken back. `None`: the call ends.
    fallback: Option<String>,
}

impl Remote {
    /// For programs that connect as `name`.
    pub fn new(
        name: &str,
        remotes: &Remotes,
        control: &Control,
        limits: Limits,
        fallback: Option<String>,
    ) -> Self {
        let (remotes, control) = (remotes.clone(), control.clone());
        Remote { name: format!("remote/{name}"), remotes, control, limits, fallback }
    }

    fn short(&self) -> &str {
        self.name.strip_prefix("remote/").unwrap_or(&self.name)
    }
}

impl Remote {
    fn attends(&self, call: &IncomingCall) -> Attends {
        Attends {
            remote: self.clone(),
            call: call.clone(),
            at: At::Reading,
            waits: None,
            program: None,
            held: None,
            line: None,
            end: End::Over,
            left: Left::default(),
        }
    }
}

impl ApplicationHandler for Remote {
    fn name(&self) -> &str {
        &self.name
    }

    /// Called only by name.
    fn can_handle(&self, _: &IncomingCall) -> bool {
        false
    }

    fn begin(&self, call: &IncomingCall, _: &CallService) -> Option<Box<dyn Application>> {
        Some(Box::new(self.attends(call)))
    }

    fn load(&self, call: &IncomingCall, _: &Saved) -> Option<Box<dyn Application>> {
        Some(Box::new(self.attends(call)))
    }
}

/// How a program's part in a call ended.
enum End {
    Decided(HandlerAction),
    Fallback,
    Back(Back),
    /// The call has ended.
    Over,
}

/// One call.
struct Attends {
    remote: Remote,
    call: IncomingCall,
    at: At,
    waits: Option<WantId>,
    /// The program that it will be offered to.
    program: Option<Chosen>,
    held: Option<Held>,
    /// The receiving end of the program's words.
    line: Option<Line>,
    end: End,
    left: Left,
}

/// See the module documentation.
enum At {
    /// Number of attempts to find a program.
    Returning(u32),
    Reading,
    Held(Hold),
    /// Number of attempts to retrieve the party from hold.
    Quieting(u32),
    Looking,
    Leading,
    /// The call is over for this application.
    Over,
}

/// A call that a program has; dropping it takes the call from the program.
struct Held {
    remote: Remote,
    program: Chosen,
    call: CallId,
    leg: LegId,
    why: &'static str,
}

impl Held {
    fn new(remote: &Remote, program: Chosen, call: &IncomingCall) -> Held {
        let add = |count: &AtomicUsize| count.fetch_add(1, Ordering::Relaxed);
        add(&program.held);
        add(&remote.remotes.0.held);
        remote.control.give(call.leg);
        // The default reason: another application has taken the call from both.
        Held { remote: remote.clone(), program, call: call.call, leg: call.leg, why: "taken" }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.program.held.fetch_sub(1, Ordering::Relaxed);
        self.remote.remotes.0.held.fetch_sub(1, Ordering::Relaxed);
        self.remote.control.take(self.leg);
        // A disconnected program receives nothing.
        let _ = self.program.news.send(News::Over { call: self.call, leg: self.leg, why: self.why });
    }
}

impl Application for Attends {
    fn step(&mut self, now: Instant, event: AppEvent, wants: &mut Wants) {
        let went_on = match event {
            AppEvent::Begin => {
                self.begins(wants);
                Ok(())
            }
            AppEvent::Resumed => {
                self.returns(now, 0, wants);
                Ok(())
            }
            AppEvent::Answered { want, answer } if Some(want) == self.waits => {
                self.waits = None;
                self.came(now, answer, wants)
            }
            AppEvent::Told(word) => {
                match word.downcast::<Word>() {
                    Ok(word) => self.hears(now, *word, wants),
                    Err(other) if other.is::<GivenUp>() => self.is_held(End::Back(Back::Disconnected), wants),
                    Err(_) => {}
                }
                Ok(())
            }
            AppEvent::Timer(AGAIN) => {
                match self.at {
                    At::Returning(tries) => self.returns(now, tries + 1, wants),
                    _ => self.resumes(wants),
                }
                Ok(())
            }
            AppEvent::Timer(_) => {
                self.has_waited(now, wants);
                Ok(())
            }
            AppEvent::Gone => {
                self.is_held(End::Over, wants);
                Err(CallError::Gone)
            }
            // Another application has taken the call from both.
            AppEvent::Over => {
                self.gives_back("taken");
                Ok(())
            }
            AppEvent::Answered { .. } | AppEvent::Lost(_) => Ok(()),
        };
        if went_on.is_err() {
            // The caller has hung up, or the server stops.
            wants.end(match self.end {
                End::Over => HandlerAction::Complete,
                _ => HandlerAction::Disconnect,
            });
        }
    }

    /// The program has another connection in the next process, and is offered the call again.
    fn save(&self) -> Option<Saved> {
        Saved::of(&())
    }
}

impl Attends {
    fn begins(&mut self, wants: &mut Wants) {
        if !self.finds(wants) {
            self.is_over(End::Back(Back::NotConnected), wants);
        }
    }

    /// Finds a program that takes the call.
    fn finds(&mut self, wants: &mut Wants) -> bool {
        self.program = self.remote.remotes.choose(self.remote.short());
        if self.program.is_some() {
            (self.at, self.waits) = (At::Reading, Some(wants.variables(self.call.call)));
        }
        self.program.is_some()
    }

    /// The process that had the call has ended, and with it the programs' connections.
    fn returns(&mut self, now: Instant, tries: u32, wants: &mut Wants) {
        if self.finds(wants) {
            return;
        }
        match tries < TRIES {
            true => {
                self.at = At::Returning(tries);
                wants.set_timer(AGAIN, now + PAUSE);
            }
            false => self.is_over(End::Back(Back::NotConnected), wants),
        }
    }

    fn came(&mut self, now: Instant, answer: AppAnswer, wants: &mut Wants) -> Result<(), CallError> {
        match self.at {
            At::Reading => self.offers(now, &answer.variables()?, wants),
            At::Quieting(tries) => match answer.done() {
                Err(CallError::Busy) if tries < TRIES => wants.set_timer(AGAIN, now + PAUSE),
                _ => self.is_quiet(wants),
            },
            At::Looking => match answer {
                AppAnswer::Truth(true) => wants.end(HandlerAction::Complete),
                _ => self.falls_back(wants),
            },
            At::Leading => wants.end(match answer {
                AppAnswer::Truth(true) => HandlerAction::Disconnect,
                AppAnswer::Truth(false) => HandlerAction::Reject { status: 480, reason: String::new() },
                answer => answer.action()?,
            }),
            At::Returning(_) | At::Held(_) | At::Over => {}
        }
        Ok(())
    }

    fn offers(&mut self, now: Instant, variables: &[(String, String)], wants: &mut Wants) {
        let Some(program) = self.program.take() else { return };
        let (call, leg) = (self.call.call, self.call.leg);
        let known = self.remote.known(&self.call, variables);
        let held = Held::new(&self.remote, program, &self.call);
        // If the call is over, an event below says so.
        wants.enter(call, Place::Program);
        let (words, line) = Words::new(AppHandle::new(&self.remote.control.0.parts.service, wants.me()));
        // If the program is disconnected, its words end.
        let _ = held.program.news.send(News::Offer(Offer { call, leg, known, words }));
        self.remote.remotes.0.counters.offered.fetch_add(1, Ordering::Relaxed);
        (self.held, self.line) = (Some(held), Some(line));
        let hold = Hold::new(now, self.remote.limits);
        wants.set_timer(DEADLINE, hold.next_timeout());
        self.at = At::Held(hold);
    }

    fn hears(&mut self, now: Instant, word: Word, wants: &mut Wants) {
        if let Some(line) = &self.line {
            line.heard(&word);
        }
        let At::Held(hold) = &mut self.at else { return };
        match word {
            Word::Sign => hold.sign(now),
            Word::Touch => hold.touch(now),
            Word::Decision(action) => return self.is_held(End::Decided(*action), wants),
            Word::Fallback => return self.is_held(End::Fallback, wants),
        }
        wants.set_timer(DEADLINE, hold.next_timeout());
    }

    fn has_waited(&mut self, now: Instant, wants: &mut Wants) {
        let At::Held(hold) = &self.at else { return };
        match hold.taken_back(now) {
            Some(why) => self.is_held(End::Back(why), wants),
            None => wants.set_timer(DEADLINE, hold.next_timeout()),
        }
    }

    /// Ends the program's part, if it still has the call.
    fn is_held(&mut self, end: End, wants: &mut Wants) {
        if let At::Held(_) = self.at {
            wants.cancel_timer(DEADLINE);
            self.is_over(end, wants);
        }
    }

    fn gives_back(&mut self, why: &'static str) {
        self.line = None;
        if let Some(held) = &mut self.held {
            held.why = why;
            self.left = self.remote.control.take(self.call.leg);
        }
        self.held = None;
    }

    fn is_over(&mut self, end: End, wants: &mut Wants) {
        self.gives_back(match &end {
            End::Decided(_) => "decided",
            End::Fallback => "fallback",
            End::Back(why) => why.as_str(),
            End::Over => "ended",
        });
        let counters = &self.remote.remotes.0.counters;
        match &end {
            End::Decided(_) | End::Fallback => drop(counters.decided.fetch_add(1, Ordering::Relaxed)),
            End::Over => {
                counters.ended.fetch_add(1, Ordering::Relaxed);
                (self.at, self.end) = (At::Over, end);
                return wants.end(HandlerAction::Complete);
            }
            End::Back(why) => self.is_taken_back(*why, wants),
        }
        self.end = end;
        self.quiets(wants);
    }

    fn is_taken_back(&self, why: Back, wants: &mut Wants) {
        let Remote { remotes, name, fallback, .. } = &self.remote;
        remotes.count_back(why);
        tracing::info!("call {}: taken back from {name}: {}", self.call.call.0, why.as_str());
        let data = json!({ "leg": self.call.leg.0, "reason": why.as_str(), "fallback": fallback });
        wants.publish(Some(self.call.call), name, "taken_back", data);
    }

    /// Ends everything that a program has started for the party to hear. Recordings continue.
    fn quiets(&mut self, wants: &mut Wants) {
        let leg = self.call.leg;
        // These do nothing for a leg that is not answered or is gone.
        wants.stop_dialling(leg);
        wants.stop_playing(leg);
        wants.stop_collecting(leg);
        wants.stop_moh(leg);
        self.at = At::Quieting(0);
        match self.left.hold {
            true => self.resumes(wants),
            false => self.is_quiet(wants),
        }
    }

    /// Retrieves the party from hold, with retries while an offer is pending.
    fn resumes(&mut self, wants: &mut Wants) {
        if let At::Quieting(tries) = &mut self.at {
            *tries += 1;
            self.waits = Some(wants.resume(self.call.leg));
        }
    }

    fn is_quiet(&mut self, wants: &mut Wants) {
        let leg = self.call.leg;
        for verb in std::mem::take(&mut self.left.settings) {
            wants.media(leg, verb);
        }
        match std::mem::replace(&mut self.end, End::Fallback) {
            // A number is dialled as the caller could.
            End::Decided(HandlerAction::TransferTo(to)) => {
                self.at = At::Leading;
                self.waits = Some(wants.where_to(leg, &to));
            }
            End::Decided(action) => wants.end(action),
            // The fall-back gets the call, unless it is in a conversation.
            End::Fallback | End::Back(_) | End::Over => {
                self.at = At::Looking;
                self.waits = Some(wants.is_joined(leg));
            }
        }
    }

    fn falls_back(&mut self, wants: &mut Wants) {
        let leg = self.call.leg;
        if self.left.leg_recording {
            // It may be over.
            wants.stop_leg_recording(leg);
        }
        if self.left.recording {
            // Done by another application: writing the file may take long.
            wants.attend(Box::new(EndsRecording(leg)));
        }
        self.at = At::Leading;
        self.waits = Some(match &self.remote.fallback {
            Some(target) => wants.where_to(leg, target),
            None => wants.is_up(leg),
        });
    }
}

/// Ends the recording of the call that a leg is in by now.
struct EndsRecording(LegId);

impl Application for EndsRecording {
    fn step(&mut self, _: Instant, event: AppEvent, wants: &mut Wants) {
        match event {
            AppEvent::Begin => {
                wants.locate(self.0);
            }
            AppEvent::Answered { answer: AppAnswer::Located(found), .. } => {
                if let Ok((call, _)) = found {
                    // It may be over.
                    wants.stop_call_recording(call);
                }
                wants.end(HandlerAction::Complete);
            }
            _ => {}
        }
    }
}

impl Remote {
    /// The data on a call that a program is sent.
    fn known(&self, call: &IncomingCall, variables: &[(String, String)]) -> Box<OfferedCall> {
        let (mut headers, mut room) = (Vec::new(), HEADERS);
        // A party that b2b has called, or that comes from another application, has no INVITE.
        for (name, value) in call.request.fields().filter(|_| !call.answered) {
            let name = name.to_string();
            let secret = name.eq_ignore_ascii_case("Authorization")
                || name.eq_ignore_ascii_case("Proxy-Authorization");
            let size = name.len() + value.len();
            if !secret && size <= room {
                room -= size;
                headers.push((name, String::from_utf8_lossy(value).into_owned()));
            }
        }
        Box::new(OfferedCall {
            remote: self.short().to_owned(),
            call: call.call.0,
            leg: call.leg.0,
            called: call.called(),
            caller: call.caller(),
            identity: call.identity.clone(),
            source: call.source.to_string(),
            answered: call.answered,
            resumed: call.resumed,
            variables: variables.iter().cloned().collect(),
            headers,
            verstat: call.who.verstat.clone(),
        })
    }
}
