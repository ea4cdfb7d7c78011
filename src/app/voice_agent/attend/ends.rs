//! The end of an agent's talk: where its caller goes then.

use std::time::Instant;

use serde_json::json;

use super::{AGAIN, At, Attends, PATIENCE};
use crate::voice_agent::{AgentConfig, MUSIC, Parting};
use b2b_call::application::Wants;
use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::controller::{Part, Prompt, StreamEnd};
use b2b_call::handler::HandlerAction;
use b2b_call::reason::Reason;
use b2b_call::service::MediaVerbs;

/// Maximum bytes of the call's variable with the reason of a failure.
const WHY: usize = 512;
/// The close code of a program that is stopped.
const GOING_AWAY: u16 = 1001;
/// Q.850 cause of a call that an agent has failed: temporary failure.
const FAILED: u8 = 41;
/// Maximum times that a call's connection is made again: an agent that breaks each time has failed.
const TIMES: u32 = 3;

impl Attends {
    pub(super) fn has_talked(&mut self, now: Instant, parting: Parting, wants: &mut Wants) {
        let leg = self.call.leg;
        let stranded = self.consultation.is_stranded();
        let consulted = self.consultation.ends(wants);
        match (parting, consulted) {
            (Parting::Stopped { transfer: None }, Some(consulted)) => {
                self.tell("transferred", json!({ "to": consulted.to }), wants);
                let joined = wants.create_bridge(leg, consulted.leg, BridgeMode::default(), true);
                self.consulted = Some(consulted);
                self.goes(At::Joining, joined);
            }
            (Parting::Stopped { .. }, _) if self.early.is_some() => {
                self.tell("stopped", json!({}), wants);
                let hung_up = wants.hangup_call(self.call.call);
                self.goes(At::HangingUp, hung_up);
            }
            (Parting::Stopped { transfer: None }, None) => {
                self.tell("stopped", json!({}), wants);
                wants.end(HandlerAction::Disconnect);
            }
            (Parting::Stopped { transfer: Some(target) }, _) => {
                self.tell("transferred", json!({ "to": target.to }), wants);
                self.stay.target = Some(target);
                self.sends(wants);
            }
            (Parting::Ended(StreamEnd::Joined | StreamEnd::Replaced), _) => {
                // Another application has the caller now; or none has, and the caller stays until they hang
                // up.
                let adopted = wants.adopt(leg);
                self.goes(At::Keeping, adopted);
            }
            (Parting::Ended(StreamEnd::Closed), _) if stranded => {
                self.falls_back(None, "the audio of its caller cannot be opened again", wants)
            }
            (Parting::Ended(StreamEnd::Closed | StreamEnd::Finished), _) => {
                wants.end(HandlerAction::Complete)
            }
            (Parting::Failed { code: Some(GOING_AWAY), .. }, _) if self.has_no_other() => {
                self.tell("stopped", json!({}), wants);
                wants.end(HandlerAction::Disconnect);
            }
            (Parting::Failed { code, why }, _) if self.may_reconnect(code) => {
                self.stay.broken += 1;
                self.breaks(now, code, &why, wants);
            }
            (Parting::Failed { code, why }, _) => self.falls_back(code, &why, wants),
        }
    }

    /// The connection has broken: it is made again, for a while.
    pub(super) fn breaks(&mut self, now: Instant, code: Option<u16>, why: &str, wants: &mut Wants) {
        tracing::warn!("call {}: {}: {why}; connecting again", self.call.call.0, self.agent.name);
        self.tell("broken", json!({ "error": why, "code": code }), wants);
        wants.start_moh(self.call.leg, MUSIC);
        wants.set_timer(PATIENCE, now + self.agent.config.reconnect);
        // Others may have lost it, too.
        wants.set_timer(AGAIN.0, self.agent.reach.seats().again(&self.agent.config.name, now));
        self.stay.at = At::Reconnecting;
    }

    /// Asks where the agent's target leads the caller.
    pub(super) fn sends(&mut self, wants: &mut Wants) {
        let Some(target) = &self.stay.target else { return wants.end(HandlerAction::Disconnect) };
        let led = wants.where_named(self.call.leg, &target.to, &self.agent.name);
        self.goes(At::Sending, led);
    }

    /// Whether a connection that ended so is made again: it broke, or the program restarts (RFC 6455 §7.4.1). One that
    /// sends what it may not would do so again.
    fn may_reconnect(&self, code: Option<u16>) -> bool {
        let broken = matches!(code, None | Some(GOING_AWAY | 1011..=1014));
        broken && self.early.is_none() && self.stay.broken < TIMES && !self.agent.config.reconnect.is_zero()
    }

    /// Whether its caller can only be hung up when the agent is stopped.
    fn has_no_other(&self) -> bool {
        let AgentConfig { fallback, failed_prompt, reconnect, .. } = &*self.agent.config;
        self.early.is_none() && fallback.is_none() && failed_prompt.is_none() && reconnect.is_zero()
    }

    /// The agent has failed: sends the caller to the fallback, or apologises.
    pub(super) fn falls_back(&mut self, code: Option<u16>, why: &str, wants: &mut Wants) {
        let (call, leg, config) = (self.call.call, self.call.leg, self.agent.config.clone());
        let AgentConfig { name, fallback, .. } = &*config;
        tracing::warn!("call {}: voice agent {name}: {why}", call.0);
        if self.early.is_some() {
            (self.stay.at, self.seat) = (At::Ringing, None);
            return;
        }
        self.tell("failed", json!({ "error": why, "code": code, "fallback": fallback }), wants);
        self.seat = None;
        if self.stay.at == At::Reconnecting {
            wants.stop_moh(leg);
        }
        let noted = format!("{name}: {why}");
        wants.set_variable(call, "voice_agent_failed", &noted[..noted.floor_char_boundary(WHY)]);
        self.leads_away(wants);
    }

    /// To the fallback, or to the end.
    pub(super) fn leads_away(&mut self, wants: &mut Wants) {
        let (leg, AgentConfig { fallback, failed_prompt, .. }) = (self.call.leg, &*self.agent.config.clone());
        let answered =
            self.call.answered || !matches!(self.stay.at, At::Waiting | At::Connecting | At::Answering);
        match (fallback, failed_prompt) {
            (Some(target), _) => {
                let led = wants.where_to(leg, target);
                self.goes(At::FallingBack, led);
            }
            (None, _) if !answered => {
                wants.end(HandlerAction::Reject { status: 480, reason: String::new() });
            }
            (None, Some(file)) => {
                let played = wants.play(leg, &Prompt::new(vec![Part::File(file.clone())]));
                self.goes(At::Apologising, played);
            }
            (None, None) => self.hangs_up(wants),
        }
    }

    pub(super) fn hangs_up(&mut self, wants: &mut Wants) {
        let hung_up = wants.hangup_with(self.call.leg, Reason::q850(FAILED));
        self.goes(At::HangingUp, hung_up);
    }
}
