//! Applications' tables: `[prompts]`, `[[ivr]]`, …; a file each.
//!
//! A table that makes an application has a name; together with its kind it is what routes
//! and other applications call it: `ivr/main`. Names are collected before anything is read,
//! so that who stands first may name who stands last. One more kind: a table in `KINDS`, a
//! file here with its keys and its reader, a field of [`Apps`], and lines in `parse`,
//! `summary` and `docs::SECTIONS`.

pub mod conference;
mod header_fields;
pub mod ivr;
pub mod music;
pub mod park;
#[cfg(test)]
mod places_tests;
mod prompts;
pub mod queue;
pub mod remote;
pub mod voice_agent;
pub mod voicemail;

use super::check::Names;
use super::docs::SectionDoc;
use super::error::ConfigError;
use super::parse::{Outside, Root};
use super::parse_parties::plain_name;
use super::reader::{Read, Section};
use super::{Secret, User};
use b2b_app::Prompts;
use b2b_app::conference::RoomConfig;
use b2b_app::ivr::IvrFlow;
use b2b_app::park::LotConfig;
use b2b_app::queue::DeskSettings;
use b2b_app::test_numbers::{EchoNumber, Milliwatt};
use b2b_app::voice_agent::AgentConfig;
use b2b_app::voicemail::{VOICEMAIL, VoicemailConfig};
pub use prompts::PROMPTS;

/// Every table whose name is an application's, with what its applications are called by.
const KINDS: [(&SectionDoc, &str); 7] = [
    (&ivr::IVR, "ivr"),
    (&queue::QUEUE, "queue"),
    (&conference::CONFERENCE, "conference"),
    (&park::PARK, "park"),
    (&remote::REMOTE, "remote"),
    (&voicemail::MAILBOX, VOICEMAIL),
    (&voice_agent::VOICE_AGENT, "voice_agent"),
];

/// Every application of the file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Apps {
    /// `[prompts]`.
    pub prompts: Prompts,
    /// `[[ivr]]`, in the order of the file.
    pub ivrs: Vec<IvrFlow>,
    /// `[[music]]`, in the order of the file.
    pub music: Vec<music::Music>,
    /// `[queues]`, `[[agent]]` and `[[queue]]`, in the order of the file.
    pub queues: DeskSettings,
    /// `[[conference]]`, in the order of the file.
    pub conferences: Vec<RoomConfig>,
    /// `[[park]]`, in the order of the file.
    pub lots: Vec<LotConfig>,
    /// `[[remote]]`, in the order of the file.
    pub remotes: Vec<remote::RemoteConfig>,
    /// `[voicemail]` and `[[mailbox]]`, in the order of the file.
    pub voicemail: VoicemailConfig,
    /// `[[voice_agent]]`, in the order of the file.
    pub voice_agents: Vec<AgentConfig>,
}

/// The names of all of them.
pub(super) fn names(root: &Root<'_>, names: &mut Names) -> Result<(), ConfigError> {
    names.add_own_app(EchoNumber::NAME);
    names.add_own_app(Milliwatt::NAME);
    if !root.many(&voicemail::MAILBOX)?.is_empty() {
        names.add_own_app(VOICEMAIL);
    }
    for (doc, kind) in KINDS {
        for section in root.many(doc)? {
            names.add_app(&section, &format!("{kind}/{}", name(&section)?))?;
        }
    }
    Ok(())
}

/// All of them.
pub(super) fn parse(
    root: &Root<'_>,
    outside: &dyn Outside,
    users: &[User],
    names: &mut Names,
) -> Result<Apps, ConfigError> {
    let prompts = prompts::prompts(&root.one(&PROMPTS)?, outside)?;
    let ivrs = root.many(&ivr::IVR)?.into_iter();
    let ivrs = ivrs.map(|section| ivr::ivr(&section, &prompts, outside, names)).collect::<Result<_, _>>()?;
    let music = root.many(&music::MUSIC)?.into_iter();
    let music = music.map(|section| music::music(&section, &prompts, outside, names));
    let music = music.collect::<Result<_, _>>()?;
    let parts = (&root.one(&queue::QUEUES)?, root.many(&queue::AGENT)?, root.many(&queue::QUEUE)?);
    let queues = queue::queues(parts, &prompts, outside, names)?;
    let rooms = root.many(&conference::CONFERENCE)?.into_iter();
    let rooms = rooms.map(|section| conference::conference(&section, &prompts, outside, names));
    let conferences = rooms.collect::<Result<_, _>>()?;
    let lots =
        root.many(&park::PARK)?.iter().map(|section| park::park(section, names)).collect::<Result<_, _>>()?;
    let (section, mailboxes) = (root.one(&voicemail::VOICEMAIL)?, root.many(&voicemail::MAILBOX)?);
    let voicemail = voicemail::voicemail(&section, &mailboxes, &prompts, outside, users)?;
    let remotes = root.many(&remote::REMOTE)?;
    let remotes = remotes.iter().map(|section| remote::remote(section, names)).collect::<Result<_, _>>()?;
    let agents = root.many(&voice_agent::VOICE_AGENT)?;
    let voice_agents =
        agents.iter().map(|section| voice_agent::voice_agent(section, names)).collect::<Result<_, _>>()?;
    Ok(Apps { prompts, ivrs, music, queues, conferences, lots, voicemail, remotes, voice_agents })
}

