//! Carries a command out, over `CallService`, and undoes it.

use serde_json::{Value, json};

use super::command::{Command, Order, TransferBy, Whole};
use super::dial::{Targets, looked_up, options};
use super::header_fields;
use super::memory::Failure;
use super::{Parts, Running, hold};
use b2b_app::conference::{Conference, NotDone, Order as RoomOrder};
use b2b_app::queue::Change;
use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::controller::{Answer, CollectEnd, Collected, Played, Recorded};
use b2b_call::lookup::LookupError;
use b2b_call::reason::Reason;
use b2b_call::service::{
    CallError, DialError, DialOptions, DialRequest, DialTo, MediaRequest, Place, ReferRequest, RouteTaken,
};
use b2b_call::{CallId, LegId};

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let reason = match &error {
            CallError::Gone => "gone",
            CallError::WrongState(_) | CallError::Busy => "wrong_state",
            CallError::Refused(_) => "refused",
            CallError::Media(_) => "media",
            CallError::Stopping => "stopping",
        };
        let status = if let CallError::Refused(status) = error { Some(status) } else { None };
        Failure { reason: reason.into(), error: error.to_string(), status }
    }
}

impl From<LookupError> for Failure {
    fn from(error: LookupError) -> Self {
        Failure { reason: "unknown".into(), error: error.to_string(), status: Some(error.status().0) }
    }
}

impl From<DialError> for Failure {
    fn from(error: DialError) -> Self {
        let (reason, status) = match &error {
            DialError::Lookup(error) => ("unknown", Some(error.status().0)),
            DialError::Failed(failure) => ("refused", Some(failure.status)),
            DialError::CallerGone => ("gone", None),
            DialError::Invalid(_) => ("wrong_state", None),
            DialError::Full => ("full", None),
            DialError::Stopping => ("stopping", None),
        };
        Failure { reason: reason.into(), error: error.to_string(), status }
    }
}

impl From<NotDone> for Failure {
    fn from(error: NotDone) -> Self {
        match error {
            NotDone::Call(error) => error.into(),
            NotDone::NoMember => Failure::new("unknown", error.to_string()),
            NotDone::NoFolder => Failure::new("wrong_state", error.to_string()),
        }
    }
}

pub(super) type Done = Result<Value, Failure>;

fn no_leg() -> Failure {
    Failure::new("unknown", "set call or leg")
}

fn done() -> Done {
    Ok(json!({}))
}

/// A command being carried out.
pub(super) struct Run<'a> {
    pub parts: &'a Parts,
    pub order: &'a Order,
    pub running: &'a Running,
}

