//! `[[agent]]`, `[[queue]]` and `[queues]`.

use std::collections::BTreeMap;

use super::{file, music_if_set, name};
use crate::ConfigError;
use crate::names::{Names, What};
use crate::outside::Outside;
use crate::parse_route;
use crate::root::Root;
use crate::route::Target;
use crate::texts::{NAME, plain_name};
use b2b_app::Prompts;
use b2b_app::queue::machine::agent::Duty;
use b2b_app::queue::machine::values::{AgentNo, AgentPlan, QueuePlan, Skills, Strategy};
use b2b_app::queue::sounds::{Numbers, QueueSounds};
use b2b_app::queue::{AgentSettings, Codes, DeskSettings, QueueSettings, WaysOut};
use b2b_config::lines::Text;
use b2b_config::section::Section;
use b2b_config::table::Takes::{self, Choice, Pairs, Switch, Texts, Whole};
use b2b_config::table::{Named, Table, any};
use b2b_config::value::Read;
use b2b_config::{rows, text, texts};

const DUTIES: Named<Duty> = Named {
    refusal: "no such state; choose",
    values: &[("available", Duty::Available), ("paused", Duty::Paused), ("logged_out", Duty::LoggedOut)],
};

const STRATEGIES: Named<Strategy> = Named {
    refusal: "no such strategy; choose",
    values: &[
        ("longest_idle", Strategy::LongestIdle),
        ("round_robin", Strategy::RoundRobin),
        ("ring_all", Strategy::RingAll),
        ("skills_then_priority", Strategy::SkillsThenPriority),
    ],
};

const FILE: Takes = Takes::Text("file", any);
const WAY: Takes = Takes::Text("application or target", any);

pub const QUEUES: Table = Table {
    name: "queues",
    written: "[queues]",
    about: "Numbers that agents dial from their own phones. They need `[[agent]]`s that are users.",
    keys: rows! {
        login: text!("number or `off`", code) => "*45", "Logs the agent in, or out.";
        pause: text!("number or `off`", code) => "*46", "Pauses the agent, or ends the pause.";
    },
};

pub const AGENT: Table = Table {
    name: "agent",
    written: "[[agent]]",
    about: "An agent takes the calls of queues, of one or of several. See [apps/queue.md](apps/queue.md).",
    keys: rows! {
        name: NAME, "Its name.";
        target: Takes::Text("`user/1001`, `gateway/carrier/+44…`, `group/…` or `sip:…`", any),
            "The target of the agent's calls. Without it: the user of the same name. An agent who is a user is logged out while none of their phones is registered.";
        skills: texts!("list of `skill` or `skill:level`", skill) => [],
            "The agent's skills with their levels, 1 to 100; without a level 1.";
        priority: Whole(1, 100) => 1,
            "Agents with a higher number are called only if no agent with a lower one is free.";
        state: Choice(&DUTIES) => "available", "The agent's state when the server starts.";
    },
};

pub const QUEUE: Table = Table {
    name: "queue",
    written: "[[queue]]",
    about: "Callers wait for agents: the application `queue/` and its name. See [apps/queue.md](apps/queue.md).",
    keys: rows! {
        name: NAME, "Its name.";
        agents: Texts("list of agents", any), "The agents of the queue; `round_robin` calls them in this order.";
        strategy: Choice(&STRATEGIES) => "longest_idle", "How the next agent is selected.";
        priority: Whole(1, 100) => 10, "Callers of queues with a lower number are served first.";
        skills: texts!("list of `skill` or `skill:level`", skill) => [],
            "The skills, with minimum levels, that an agent needs for calls of this queue.";
        ring_s: Whole(3, 300) => 15, "How long an agent's phone rings.";
        wrap_up_s: Whole(0, 3_600) => 10, "The wrap-up time: how long an agent gets no call after one.";
        rest_s: Whole(1, 600) => 5, "How long an agent gets no call after one that they did not answer.";
        misses: Whole(0, 100) => 2,
            "The number of consecutive unanswered calls that pauses an agent; 0: never.";
        length: Whole(1, 100_000) => 100, "The most callers that may wait.";
        patience_s: Whole(0, 86_400) => 600, "The longest wait; 0: no limit.";
        needs_agents: Switch => false, "Whether callers are refused while no agent is logged in.";
        goal_s: Whole(1, 3_600) => 20, "Callers who are answered within this time count for the service level.";
        welcome: FILE, "Played once and in full before an agent is called.";
        music: Takes::Text("class", any), "The music class between the announcements. Without it: silence.";
        announce_s: Whole(0, 3_600) => 30,
            "How often a caller hears the announcement; 0: never. It needs `position` or `wait`.";
        position: FILE, "Played before the position; numbers come from `[prompts]` digits.";
        wait: FILE, "Played before the estimated wait, in minutes.";
        minutes: FILE, "Played after it.";
        soon: FILE, "Played instead if the estimated wait is a minute or less.";
        timeout_to: WAY, "The destination of callers after `patience_s`. Without it: hung up.";
        full_to: WAY, "The destination of callers while the queue is full. Without it: 486.";
        no_agents_to: WAY, "The destination of callers whom `needs_agents` refuses. Without it: 486.";
        leave: Pairs("{ digit = application or target }"), "The digits by which a caller leaves, and their destinations.";
    },
};