/// The name of an application.
pub(super) fn name(section: &Section<'_>) -> Result<String, ConfigError> {
    let name = section.parsed("name", plain_name)?;
    name.ok_or_else(|| section.missing("name", "routes call it by its name, like name = \"main\""))
}

/// Digits that a telephone has, which no error shows.
fn pin(section: &Section<'_>, key: &'static str) -> Result<Option<Secret>, ConfigError> {
    let short = section.switch("short_pin")?.unwrap_or(false);
    match section.text_of_secret(key)? {
        Some(pin) if pin.len() < 4 && !short && pin.bytes().all(|digit| digit.is_ascii_digit()) => {
            let reason = "it is soon guessed; take 4 digits or more, or say short_pin = true";
            Err(section.bad(key, section.place(key), "…", reason))
        }
        Some(pin) if !(1..=16).contains(&pin.len()) || !pin.bytes().all(|digit| digit.is_ascii_digit()) => {
            Err(section.bad(key, section.place(key), "…", "a PIN is 1 to 16 digits"))
        }
        pin => Ok(pin.map(Secret::new)),
    }
}

/// The class that is there without being written down.
pub(super) const USUAL_MUSIC: &str = "default";

/// The class of music that a table names.
fn music_of(section: &Section<'_>, names: &Names) -> Result<Option<String>, ConfigError> {
    let Some(text) = section.text("music")?.filter(|text| text.text != USUAL_MUSIC) else {
        return Ok(Some(USUAL_MUSIC.to_string()));
    };
    match names.no_such_music(section.full("music"), &text.text) {
        Some(problem) => Err(section.lines.error(text.at, problem)),
        None => Ok(Some(text.text)),
    }
}

/// `kind/name`, as routes and other applications name one.
pub(super) fn app_name(text: &str) -> Read<String> {
    let good = |part: &str| plain_name(part).is_ok();
    match text.split_once('/') {
        Some((kind, name)) if good(kind) && good(name) => Ok(text.to_string()),
        None if good(text) => Ok(text.to_string()),
        _ => Err("no name of an application; write it like ivr/main".to_string()),
    }
}

impl Apps {
    /// For `--dry-run`, a line each.
    pub fn summary(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.ivrs.is_empty() {
            lines.push(format!("prompts   {}", self.prompts.folder.display()));
        }
        for flow in &self.ivrs {
            lines.push(format!("ivr       {}: {} nodes, from {}", flow.name, flow.nodes.len(), flow.start));
        }
        for music in &self.music {
            lines.push(format!("music     {}: {}", music.name, music.source));
        }
        for agent in &self.queues.agents {
            let skills: Vec<String> =
                agent.plan.skills.iter().map(|(skill, level)| format!("{skill}:{level}")).collect();
            let skills = if skills.is_empty() { String::new() } else { format!("; {}", skills.join(", ")) };
            lines.push(format!("agent     {}: {}{skills}", agent.plan.name, agent.target));
        }
        for queue in &self.queues.queues {
            let plan = &queue.plan;
            let agents = plan.agents.iter().filter_map(|agent| self.queues.agents.get(agent.0));
            let agents: Vec<&str> = agents.map(|agent| &*agent.plan.name).collect();
            let strategy = plan.strategy.as_str();
            lines.push(format!("queue     {}: {strategy} of {}", plan.name, agents.join(", ")));
        }
        for room in &self.conferences {
            let pin = if room.asks() { "by PIN" } else { "open" };
            lines.push(format!("room      {}: {pin}, {} at most, {} Hz", room.name, room.most, room.rate_hz));
        }
        for agent in &self.voice_agents {
            lines.push(format!("voice     {}: {}, {} Hz", agent.name, agent.url, agent.rate_hz));
        }
        for lot in &self.lots {
            let (first, last) = (lot.slots.start(), lot.slots.end());
            lines.push(format!("park      {}: slots {first} to {last}", lot.name));
        }
        for remote in &self.remotes {
            let fallback = remote.fallback.as_deref().unwrap_or("the end");
            lines.push(format!("remote    {}: else {fallback}", remote.name));
        }
        for mailbox in &self.voicemail.mailboxes {
            let folder = self.voicemail.folder.join(&mailbox.name);
            lines.push(format!(
                "mailbox   {}: {} messages at most, in {}",
                mailbox.name,
                mailbox.most,
                folder.display()
            ));
        }
        lines
    }

    /// What is drawn below the summary.
    pub fn graphs(&self) -> Vec<String> {
        let graph = |flow: &IvrFlow| {
            let head = [String::new(), format!("flow      {} as a Mermaid graph:", flow.application())];
            head.into_iter().chain(flow.mermaid()).collect::<Vec<_>>()
        };
        self.ivrs.iter().flat_map(graph).collect()
    }
}