impl Run<'_> {
    /// The call and the leg that it applies to.
    async fn about(&self) -> Result<(CallId, LegId), Failure> {
        let of = self.order.of().ok_or_else(no_leg)?;
        let found = self.parts.service.locate(of).await?;
        self.running.is_about(found.0);
        Ok(found)
    }

    async fn leg(&self) -> Result<LegId, Failure> {
        Ok(self.about().await?.1)
    }

    async fn call(&self) -> Result<CallId, Failure> {
        Ok(self.about().await?.0)
    }

    /// Carries it out. `media`: its verb, if it is one. The match is exhaustive, so that every command is
    /// implemented.
    pub async fn carry_out(&self, media: Option<MediaRequest>) -> Done {
        let service = &self.parts.service;
        match &self.order.command {
            Command::Originate { .. } => return self.originate().await,
            Command::Lookup { target } => return self.look_up(target).await,
            Command::Agent { agent, state } => {
                let changed = self.parts.queues.change(agent, Change::To(*state)).await;
                let unknown =
                    || Failure::new("unknown", format!("there is no agent {agent:?}; see [[agent]]"));
                return changed.map(|agent| json!(agent)).ok_or_else(unknown);
            }
            Command::RoomMute { room, muted } => {
                return self.in_room(room, RoomOrder::Mute(self.order.leg.map(LegId), *muted)).await;
            }
            Command::RoomVolume { room, db } => {
                return self.in_room(room, RoomOrder::Volume(self.member()?, *db)).await;
            }
            Command::RoomLock { room, locked } => return self.in_room(room, RoomOrder::Lock(*locked)).await,
            Command::RoomKick { room } => {
                return self.in_room(room, RoomOrder::SendAway(self.member()?)).await;
            }
            Command::RoomRecord { room, on } => return self.in_room(room, RoomOrder::Record(*on)).await,
            Command::RoomPlay { room, sound } => {
                let prompt = sound.prompt(&self.parts.current.get().config.apps.prompts, 1);
                let played = self.room(room)?.say_to_all(service, &prompt).await?;
                return Ok(json!({ "complete": played == Played::Complete }));
            }
            Command::Cancel { of } => {
                let unknown = "it is over, or never existed";
                return self.running.cancel(of).then(|| json!({})).ok_or(Failure::new("gone", unknown));
            }
            Command::Dial { to, order, caller, ring_s, headers } => {
                let found = looked_up(service, to, *order).await?;
                let settings = self.parts.current.get();
                let options = options(&settings, caller.as_deref(), "", *ring_s, headers);
                return self.dial(self.leg().await?, found, options, caller.is_none()).await;
            }
            Command::Answer { headers } => {
                service.answer_with(self.leg().await?, header_fields::pairs(headers)).await?;
            }
            Command::Reject { status, reason } => {
                service.reject(self.leg().await?, *status, reason).await?;
            }
            Command::Hangup { cause, text } => self.hang_up(*cause, text.as_ref()).await?,
            Command::Bridge { with, keep } => {
                let (leg, mode) = (self.leg().await?, BridgeMode::Intercepting);
                let bridge = service.create_bridge(leg, LegId(*with), mode, !keep).await?;
                return Ok(json!({ "bridge": bridge.0 }));
            }
            Command::Unbridge { app } => return self.unbridge(self.leg().await?, app.as_deref()).await,
            Command::Hold { class } => hold::hold(service, self.leg().await?, class.as_deref()).await?,
            Command::Resume {} => hold::resume(service, self.leg().await?).await?,
            Command::Transfer { to, by: TransferBy::Dial, headers, .. } => {
                return self.transfer(self.leg().await?, to, headers).await;
            }
            Command::Transfer { to, by: TransferBy::Refer, own, fallback, headers } => {
                let request =
                    ReferRequest { to: to.clone(), own: *own, headers: header_fields::pairs(headers) };
                return self.refer(self.leg().await?, request, fallback.as_deref(), headers).await;
            }
            Command::Play { .. }
            | Command::StopPlaying {}
            | Command::Collect { .. }
            | Command::StopCollecting {}
            | Command::PlayAndCollect { .. }
            | Command::HearTones { .. }
            | Command::Music { .. }
            | Command::StopMusic {}
            | Command::Echo { .. } => return self.media(media.ok_or_else(no_leg)?).await,
            Command::Record { what: Whole::Call } => service.record_call(self.call().await?, None).await?,
            Command::Record { what: what @ (Whole::Leg | Whole::Said) } => {
                service.record_leg(self.leg().await?, *what == Whole::Leg).await?;
            }
            Command::PauseRecording { paused, what: Whole::Call } => {
                service.pause_call_recording(self.call().await?, *paused).await?;
            }
            Command::PauseRecording { paused, what: Whole::Leg | Whole::Said } => {
                service.pause_leg_recording(self.leg().await?, *paused).await?;
            }
            Command::StopRecording { what } => {
                let recorded = match what {
                    Whole::Call => service.stop_call_recording(self.call().await?).await?,
                    Whole::Leg | Whole::Said => service.stop_leg_recording(self.leg().await?).await?,
                };
                return Ok(recorded.map_or_else(|| json!({}), recording));
            }
            Command::SendDigits { digits, ms } => {
                let leg = self.leg().await?;
                for digit in digits.chars() {
                    service.send_digit(leg, digit, *ms).await?;
                }
            }
            Command::SetVariable { name, value } => {
                service.set_variable(self.call().await?, name, value).await?;
            }
            Command::Handle { app, number } => {
                service.hand_over(self.leg().await?, app, number.as_deref()).await?;
            }
        }
        done()
    }

    /// Undoes what has begun: the command timed out, or was cancelled.
    pub async fn take_back(&self) {
        let service = &self.parts.service;
        if let Command::Originate { .. } = self.order.command {
            if let Some(call) = self.running.call() {
                // A call that is over needs no hangup.
                let _ = service.hangup_call(call).await;
            }
            return;
        }
        let Ok((call, leg)) = self.about().await else { return };
        let _ = match self.order.command {
            Command::Record { what: Whole::Call } => service.stop_call_recording(call).await.map(drop),
            Command::Record { .. } => service.stop_leg_recording(leg).await.map(drop),
            Command::Hold { .. } => hold::resume(service, leg).await,
            Command::Dial { .. } => service.stop_dialling(leg).await,
            // The others take effect at once, or end something, or their effect stays.
            _ => {
                for verb in self.order.command.undoing() {
                    // There is nothing to undo once the leg is over.
                    let _ = service.media(leg, verb).await;
                }
                Ok(())
            }
        };
    }

    /// Waits for the answer to its verb.
    async fn media(&self, MediaRequest { found, answer }: MediaRequest) -> Done {
        let (call, leg) = found.await.unwrap_or(Err(CallError::Stopping))?;
        self.running.is_about(call);
        match answer.await.unwrap_or(Err(CallError::Stopping))? {
            Answer::Played(played) => self.played(leg, played).await,
            Answer::Collected(collected) => self.collected(leg, collected).await,
            _ => done(),
        }
    }

    async fn played(&self, leg: LegId, played: Played) -> Done {
        match played {
            Played::Complete => Ok(json!({ "complete": true })),
            Played::Stopped if self.parts.service.is_up(leg).await => Ok(json!({ "complete": false })),
            Played::Stopped => Err(CallError::Gone.into()),
        }
    }

    async fn collected(&self, leg: LegId, collected: Collected) -> Done {
        if collected.end == CollectEnd::Stopped && !self.parts.service.is_up(leg).await {
            return Err(CallError::Gone.into());
        }
        let end = match collected.end {
            CollectEnd::Full => "full",
            CollectEnd::Terminator(_) => "terminator",
            CollectEnd::NoInput => "no_input",
            CollectEnd::BetweenDigits => "between_digits",
            CollectEnd::TotalTime => "total_time",
            CollectEnd::Stopped => "stopped",
        };
        let is_secret = matches!(
            &self.order.command,
            Command::Collect { digits } | Command::PlayAndCollect { digits, .. } if digits.secret
        );
        Ok(match is_secret {
            true => json!({ "digits": collected.digits, "end": end, "secret": true }),
            false => json!({ "digits": collected.digits, "end": end }),
        })
    }

    async fn hang_up(&self, cause: Option<u8>, text: Option<&String>) -> Result<(), Failure> {
        let (service, of_leg) = (&self.parts.service, self.order.leg.is_some());
        let reason = cause.map(Reason::q850);
        let reason = reason.map(|it| Reason { text: text.cloned().or(it.text), ..it });
        let (call, leg) = self.about().await?;
        match reason {
            Some(reason) if of_leg => service.hangup_with(leg, reason).await?,
            Some(reason) => service.hangup_call_with(call, reason).await?,
            None if of_leg => service.hangup(leg).await?,
            None => service.hangup_call(call).await?,
        }
        Ok(())
    }

    async fn originate(&self) -> Done {
        let Command::Originate { from, to, order, app, early, number, caller, ring_s, variables, headers } =
            &self.order.command
        else {
            return done();
        };
        let (service, settings) = (&self.parts.service, self.parts.current.get());
        if let Some(app) = app
            && !service.knows_application(app).await?
        {
            return Err(Failure::new("unknown", format!("there is no application {app:?}")));
        }
        let first = looked_up(service, from, *order).await?;
        let second = match to {
            Some(to) => Some(looked_up(service, to, *order).await?),
            None => None,
        };
        let shown = to.as_ref().map(Targets::first).or(number.as_deref()).unwrap_or(from.first());
        let why = format!("a command calls {from}");
        let route = Some(RouteTaken { name: "api".to_owned(), why });
        let token = Some(self.order.token.clone());
        let options_of = |shown: &str| options(&settings, caller.as_deref(), shown, *ring_s, headers);
        let options = DialOptions { route, token, early_media: *early, ..options_of(shown) };
        let request = DialRequest { to: first, options };
        let (call, heard, answered) = service.originate_early(request).await?;
        self.running.is_about(call);
        let told = async {
            for (name, value) in variables {
                service.set_variable(call, name, value).await?;
            }
            let given = async {
                let (leg, app) = (heard.await?, app.as_ref()?);
                service.give(leg, app, number.as_deref()).await.ok().map(|()| leg)
            };
            let (given, leg) = tokio::join!(given, answered);
            let leg = leg?;
            let mut result = json!({ "call": call.0, "leg": leg.0 });
            if let Some(second) = second {
                let onward = DialRequest { to: second, options: options_of(from.first()) };
                result["bridge"] = json!(service.dial_and_bridge(leg, onward).await?.0);
            }
            match app {
                // It has the party already.
                Some(_) if given == Some(leg) => {}
                Some(app) => service.hand_over(leg, app, number.as_deref()).await?,
                // The call waits for commands, unless it is over.
                None if to.is_none() => drop(service.enter(call, Place::Program).await),
                None => {}
            }
            Ok(result)
        };
        let result = told.await;
        if result.is_err() {
            // Nothing else would end it. It is over already if its party has hung up.
            let _ = service.hangup_call(call).await;
        }
        result
    }

    /// Calls targets for a leg. `own`: they are presented the party's own number.
    pub(super) async fn dial(&self, leg: LegId, to: DialTo, mut options: DialOptions, own: bool) -> Done {
        if own {
            options.caller = None;
        }
        let request = DialRequest { to, options };
        match self.parts.service.dial_and_bridge(leg, request).await {
            Ok(bridge) => Ok(json!({ "bridge": bridge.0 })),
            // The party has hung up: no target has refused.
            Err(DialError::Failed(_)) if self.parts.service.locate(leg).await.is_err() => {
                Err(CallError::Gone.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn unbridge(&self, leg: LegId, app: Option<&str>) -> Done {
        let service = &self.parts.service;
        if let Some(app) = app
            && !service.knows_application(app).await?
        {
            return Err(Failure::new("unknown", format!("there is no application {app:?}")));
        }
        let kept = self.running.is_of_holder();
        let (call, other) = hold::patiently(service, || service.unbridge(leg, kept)).await?;
        if let Some(app) = app {
            service.hand_over(other, app, None).await?;
        }
        let (own, _) = service.locate(leg).await?;
        Ok(json!({ "call": own.0, "leg": leg.0, "other": { "call": call.0, "leg": other.0 } }))
    }

    async fn look_up(&self, target: &str) -> Done {
        let found = self.parts.service.lookup(target).await?.contacts;
        let contact = |it: &b2b_call::lookup::ResolvedContact| {
            json!({
                "uri": it.uri,
                "user": it.user.as_deref(),
                "gateway": it.gateway.as_ref().map(|gateway| gateway.name.to_string()),
                "priority": it.priority,
            })
        };
        Ok(json!({ "contacts": found.iter().map(contact).collect::<Vec<_>>() }))
    }

    fn room(&self, name: &str) -> Result<Conference, Failure> {
        let settings = self.parts.current.get();
        let config = settings.config.apps.conferences.iter().find(|config| config.name == name);
        match config {
            Some(config) => Ok(Conference::new(config.clone(), &self.parts.places.rooms)),
            None => Err(Failure::new("unknown", format!("there is no room {name:?}; see [[conference]]"))),
        }
    }

    async fn in_room(&self, name: &str, order: RoomOrder) -> Done {
        self.room(name)?.order(&self.parts.service, order).await?;
        done()
    }

    fn member(&self) -> Result<LegId, Failure> {
        self.order.leg.map(LegId).ok_or_else(|| Failure::new("unknown", "set the leg of the participant"))
    }
}

fn recording(Recorded { path, lasts, error, .. }: Recorded) -> Value {
    let seconds = lasts.as_millis() as f64 / 1_000.0;
    json!({ "file": path.to_string_lossy(), "seconds": seconds, "error": error })
}
