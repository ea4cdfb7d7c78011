//! `[[agent]]`, `[[queue]]` and `[queues]`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::name;
use crate::config::check::Names;
use crate::config::docs::{SectionDoc, key};
use crate::config::error::ConfigError;
use crate::config::parse::Outside;
use crate::config::parse_parties::plain_name;
use crate::config::parse_route;
use crate::config::reader::{Read, Section, Text};
use crate::config::route::Target;
use b2b_app::Prompts;
use b2b_app::queue::machine::agent::Duty;
use b2b_app::queue::machine::values::{AgentNo, AgentPlan, QueuePlan, Skills, Strategy};
use b2b_app::queue::sounds::{Numbers, QueueSounds};
use b2b_app::queue::{AgentSettings, Codes, DeskSettings, QueueSettings, WaysOut};

pub const QUEUES: SectionDoc = SectionDoc {
    name: "queues",
    written: "[queues]",
    about: "Numbers that agents dial from their own phones. They need `[[agent]]`s that are users.",
    keys: &[
        key("login", "number or `off`", r#""*45""#, "Logs the agent in, or out."),
        key("pause", "number or `off`", r#""*46""#, "Pauses the agent, or ends the pause."),
    ],
};

pub const AGENT: SectionDoc = SectionDoc {
    name: "agent",
    written: "[[agent]]",
    about: "Who takes the calls of queues. One agent may be in several queues. See [apps/queue.md](apps/queue.md).",
    keys: &[
        key("name", "text", "", "Its name."),
        key(
            "target",
            "`user/1001`, `gateway/carrier/+44…`, `group/…` or `sip:…`",
            "",
            "Where it is called. Without it: the user of its name. An agent who is a user is logged out while none of its phones is registered.",
        ),
        key(
            "skills",
            "list of `skill` or `skill:level`",
            "[]",
            "What it can, and how well, 1 to 100; without a level 1.",
        ),
        key(
            "priority",
            "1 to 100",
            "1",
            "An agent of a higher number is called when none of a lower one is free.",
        ),
        key(
            "state",
            "`available`, `paused` or `logged_out`",
            r#""available""#,
            "What it is when the server starts.",
        ),
    ],
};

pub const QUEUE: SectionDoc = SectionDoc {
    name: "queue",
    written: "[[queue]]",
    about: "Callers wait for agents: the application `queue/` and its name. See [apps/queue.md](apps/queue.md).",
    keys: &[
        key("name", "text", "", "Its name."),
        key("agents", "list of agents", "", "Who is called; for `round_robin` in this order."),
        key(
            "strategy",
            "`longest_idle`, `round_robin`, `ring_all` or `skills_then_priority`",
            r#""longest_idle""#,
            "Who is called first.",
        ),
        key("priority", "1 to 100", "10", "Callers of queues with a lower number are served first."),
        key(
            "skills",
            "list of `skill` or `skill:level`",
            "[]",
            "What an agent needs for any caller of this queue, and how well at least.",
        ),
        key("ring_s", "3 to 300", "15", "How long an agent's phone rings."),
        key("wrap_up_s", "0 to 3600", "10", "How long an agent rests after a call."),
        key("rest_s", "1 to 600", "5", "How long it rests after a call that it did not take."),
        key(
            "misses",
            "0 to 100",
            "2",
            "So many calls that it does not answer, one after the other, pause an agent; 0: never.",
        ),
        key("length", "1 to 100000", "100", "How many callers wait at most."),
        key("patience_s", "0 to 86400", "600", "How long a caller waits at most; 0: without end."),
        key("needs_agents", "true or false", "false", "Nobody is let in while no agent is logged in."),
        key("goal_s", "1 to 3600", "20", "Who is answered so soon counts for the service level."),
        key("welcome", "file", "", "Played once, to its end, before an agent is called."),
        key("music", "class", "", "Music between the announcements, by its class. Without it: silence."),
        key(
            "announce_s",
            "0 to 3600",
            "30",
            "How often a caller hears where it stands; 0: never. It needs `position` or `wait`.",
        ),
        key("position", "file", "", "Said in front of the position; numbers come from `[prompts]` digits."),
        key("wait", "file", "", "Said in front of the estimated wait, in minutes."),
        key("minutes", "file", "", "Said behind it."),
        key("soon", "file", "", "Said in its place when it is a minute at most."),
        key(
            "timeout_to",
            "application or target",
            "",
            "Where a caller goes who has waited for too long. Without it: hung up.",
        ),
        key(
            "full_to",
            "application or target",
            "",
            "Where one goes for whom there is no room. Without it: 486.",
        ),
        key(
            "no_agents_to",
            "application or target",
            "",
            "Where one goes whom `needs_agents` keeps out. Without it: 486.",
        ),
        key(
            "leave",
            "{ digit = application or target }",
            "",
            "Digits by which a caller leaves, and where to.",
        ),
    ],
};

/// Agents and queues, which name each other.
pub(super) fn queues(
    (codes, agents, queues): (&Section<'_>, Vec<Section<'_>>, Vec<Section<'_>>),
    prompts: &Prompts,
    outside: &dyn Outside,
    names: &mut Names,
) -> Result<DeskSettings, ConfigError> {
    let code = |key: &'static str, usual: &str| -> Result<Option<String>, ConfigError> {
        let code = section_code(codes, key)?.unwrap_or_else(|| usual.to_string());
        Ok((code != "off").then_some(code))
    };
    let codes_read = Codes { login: code("login", "*45")?, pause: code("pause", "*46")? };
    codes.finish();
    if codes_read.login.is_some() && codes_read.login == codes_read.pause {
        let same = codes_read.pause.unwrap_or_default();
        return Err(codes.bad("pause", codes.place("pause"), &same, "it is the number of login already"));
    }
    let mut read: Vec<AgentSettings> = Vec::new();
    for section in &agents {
        read.push(agent(section, names)?);
    }
    let queues = queues.iter().map(|section| queue(section, &read, prompts, outside, names));
    let queues = queues.collect::<Result<Vec<_>, _>>()?;
    Ok(DeskSettings { agents: read, queues, codes: codes_read })
}

fn section_code(section: &Section<'_>, key: &'static str) -> Result<Option<String>, ConfigError> {
    section.parsed(key, |text| match text {
        "off" => Ok(text.to_string()),
        text if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || "*#+".contains(c)) => {
            Ok(text.to_string())
        }
        _ => Err("no number; write it like *45, or off".to_string()),
    })
}

fn agent(section: &Section<'_>, names: &mut Names) -> Result<AgentSettings, ConfigError> {
    let name = section.parsed("name", plain_name)?;
    let name = name.ok_or_else(|| section.missing("name", "queues name it, like name = \"1001\""))?;
    names.add_agent(section, &name)?;
    let target = section.text("target")?;
    let target = target.map(|text| parse_route::fixed_target(section, "target", &text, names)).transpose()?;
    let (target, user) = match target {
        None => match names.no_such_user(section.full("name"), &name) {
            None => (format!("user/{name}"), Some(name.clone())),
            Some(_) => {
                let reason = format!("there is no user {name:?}; say where the agent is called");
                return Err(section.missing("target", reason));
            }
        },
        Some(Target::User(user)) => (format!("user/{user}"), Some(user.to_string())),
        Some(other) => (other.to_string(), None),
    };
    let plan = AgentPlan {
        name: name.into(),
        skills: skills(section)?,
        priority: section.whole("priority", 1..=100)?.unwrap_or(1) as u8,
        duty: section.parsed("state", duty)?.unwrap_or_default(),
        // A user's phone has to register first.
        reachable: user.is_none(),
    };
    section.finish();
    Ok(AgentSettings { plan, target, user })
}

fn queue(
    section: &Section<'_>,
    agents: &[AgentSettings],
    prompts: &Prompts,
    outside: &dyn Outside,
    names: &Names,
) -> Result<QueueSettings, ConfigError> {
    let name = name(section)?;
    let members = members(section, agents, names)?;
    let seconds = |key: &'static str, range, usual: u64| -> Result<Duration, ConfigError> {
        Ok(section.seconds(key, range)?.unwrap_or(Duration::from_secs(usual)))
    };
    let some = |time: Duration| (!time.is_zero()).then_some(time);
    let ways_out = ways_out(section, names)?;
    let sounds = sounds(section, (prompts, outside), names)?;
    let plan = QueuePlan {
        name: name.into(),
        priority: section.whole("priority", 1..=100)?.unwrap_or(10) as u8,
        strategy: section.parsed("strategy", strategy)?.unwrap_or_default(),
        agents: members,
        skills: skills(section)?,
        ring: seconds("ring_s", 3..=300, 15)?,
        wrap_up: seconds("wrap_up_s", 0..=3_600, 10)?,
        rest: seconds("rest_s", 1..=600, 5)?,
        misses: section.whole("misses", 0..=100)?.unwrap_or(2) as u32,
        announce: some(seconds("announce_s", 0..=3_600, 30)?),
        patience: some(seconds("patience_s", 0..=86_400, 600)?),
        most: section.whole("length", 1..=100_000)?.unwrap_or(100) as usize,
        goal: seconds("goal_s", 1..=3_600, 20)?,
        digits: ways_out.digits.keys().copied().collect(),
        needs_agents: section.switch("needs_agents")?.unwrap_or(false),
    };
    section.finish();
    Ok(QueueSettings { plan, sounds, ways_out })
}

