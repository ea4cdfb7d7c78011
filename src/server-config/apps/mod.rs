//! Applications' tables: `[prompts]`, `[[ivr]]`, …; a file each.
//!
//! A table that makes an application has a name; kind and name together are how routes and other applications
//! refer to it: `ivr/main`. Names are collected before anything is read, so that earlier tables may refer to
//! later ones. A further kind takes: a table in `KINDS`, a file here with its keys and its reader, a field of
//! [`Apps`], and lines in `parse`, `summary` and `sections::SECTIONS`.

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

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::names::{Names, What};
use super::outside::Outside;
use super::pattern::Pattern;
use super::root::Root;
use super::texts::plain_name;
use super::{ConfigError, Secret, User};
use b2b_app::Prompts;
use b2b_app::conference::RoomConfig;
use b2b_app::ivr::IvrFlow;
use b2b_app::park::LotConfig;
use b2b_app::queue::DeskSettings;
use b2b_app::test_numbers::{EchoNumber, Milliwatt};
use b2b_app::voice_agent::AgentConfig;
use b2b_app::voicemail::{VOICEMAIL, VoicemailConfig};
use b2b_config::section::Section;
use b2b_config::table::Table;
pub use prompts::PROMPTS;

/// Every table that makes an application, with its kind in the application's name.
const KINDS: [(&Table, &str); 7] = [
    (&ivr::IVR, "ivr"),
    (&queue::QUEUE, "queue"),
    (&conference::CONFERENCE, "conference"),
    (&park::PARK, "park"),
    (&remote::REMOTE, "remote"),
    (&voicemail::MAILBOX, VOICEMAIL),
    (&voice_agent::VOICE_AGENT, "voice_agent"),
];

/// All applications of the file.
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
    /// The targets that agents and programs may name.
    pub may_transfer: MayTransfer,
}

/// Collects the names of all applications.
pub(super) fn names(root: &Root<'_>, names: &mut Names) {
    names.add_own_app(EchoNumber::NAME);
    names.add_own_app(Milliwatt::NAME);
    if root.has(&voicemail::MAILBOX) {
        names.add_own_app(VOICEMAIL);
    }
    for (table, kind) in KINDS {
        root.each(table, |section| {
            names.add(What::App, section, "name", &format!("{kind}/{}", name(section)?))
        });
    }
}

/// Reads all applications.
pub(super) fn parse(
    root: &Root<'_>,
    outside: &dyn Outside,
    users: &[User],
    names: &mut Names,
) -> Result<Apps, ConfigError> {
    let prompts = root.one(&PROMPTS, |section| prompts::prompts(section, outside))?;
    let ivrs = root.each(&ivr::IVR, |section| ivr::ivr(section, &prompts, outside, names));
    let music = root.each(&music::MUSIC, |section| music::music(section, &prompts, outside, names));
    let queues = queue::queues(root, &prompts, outside, names);
    let conferences = root
        .each(&conference::CONFERENCE, |section| conference::conference(section, &prompts, outside, names));
    let lots = root.each(&park::PARK, |section| park::park(section, &prompts, outside, names));
    let voicemail = voicemail::voicemail(root, &prompts, outside, users);
    let mut may_transfer = MayTransfer::default();
    let may = &mut may_transfer;
    let remotes = root.each(&remote::REMOTE, |section| remote::remote(section, names, may));
    let voice_agents = root.each(&voice_agent::VOICE_AGENT, |section| {
        voice_agent::voice_agent(section, &prompts, outside, names, may)
    });
    let (queues, voicemail) = (queues?, voicemail?);
    Ok(Apps {
        prompts,
        ivrs,
        music,
        queues,
        conferences,
        lots,
        voicemail,
        remotes,
        voice_agents,
        may_transfer,
    })
}

/// `may_transfer` of voice agents and programs, by application (`voice_agent/ada`, `remote/agent`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MayTransfer(BTreeMap<String, Vec<Pattern>>);

impl MayTransfer {
    fn read(&mut self, section: &Section<'_>, kind: &str, name: &str) -> Result<(), ConfigError> {
        let patterns = section.parsed_list("may_transfer", Pattern::new)?;
        self.0.insert(format!("{kind}/{name}"), patterns);
        Ok(())
    }

