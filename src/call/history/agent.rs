//! What a voice agent does in a call: its utterances in the timeline, and their sums for its party's leg.

use std::time::Instant;

use serde::Deserialize;

use super::super::LegId;
use super::super::cdr::VoiceAgentSums;
use super::super::event::Event;
use super::super::timeline::{Utterance, UtteranceState};
use super::entry::Entry;
use super::loudness::{LegLoudness, Loudness};

/// How the names of voice agents begin.
const AGENTS: &str = "voice_agent/";
/// The marks and clears of a leg that have records of their own, and the characters of a mark's name in them: they leave
/// room for the texts of others.
const MARKS: u32 = 16;
const NAME: usize = 24;
/// The response times that are kept for the median.
const RESPONSES: usize = 256;

/// The account of voice agents with one leg.
#[derive(Debug)]
pub(super) struct AgentAccount {
    sums: VoiceAgentSums,
    /// The number of response times so far.
    responses: u32,
    /// Each `every`th of them, from the first one.
    kept: Vec<u32>,
    every: u32,
    /// The number of marks and clears so far.
    marks: u32,
    loudness: Loudness,
}

/// The data of a voice agent's event, as far as it matters here.
#[derive(Deserialize)]
struct Said {
    leg: LegId,
    #[serde(default)]
    utterance: u32,
    response_ms: Option<u32>,
    sent_ms: Option<u32>,
    heard_ms: Option<[u32; 2]>,
    #[serde(default)]
    levels: Option<Levels>,
}

/// Levels in steps, the last of which has just ended.
#[derive(Deserialize)]
struct Levels {
    step_ms: u64,
    party: String,
    agent: String,
}

impl Default for AgentAccount {
    fn default() -> Self {
        AgentAccount {
            sums: VoiceAgentSums::default(),
            responses: 0,
            kept: Vec::new(),
            every: 1,
            marks: 0,
            loudness: Loudness::default(),
        }
    }
}

impl AgentAccount {
    /// `None`: it has said nothing.
    pub fn sums(&self) -> Option<VoiceAgentSums> {
        let mut kept = self.kept.clone();
        let middle = kept.len().saturating_sub(1) / 2;
        let median = (!kept.is_empty()).then(|| *kept.select_nth_unstable(middle).1);
        let has_spoken = self.sums.utterances > 0 || self.marks > 0;
        has_spoken.then_some(VoiceAgentSums { median_response_ms: median, ..self.sums })
    }

    /// How loud it and its party were.
    pub fn loudness(&self) -> Option<LegLoudness> {
        self.loudness.view()
    }

    fn responds(&mut self, ms: u32) {
        self.sums.first_response_ms.get_or_insert(ms);
        self.sums.worst_response_ms = self.sums.worst_response_ms.max(Some(ms));
        if self.responses.is_multiple_of(self.every) {
            if self.kept.len() == RESPONSES {
                let mut place = 0;
                self.kept.retain(|_| {
                    place += 1;
                    place % 2 == 1
                });
                self.every = self.every.saturating_mul(2);
            }
            self.kept.push(ms);
        }
        self.responses = self.responses.saturating_add(1);
    }

    /// The memory in use, including the value itself.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.kept.capacity() * size_of::<u32>() + self.loudness.bytes()
    }
}

impl Entry {
    /// Takes an event of a voice agent; `false`: it has its record like any other event.
    pub fn agent(&mut self, now: Instant, event: &Event) -> bool {
        let Event::Application { app, name, data, .. } = event else { return false };
        if !app.starts_with(AGENTS) {
            return false;
        }
        let Ok(Said { leg, utterance, response_ms, sent_ms, heard_ms, levels }) = Said::deserialize(data)
        else {
            return false;
        };
        let mut nobody = AgentAccount::default();
        let account = self.legs.iter_mut().find(|account| account.leg == leg);
        let account = account.map_or(&mut nobody, |it| it.agent.get_or_insert_default());
        let state = match name.as_str() {
            "levels" => {
                if let Some(Levels { step_ms, party, agent }) = levels {
                    let end_ms = now.saturating_duration_since(self.start).as_millis() as u64;
                    account.loudness.add(end_ms, step_ms, &party, &agent);
                }
                return true;
            }
            "speaks" => {
                account.sums.utterances += 1;
                response_ms.into_iter().for_each(|ms| account.responds(ms));
                self.timeline.utters(now, leg, Utterance::begun(utterance, response_ms));
                return true;
            }
            "played" | "not_played" | "cleared" => {
                account.marks = account.marks.saturating_add(1);
                match data["mark"].as_str() {
                    _ if account.marks > MARKS => self.timeline.repeated(now, app, "more marks and clears"),
                    Some(mark) => {
                        self.timeline.decision(now, None, app, format_args!("{name}: {mark:.NAME$}"));
                    }
                    None => self.timeline.decision(now, None, app, name),
                }
                return true;
            }
            "spoken" => UtteranceState::Sent,
            "cut" => UtteranceState::Cleared,
            "interrupted" => {
                account.sums.interruptions += 1;
                UtteranceState::Interrupted
            }
            _ => return false,
        };
        self.timeline.uttered(Utterance { utterance, state, response_ms, sent_ms, heard_ms });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_many_response_times_is_that_of_evenly_spaced_ones() {
        let mut account = AgentAccount::default();
        assert_eq!(account.sums(), None);
        account.sums.utterances = 5;
        (1..=5).rev().for_each(|ms| account.responds(ms * 100));
        let sums = account.sums().unwrap();
        let times = [sums.first_response_ms, sums.median_response_ms, sums.worst_response_ms];
        assert_eq!(times, [Some(500), Some(300), Some(500)]);
        (0..100_000).for_each(|ms| account.responds(ms));
        let median = account.sums().unwrap().median_response_ms.unwrap();
        assert!((49_000..51_000).contains(&median), "{median}");
        assert!(account.bytes() < 3_000, "{}", account.bytes());
    }
}