/// Reads agents and queues, which refer to each other.
pub(super) fn queues(
    root: &Root<'_>,
    prompts: &Prompts,
    outside: &dyn Outside,
    names: &mut Names,
) -> Result<DeskSettings, ConfigError> {
    let codes = root.one(&QUEUES, codes);
    let agents = root.each(&AGENT, |section| agent(section, names));
    let queues = root.each(&QUEUE, |section| queue(section, &agents, prompts, outside, names));
    Ok(DeskSettings { agents, queues, codes: codes? })
}

fn codes(section: &Section<'_>) -> Result<Codes, ConfigError> {
    let read = |key: &'static str| section.parsed_or_default(key, code);
    let codes = Codes { login: read("login")?, pause: read("pause")? };
    section.finish();
    match &codes.pause {
        Some(same) if codes.login == codes.pause => {
            Err(section.bad("pause", section.place("pause"), same, "it is already the number of login"))
        }
        _ => Ok(codes),
    }
}

/// A number to dial; `None`: `off`.
fn code(text: &str) -> Read<Option<String>> {
    match text {
        "off" => Ok(None),
        text if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || "*#+".contains(c)) => {
            Ok(Some(text.to_string()))
        }
        _ => Err("not a number; write it like *45, or off".to_string()),
    }
}

fn agent(section: &Section<'_>, names: &mut Names) -> Result<AgentSettings, ConfigError> {
    let name = section.needed("name", plain_name, "queues refer to it by its name, like name = \"1001\"")?;
    names.add(What::Agent, section, "name", &name)?;
    let target = section.text("target")?;
    let target = target.map(|text| parse_route::fixed_target(section, "target", &text, names)).transpose()?;
    let (target, user) = match target {
        None => match names.no_such(What::User, section.full("name"), &name) {
            None => (format!("user/{name}"), Some(name.clone())),
            Some(_) => {
                let reason = format!("there is no user {name:?}; set the agent's target");
                return Err(section.missing("target", reason));
            }
        },
        Some(Target::User(user)) => (format!("user/{user}"), Some(user.to_string())),
        Some(other) => (other.to_string(), None),
    };
    let plan = AgentPlan {
        name: name.into(),
        skills: skills(section)?,
        priority: section.whole("priority")?,
        duty: section.choice("state", &DUTIES)?,
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
    let ways_out = ways_out(section, names)?;
    let sounds = sounds(section, prompts, outside, names)?;
    let plan = QueuePlan {
        name: name.into(),
        priority: section.whole("priority")?,
        strategy: section.choice("strategy", &STRATEGIES)?,
        agents: members,
        skills: skills(section)?,
        ring: section.seconds("ring_s")?,
        wrap_up: section.seconds("wrap_up_s")?,
        rest: section.seconds("rest_s")?,
        misses: section.whole("misses")?,
        announce: section.seconds_unless_zero("announce_s")?,
        patience: section.seconds_unless_zero("patience_s")?,
        most: section.whole("length")?,
        goal: section.seconds("goal_s")?,
        digits: ways_out.digits.keys().copied().collect(),
        needs_agents: section.switch("needs_agents")?,
    };
    section.finish();
    Ok(QueueSettings { plan, sounds, ways_out })
}

fn members(
    section: &Section<'_>,
    agents: &[AgentSettings],
    names: &Names,
) -> Result<Vec<AgentNo>, ConfigError> {
    let named = section.texts("agents")?;
    if named.is_empty() {
        return Err(section.missing("agents", "add the queue's agents, like agents = [\"1001\"]"));
    }
    let mut members = Vec::new();
    for Text { text, at } in named {
        match agents.iter().position(|agent| *agent.plan.name == *text).map(AgentNo) {
            Some(agent) if members.contains(&agent) => {
                return Err(section.bad("agents", at, &text, "listed twice; keep one"));
            }
            Some(agent) => members.push(agent),
            // an agent that exists and is invalid has its own error
            None => section.refer(at, names.no_such(What::Agent, section.full("agents"), &text)),
        }
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
            _ => return Err(section.bad("leave", to.at, &digit, "not a key of a telephone: 0 to 9, * or #")),
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

/// An existing application, or a target that can be dialled.
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
    section.refer(to.at, names.no_such(What::App, section.full(key), &to.text));
    Ok(to.text.clone())
}

fn sounds(
    section: &Section<'_>,
    prompts: &Prompts,
    outside: &dyn Outside,
    names: &Names,
) -> Result<QueueSounds, ConfigError> {
    let file = |key: &'static str| file(section, key, prompts, outside);
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
        music: music_if_set(section, names)?,
        position,
        wait,
        minutes: file("minutes")?,
        soon: file("soon")?,
        numbers,
    })
}

/// Sound files for numbers: those of digits are required, those of larger numbers optional.
fn numbers(
    section: &Section<'_>,
    key: &'static str,
    prompts: &Prompts,
    outside: &dyn Outside,
) -> Result<Numbers, ConfigError> {
    let mut files = BTreeMap::new();
    for number in 0..100_usize {
        let path = prompts.path(&format!("digits/{number}.{}", prompts.ending));
        if number >= 10 && !outside.is_file(&path) {
            continue;
        }
        match outside.sound(&path) {
            Ok(()) => drop(files.insert(number, path)),
            Err(reason) => {
                let reason = format!("numbers cannot be played: {reason}");
                return Err(section.bad(key, section.place(key), "", reason));
            }
        }
    }
    Ok(Numbers(files))
}

fn skills(section: &Section<'_>) -> Result<Skills, ConfigError> {
    Ok(section.parsed_list("skills", skill)?.into_iter().collect())
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

#[cfg(test)]
mod tests;