fn members(
    section: &Section<'_>,
    agents: &[AgentSettings],
    names: &Names,
) -> Result<Vec<AgentNo>, ConfigError> {
    let mut members = Vec::new();
    for Text { text, at } in section.texts("agents")?.unwrap_or_default() {
        let place = agents.iter().position(|agent| *agent.plan.name == *text).map(AgentNo);
        match place {
            Some(agent) if members.contains(&agent) => {
                return Err(section.bad("agents", at, &text, "listed twice; keep one"));
            }
            Some(agent) => members.push(agent),
            None => {
                if let Some(problem) = names.no_such_agent(section.full("agents"), &text) {
                    return Err(section.lines.error(at, problem));
                }
            }
        }
    }
    if members.is_empty() {
        return Err(section.missing("agents", "say who is called, like agents = [\"1001\"]"));
    }
    Ok(members)
}

fn ways_out(section: &Section<'_>, names: &Names) -> Result<WaysOut, ConfigError> {
    let mut digits = BTreeMap::new();
    for (digit, to) in section.pairs("leave")? {
        let mut chars = digit.chars();
        match (chars.next(), chars.next()) {
            (Some(digit), None) if digit.is_ascii_digit() || "*#ABCD".contains(digit) => {
                digits.insert(digit, way(section, "leave", &to, names)?);
            }
            _ => return Err(section.bad("leave", to.at, &digit, "one key of a telephone: 0 to 9, * or #")),
        }
    }
    let one = |key: &'static str| -> Result<Option<String>, ConfigError> {
        section.text(key)?.map(|text| way(section, key, &text, names)).transpose()
    };
    Ok(WaysOut {
        timeout: one("timeout_to")?,
        full: one("full_to")?,
        no_agents: one("no_agents_to")?,
        digits,
    })
}

