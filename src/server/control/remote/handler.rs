//! The way of a call that is given to a program.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::hold::{Back, Hold, Limits};
use super::{Chosen, News, Offer, Remotes, Word};
use crate::control::{Control, hold as parties, left::Left};
use b2b_call::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall};
use b2b_call::service::{CallError, CallService, Place};
use b2b_call::{CallId, LegId};

/// Words of a program about one call that wait to be heard.
const WORDS: usize = 64;
/// Octets of header fields that a program is told.
const HEADERS: usize = 16 * 1_024;

/// The application `remote/<name>`.
#[derive(Clone)]
pub struct Remote {
    name: String,
    remotes: Remotes,
    control: Control,
    limits: Limits,
    /// Who gets a call that is taken back: an application, or a target. None: it ends.
    fallback: Option<String>,
}

impl Remote {
    /// For programs that connect by `name`.
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

impl ApplicationHandler for Remote {
    fn name(&self) -> &str {
        &self.name
    }

    /// Only by name.
    fn can_handle(&self, _: &IncomingCall) -> bool {
        false
    }

    fn handle_incoming_call(&self, call: IncomingCall, service: CallService) -> HandlerFuture {
        let remote = self.clone();
        Box::pin(async move {
            // He has gone, or the server stops.
            remote.attend(&call, &service).await.unwrap_or(HandlerAction::Disconnect)
        })
    }
}

/// How a program's part in a call is over.
enum End {
    Decided(HandlerAction),
    Fallback,
    Back(Back),
    /// The call is over.
    Over,
}

/// A call that a program has; dropped, it has it no more.
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
        // Unless it says otherwise: somebody has taken the call from both.
        Held { remote: remote.clone(), program, call: call.call, leg: call.leg, why: "taken" }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.program.held.fetch_sub(1, Ordering::Relaxed);
        self.remote.remotes.0.held.fetch_sub(1, Ordering::Relaxed);
        self.remote.control.take(self.leg);
        // A program that is gone hears nothing.
        let _ = self.program.news.send(News::Over { call: self.call, leg: self.leg, why: self.why });
    }
}

impl Remote {
    async fn attend(&self, call: &IncomingCall, service: &CallService) -> Result<HandlerAction, CallError> {
        let Some(program) = self.remotes.choose(self.short()) else {
            return self.take_back(call, service, Left::default(), Back::NotConnected).await;
        };
        let (words, heard) = mpsc::channel(WORDS);
        let known = self.known(call, &service.variables(call.call).await?);
        let mut held = Held::new(self, program, call);
        // A call that is over says so below.
        let _ = service.enter(call.call, Place::Program).await;
        let offer = Offer { call: call.call, leg: call.leg, known, words };
        // Of one that is gone the words end.
        let _ = held.program.news.send(News::Offer(offer));
        let counters = &self.remotes.0.counters;
        counters.offered.fetch_add(1, Ordering::Relaxed);
        let end = self.listen(call, service, heard).await?;
        held.why = match &end {
            End::Decided(_) => "decided",
            End::Fallback => "fallback",
            End::Back(why) => why.as_str(),
            End::Over => "ended",
        };
        let left = self.control.take(call.leg);
        drop(held);
        match end {
            End::Decided(action) => {
                counters.decided.fetch_add(1, Ordering::Relaxed);
                // What it plays ends with its part; what it records is recorded on.
                self.quiet(call.leg, left, service).await;
                Ok(action)
            }
            End::Over => {
                counters.ended.fetch_add(1, Ordering::Relaxed);
                Ok(HandlerAction::Complete)
            }
            End::Fallback => {
                counters.decided.fetch_add(1, Ordering::Relaxed);
                self.fall_back(call, service, left).await
            }
            End::Back(why) => self.take_back(call, service, left, why).await,
        }
    }