    /// Whether the agent or program of an application may name this target.
    pub fn names(&self, application: &str, target: &str) -> bool {
        self.0.get(application).is_some_and(|patterns| patterns.iter().any(|it| it.matches(target)))
    }
}

/// The name of an application.
pub(super) fn name(section: &Section<'_>) -> Result<String, ConfigError> {
    section.needed("name", plain_name, "routes refer to it by its name, like name = \"main\"")
}

/// A PIN of telephone digits, which no error shows.
fn pin(section: &Section<'_>, key: &'static str) -> Result<Option<Secret>, ConfigError> {
    let short = section.switch("short_pin")?;
    match section.text_of_secret(key)? {
        Some(pin) if pin.len() < 4 && !short && pin.bytes().all(|digit| digit.is_ascii_digit()) => {
            let reason = "it is easily guessed; use 4 digits or more, or set short_pin = true";
            Err(section.bad(key, section.place(key), "…", reason))
        }
        Some(pin) if !(1..=16).contains(&pin.len()) || !pin.bytes().all(|digit| digit.is_ascii_digit()) => {
            Err(section.bad(key, section.place(key), "…", "a PIN is 1 to 16 digits"))
        }
        pin => Ok(pin.map(Secret::new)),
    }
}

/// The class that exists without being configured.
pub(super) const USUAL_MUSIC: &str = "default";

/// The class of music that a table names, or the default one.
fn music_of(section: &Section<'_>, names: &Names) -> Result<Option<String>, ConfigError> {
    match section.text("music")?.filter(|text| text.text != USUAL_MUSIC) {
        Some(_) => music_if_set(section, names),
        None => Ok(Some(USUAL_MUSIC.to_string())),
    }
}

/// The class of music that a table names; `None`: silence.
fn music_if_set(section: &Section<'_>, names: &Names) -> Result<Option<String>, ConfigError> {
    let Some(text) = section.text("music")? else { return Ok(None) };
    section.refer(text.at, names.no_such(What::Music, section.full("music"), &text.text));
    Ok(Some(text.text))
}

/// A file below the prompts folder; one that cannot be played is reported.
fn file(
    section: &Section<'_>,
    key: &'static str,
    prompts: &Prompts,
    outside: &dyn Outside,
) -> Result<Option<Arc<Path>>, ConfigError> {
    let Some(text) = section.text(key)? else { return Ok(None) };
    let path = prompts.path(&text.text);
    if let Err(reason) = outside.sound(&path) {
        section.lines.report(section.bad(key, text.at, &text.text, reason));
    }
    Ok(Some(path))
}

/// The key `prompts`: files to play at these occasions instead of the default ones.
fn spoken<W: Copy + Into<&'static str>>(
    section: &Section<'_>,
    known: &[W],
    prompts: &Prompts,
    outside: &dyn Outside,
) -> Result<Vec<(W, Arc<Path>)>, ConfigError> {
    let name_of = |word: &W| -> &'static str { (*word).into() };
    let mut spoken = Vec::new();
    for (occasion, file) in section.pairs("prompts")? {
        let bad = |reason: String| section.lines.report(section.bad("prompts", file.at, &file.text, reason));
        let path = prompts.path(&file.text);
        match known.iter().find(|word| name_of(word) == occasion) {
            None => {
                let all: Vec<_> = known.iter().map(name_of).collect();
                bad(format!("there is no occasion {occasion}; choose one of {}", all.join(", ")));
            }
            Some(word) => match outside.sound(&path) {
                Ok(()) => spoken.push((*word, path)),
                Err(reason) => bad(reason),
            },
        }
    }
    Ok(spoken)
}

impl Apps {
    /// For `--dry-run`, one line each.
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
            lines.push(format!("voice     {}: {}, {} Hz", agent.name, agent.place, agent.rate_hz));
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

    /// The graphs below the summary.
    pub fn graphs(&self) -> Vec<String> {
        let graph = |flow: &IvrFlow| {
            let head = [String::new(), format!("flow      {} as a Mermaid graph:", flow.application())];
            head.into_iter().chain(flow.mermaid()).collect::<Vec<_>>()
        };
        self.ivrs.iter().flat_map(graph).collect()
    }
}