/// An application that there is, or a target that can be dialled.
pub(super) fn way(
    section: &Section<'_>,
    key: &'static str,
    to: &Text,
    names: &Names,
) -> Result<String, ConfigError> {
    let kind = to.text.split_once(['/', ':']).map_or("", |(kind, _)| kind);
    if matches!(kind, "user" | "gateway" | "group" | "sip" | "sips") {
        return Ok(parse_route::fixed_target(section, key, to, names)?.to_string());
    }
    match names.no_such_app(section.full(key), &to.text) {
        Some(problem) => Err(section.lines.error(to.at, problem)),
        None => Ok(to.text.clone()),
    }
}

fn class(section: &Section<'_>, names: &Names) -> Result<Option<String>, ConfigError> {
    let Some(text) = section.text("music")? else { return Ok(None) };
    match names.no_such_music(section.full("music"), &text.text) {
        Some(problem) => Err(section.lines.error(text.at, problem)),
        None => Ok(Some(text.text)),
    }
}

fn sounds(
    section: &Section<'_>,
    (prompts, outside): (&Prompts, &dyn Outside),
    names: &Names,
) -> Result<QueueSounds, ConfigError> {
    let file = |key: &'static str| -> Result<Option<Arc<Path>>, ConfigError> {
        let Some(Text { text, at }) = section.text(key)? else { return Ok(None) };
        let path = prompts.path(&text);
        if !outside.is_file(&path) {
            let reason = format!("there is no file {}; put it there, or correct its name", path.display());
            return Err(section.bad(key, at, &text, reason));
        }
        Ok(Some(path))
    };
    let (position, wait) = (file("position")?, file("wait")?);
    let numbers = match position.is_some() || wait.is_some() {
        true => {
            let key = if position.is_some() { "position" } else { "wait" };
            numbers(section, key, prompts, outside)?
        }
        false => Numbers::default(),
    };
    Ok(QueueSounds {
        welcome: file("welcome")?,
        music: class(section, names)?,
        position,
        wait,
        minutes: file("minutes")?,
        soon: file("soon")?,
        numbers,
    })
}