    /// Until the program has decided, or has it no longer.
    async fn listen(
        &self,
        call: &IncomingCall,
        service: &CallService,
        mut heard: mpsc::Receiver<Word>,
    ) -> Result<End, CallError> {
        let mut hold = Hold::new(service.now().await?, self.limits);
        let over = service.wait_for_termination(call.leg);
        tokio::pin!(over);
        loop {
            let word = tokio::select! {
                biased;
                _ = &mut over => return Ok(End::Over),
                word = heard.recv() => word,
                now = service.sleep_until(hold.next_timeout()) => {
                    match hold.taken_back(now?) {
                        Some(why) => return Ok(End::Back(why)),
                        None => continue,
                    }
                }
            };
            let now = service.now().await?;
            match word {
                Some(Word::Sign) => hold.sign(now),
                Some(Word::Touch) => hold.touch(now),
                Some(Word::Decision(action)) => return Ok(End::Decided(*action)),
                Some(Word::Fallback) => return Ok(End::Fallback),
                None => return Ok(End::Back(Back::Disconnected)),
            }
        }
    }

    async fn take_back(
        &self,
        call: &IncomingCall,
        service: &CallService,
        left: Left,
        why: Back,
    ) -> Result<HandlerAction, CallError> {
        self.remotes.count_back(why);
        tracing::info!("call {}: taken back from {}: {}", call.call.0, self.name, why.as_str());
        let data = json!({ "leg": call.leg.0, "reason": why.as_str(), "fallback": self.fallback });
        service.publish(Some(call.call), &self.name, "taken_back", data)?;
        self.fall_back(call, service, left).await
    }

    /// The call is with the fall-back, unless it is in a conversation.
    async fn fall_back(
        &self,
        call: &IncomingCall,
        service: &CallService,
        left: Left,
    ) -> Result<HandlerAction, CallError> {
        self.quiet(call.leg, left, service).await;
        if service.is_joined(call.leg).await? {
            return Ok(HandlerAction::Complete);
        }
        if left.leg_recording {
            let (all, leg) = (service.clone(), call.leg);
            service.spawn(async move {
                // It may be over.
                let _ = all.stop_leg_recording(leg).await;
            })?;
        }
        if left.recording {
            let (all, leg) = (service.clone(), call.leg);
            // Its file takes as long as the disk wants.
            service.spawn(async move {
                if let Ok((call, _)) = all.locate(leg).await {
                    // It may be over.
                    let _ = all.stop_call_recording(call).await;
                }
            })?;
        }
        match &self.fallback {
            Some(target) => service.where_to(call.leg, target).await,
            None if service.is_up(call.leg).await => Ok(HandlerAction::Disconnect),
            None => Ok(HandlerAction::Reject { status: 480, reason: String::new() }),
        }
    }

    /// Ends what a program has begun with a party's ears.
    async fn quiet(&self, leg: LegId, left: Left, service: &CallService) {
        // Who is not answered hears nothing; who is gone, too.
        let _ = service.stop_dialling(leg).await;
        let _ = service.stop_playing(leg).await;
        let _ = service.stop_collecting(leg).await;
        let _ = service.stop_moh(leg).await;
        if left.hold {
            let _ = parties::resume(service, leg).await;
        }
        if left.echo {
            let _ = service.echo(leg, false).await;
        }
        if left.tones {
            let _ = service.hear_tones_as_usual(leg).await;
        }
    }

    /// What a program is told of a call.
    fn known(&self, call: &IncomingCall, variables: &[(String, String)]) -> Value {
        let (mut headers, mut room) = (Vec::new(), HEADERS);
        // Of a party that b2b has called, or that comes from elsewhere in b2b, there is no INVITE.
        for (name, value) in call.request.fields().filter(|_| !call.answered) {
            let name = name.to_string();
            let secret = name.eq_ignore_ascii_case("Authorization")
                || name.eq_ignore_ascii_case("Proxy-Authorization");
            let size = name.len() + value.len();
            if !secret && size <= room {
                room -= size;
                headers.push(json!([name, String::from_utf8_lossy(value)]));
            }
        }
        let variables: serde_json::Map<_, _> =
            variables.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let mut offer = json!({
            "type": "offer",
            "remote": self.short(),
            "call": call.call.0,
            "leg": call.leg.0,
            "called": call.called(),
            "caller": call.caller(),
            "identity": call.identity,
            "source": call.source.to_string(),
            "answered": call.answered,
            "variables": variables,
            "headers": headers,
        });
        if let Some(verstat) = &call.who.verstat {
            offer["verstat"] = json!(verstat);
        }
        offer
    }
}
