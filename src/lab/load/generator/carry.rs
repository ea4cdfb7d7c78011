//! Performs the effects of parties on the agent.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Instant;

use super::{Entry, Generator, MARK, Role};
use crate::load::config::LoadConfig;
use crate::load::hearing::Hears;
use crate::load::party::{PartyEffect, PartyEvent, Said};
use crate::load::routes;
use crate::load::sound::{Ear, LegSound, Mouth, Nothing};
use crate::load::users::{self, User};
use b2b_call::agent::{DialAs, DtmfMode, LegAudio};

/// Length of a digit.
const DIGIT_MS: u32 = 100;

impl Generator {
    pub(super) fn carry_out(&mut self, id: u64, now: Instant, effect: PartyEffect) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let (line, agent) = (entry.agent, self.agents.at(entry.agent));
        let audio = |sound: &Arc<LegSound>| match self.config.signalling_only {
            true => LegAudio { source: Box::new(Nothing), sink: Box::new(Nothing) },
            false => LegAudio {
                source: Box::new(Mouth::new(sound.clone())),
                sink: Box::new(Ear::new(sound.clone())),
            },
        };
        match (effect, entry.leg) {
            (PartyEffect::Dial { to, headers }, _) => {
                let (user, n) = (user_of(&self.config, entry), entry.call.number);
                let fill = |text: &str| users::fill(text, user, n);
                let uri = self.config.uri_of(&fill(&to));
                let filled = headers.iter().map(|(name, value)| (fill(name), fill(value)));
                let mark = (entry.is_marked() && self.config.ears.hears == Hears::Mark)
                    .then(|| (MARK.to_owned(), entry.mark.to_string()));
                let headers = filled.chain(mark).collect();
                let how = match user {
                    Some(user) => user.dials(&self.config.domain, headers),
                    None => DialAs { headers, ..DialAs::default() },
                };
                entry.dialled = Some(now);
                let dialled = routes::number_of(&uri).to_owned();
                match agent.dial_as(&uri, audio(&entry.sound), &how) {
                    Ok(leg) => {
                        entry.leg = Some(leg);
                        self.of_leg.insert((line, leg), id);
                        let call_id = agent.sip_call_id(leg);
                        self.begin_dialog(id, line, call_id);
                    }
                    Err(error) => {
                        self.tell_later(id, PartyEvent::NotPlaced { why: error.to_string() });
                    }
                }
                self.goes_to(id, &dialled);
            }
            (PartyEffect::WakeAt(at), _) => {
                entry.wake = Some(at);
                self.alarms.push(Reverse((at, id)));
            }
            (PartyEffect::Say(said), _) => entry.sound.say(said),
            (PartyEffect::Play(file), _) => {
                let place = self.config.sounds.iter().position(|(name, _)| *name == file);
                entry.sound.say(place.map_or(Said::Nothing, Said::File));
            }
            (PartyEffect::Listen(wanted), _) => {
                entry.sound.listen(&wanted);
                entry.listens = true;
            }
            (PartyEffect::Over(outcome), _) => self.over(id, outcome),
            (_, None) => {}
            (PartyEffect::Progress, Some(leg)) => {
                if let Err(error) = agent.early(leg, audio(&entry.sound)) {
                    self.tell_later(id, PartyEvent::NotPlaced { why: error.to_string() });
                }
            }
            (PartyEffect::Answer, Some(leg)) => {
                let answered = agent.answer_early(leg);
                if let Err(error) = answered.or_else(|_| agent.answer(leg, audio(&entry.sound))) {
                    self.tell_later(id, PartyEvent::NotPlaced { why: error.to_string() });
                }
            }
            (PartyEffect::HangUp, Some(leg)) => {
                entry.hung_up = entry.up.then_some(now);
                let _ = agent.hangup(leg);
            }
            (PartyEffect::Vanish, Some(leg)) => drop(agent.vanish(leg)),
            // an operation that fails because the far end was faster is followed by an event
            (PartyEffect::Ring, Some(leg)) => drop(agent.ring(leg)),
            (PartyEffect::Refuse(status), Some(leg)) => drop(agent.reject(leg, status, "")),
            (PartyEffect::Press(digit), Some(leg)) => {
                drop(agent.digit(leg, digit, DIGIT_MS, DtmfMode::Rfc4733));
            }
            (PartyEffect::Offer(codecs), Some(leg)) => drop(agent.offer(leg, &codecs)),
            (PartyEffect::Hold, Some(leg)) => drop(agent.hold(leg)),
            (PartyEffect::Resume, Some(leg)) => drop(agent.resume(leg)),
            (PartyEffect::Transfer(to), Some(leg)) => {
                let user = user_of(&self.config, entry);
                let uri = self.config.uri_of(&users::fill(&to, user, entry.call.number));
                if agent.refer(leg, &uri).is_err() {
                    self.tell_later(id, PartyEvent::TransferEnded { status: None });
                }
            }
        }
    }
}

/// The user of a caller.
fn user_of<'a>(config: &'a LoadConfig, entry: &Entry) -> Option<&'a User> {
    let kinds = &config.callers.as_ref().filter(|_| entry.role == Role::Caller)?.kinds;
    let users = kinds.get(entry.place)?.users.as_ref()?;
    // in turn, beginning with the first call of the kind
    let turn = usize::try_from(entry.turn).unwrap_or(usize::MAX);
    users.get(turn % users.len().max(1))
}