/// Digits have to be there; larger numbers have files of their own where there are.
fn numbers(
    section: &Section<'_>,
    key: &'static str,
    prompts: &Prompts,
    outside: &dyn Outside,
) -> Result<Numbers, ConfigError> {
    let mut files = BTreeMap::new();
    for number in 0..100_usize {
        let path = prompts.path(&format!("digits/{number}.{}", prompts.ending));
        match outside.is_file(&path) {
            true => drop(files.insert(number, path)),
            false if number < 10 => {
                let reason = format!("numbers cannot be said: there is no file {}", path.display());
                return Err(section.bad(key, section.place(key), "", reason));
            }
            false => {}
        }
    }
    Ok(Numbers(files))
}

fn skills(section: &Section<'_>) -> Result<Skills, ConfigError> {
    Ok(section.parsed_list("skills", skill)?.unwrap_or_default().into_iter().collect())
}

fn skill(text: &str) -> Read<(String, u8)> {
    let (name, level) = match text.split_once(':') {
        None => (text, 1),
        Some((name, level)) => match level.parse() {
            Ok(level @ 1..=100) => (name, level),
            _ => return Err("its level is a whole number from 1 to 100, like french:3".to_string()),
        },
    };
    Ok((plain_name(name)?, level))
}

fn duty(text: &str) -> Read<Duty> {
    match text {
        "available" => Ok(Duty::Available),
        "paused" => Ok(Duty::Paused),
        "logged_out" => Ok(Duty::LoggedOut),
        _ => Err("no such state; choose available, paused or logged_out".to_string()),
    }
}

fn strategy(text: &str) -> Read<Strategy> {
    match text {
        "longest_idle" => Ok(Strategy::LongestIdle),
        "round_robin" => Ok(Strategy::RoundRobin),
        "ring_all" => Ok(Strategy::RingAll),
        "skills_then_priority" => Ok(Strategy::SkillsThenPriority),
        _ => {
            let fix = "choose longest_idle, round_robin, ring_all or skills_then_priority";
            Err(format!("no such strategy; {fix}"))
        }
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
