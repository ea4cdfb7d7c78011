//! A plan: the roles to start, their settings, and the expectations.
//!
//! [`parse`] is pure: text in, checked values out. [`super::files`] resolves paths and `YOUR_HOST_IP`
//! afterwards.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::expect::Expect;
use super::keys::{self, Together};
use crate::engine;
use b2b_config::keys::{Key, Kind, nearest};
use b2b_config::lines::Lines;
use b2b_config::problem::{ConfigError, ConfigErrors, ConfigProblem};
use b2b_config::role_name::RoleName;
use b2b_ua::Engine;
pub use loads::{LoadPart, loads};

/// The placeholder for the host's primary address.
pub const HOST_PLACEHOLDER: &str = "YOUR_HOST_IP";

/// Flags that have no meaning in a plan and are not keys of it. (Roles have `engine`; the orchestrator itself
/// has none.)
const NOT_IN_A_PLAN: [&str; 10] = [
    "plan",
    "dry_run",
    "engine",
    "explain",
    "explain_gateway",
    "keep",
    "from",
    "to",
    "source",
    "print_schema",
];

/// A checked plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// In call order: source, mixer and b2bua (if present), sink.
    pub roles: Vec<RolePlan>,
    /// Limits to judge the run by.
    pub expect: Expect,
    /// Settings of the orchestrator itself; its flags take precedence.
    pub orchestrator: Vec<Setting>,
    /// Loads beside the chain.
    pub loads: Vec<LoadPart>,
}

/// A plan's settings of one role.
#[derive(Debug, Clone, PartialEq)]
pub struct RolePlan {
    /// The role.
    pub role: RoleName,
    /// Its settings.
    pub settings: Vec<Setting>,
}

/// One setting of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// A name from [`keys::ALL`].
    pub name: &'static str,
    /// The value, as on a command line.
    pub value: String,
    /// Its notation, and whether it is a path.
    pub kind: Kind,
    /// Its line in the plan; 0 if the command line set it.
    pub line: usize,
}

impl RolePlan {
    /// The value of a setting.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.settings.iter().find(|setting| setting.name == name).map(|setting| setting.value.as_str())
    }

    /// Its engine.
    pub fn engine(&self) -> Engine {
        self.get("engine").and_then(|name| name.parse().ok()).unwrap_or_default()
    }

    /// Sets its engine, whatever the plan says. A b2bua has no engine setting.
    pub fn set_engine(&mut self, engine: Engine) {
        if self.role == RoleName::B2bua {
            return;
        }
        self.settings.retain(|setting| setting.name != "engine");
        let value = engine.to_string();
        self.settings.push(Setting { name: "engine", value, kind: Kind::Text, line: 0 });
    }

    /// The command-line flags of these settings.
    pub fn flags(&self) -> Vec<String> {
        let mut flags = Vec::new();
        for setting in &self.settings {
            let flag = format!("--{}", setting.name.replace('_', "-"));
            match (setting.kind, setting.value.as_str()) {
                (Kind::Switch, "true") => flags.push(flag),
                (Kind::Switch, _) => {}
                // a value with a leading dash would be taken for a flag
                (_, value) if value.starts_with('-') => flags.push(format!("{flag}={value}")),
                (_, value) => flags.extend([flag, value.to_string()]),
            }
        }
        flags
    }
}

impl Plan {
    /// The plan of one role, if it takes part.
    pub fn role(&self, role: RoleName) -> Option<&RolePlan> {
        self.roles.iter().find(|plan| plan.role == role)
    }

    /// Checks that this build includes the engine of every role.
    ///
    /// # Errors
    /// The first role with a missing engine, with its line.
    pub fn check_engines(&self) -> Result<(), ConfigError> {
        for role in &self.roles {
            let line = role
                .settings
                .iter()
                .find(|setting| setting.name == "engine")
                .map_or(0, |setting| setting.line);
            engine::in_this_build(role.engine()).map_err(|error| {
                let (key, value) =
                    (format!("{}.engine", role.role), format!("{:?}", role.engine().to_string()));
                ConfigError {
                    line,
                    problem: ConfigProblem::BadValue { key, value, reason: error.to_string() },
                }
            })?;
        }
        Ok(())
    }

    /// All settings, to be resolved.
    pub fn settings_mut(&mut self) -> impl Iterator<Item = &mut Setting> {
        let roles = self.roles.iter_mut().chain(self.loads.iter_mut().map(|load| &mut load.plan));
        roles.flat_map(|role| role.settings.iter_mut()).chain(self.orchestrator.iter_mut())
    }
}

/// Parses a plan.
///
/// # Errors
/// All errors, each with its line. Constraints between settings are checked only if everything else is valid.
pub fn parse(text: &str) -> Result<Plan, ConfigErrors> {
    let lines = Lines::of(text);
    let plan = Reader { lines: &lines }.plan(text);
    lines.finish(plan).map(|(plan, _)| plan)
}

/// Tables of the server's configuration: in place of a plan they show that the wrong file was named.
pub const OF_THE_SERVER: [&str; 29] = [
    "server",
    "listener",
    "tls",
    "media",
    "http",
    "registrar",
    "limits",
    "emergency",
    "ended_calls",
    "survive",
    "recording",
    "hep",
    "log",
    "user",
    "gateway",
    "group",
    "route",
    "prompts",
    "ivr",
    "music",
    "queues",
    "agent",
    "queue",
    "conference",
    "park",
    "remote",
    "voicemail",
    "mailbox",
    "voice_agent",
];

type Entries<'t, 'i> = Vec<(&'t str, Range<usize>, &'t toml::Spanned<DeValue<'i>>)>;

struct Reader<'a> {
    lines: &'a Lines,
}

impl Reader<'_> {
    fn error(&self, at: usize, problem: ConfigProblem) -> ConfigError {
        self.lines.error(at, problem)
    }

    fn missing(&self, at: usize, key: String, reason: impl Into<String>) -> ConfigError {
        self.error(at, ConfigProblem::Missing { key, reason: reason.into() })
    }

    fn plan(&self, text: &str) -> Result<Plan, ConfigError> {
        let root = DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            self.error(at, ConfigProblem::Syntax(b2b_config::syntax(error.message())))
        })?;
        if let Some((name, span, _)) = server_s(root.get_ref()) {
            return Err(self.error(span.start, ConfigProblem::IsConfiguration { key: name.to_owned() }));
        }
        let reason = "a plan begins with [topology] and names a source and a sink";
        let mut roles = Err(self.missing(0, "topology".to_string(), reason));
        let mut expect = Ok(Expect::default());
        let mut orchestrator = Ok(Vec::new());
        let mut loads = Ok(Vec::new());
        for (name, span, value) in entries(root.get_ref()) {
            if name == "load" {
                loads = self.kept(self.loads(value).and_then(|loads| self.without_cues(loads)));
                continue;
            }
            let table = self.table(name, value);
            match name {
                "topology" => roles = self.kept(table.and_then(|table| self.topology(span, table))),
                "expect" => expect = self.kept(table.and_then(|table| self.expect(table))),
                "orchestrator" => {
                    let read = table.and_then(|table| self.settings(RoleName::Orchestrator, table, &[]));
                    orchestrator = self.kept(read);
                }
                _ => {
                    let valid = ["topology", "expect", "orchestrator", "load"];
                    // the unknown table is likely a misspelling of the missing one
                    roles = self.kept(Err(self.unknown("", name, span, valid.into_iter())));
                }
            }
        }
        Ok(Plan { roles: self.kept(roles)?, expect: expect?, orchestrator: orchestrator?, loads: loads? })
    }

    /// Refuses loads with a cue, since a plan without a scene has none.
    fn without_cues(&self, loads: Vec<LoadPart>) -> Result<Vec<LoadPart>, ConfigError> {
        let reason = "only the phones of a [scene] give cues; use start_after_s";
        match loads.iter().find(|load| load.on.is_some()) {
            Some(load) => Err(load.error("on", reason)),
            None => Ok(loads),
        }
    }

    /// Reports an error and passes the result on, so that reading continues.
    fn kept<T>(&self, read: Result<T, ConfigError>) -> Result<T, ConfigError> {
        read.inspect_err(|error| self.lines.report(error.clone()))
    }

    fn topology(&self, span: Range<usize>, table: &DeTable<'_>) -> Result<Vec<RolePlan>, ConfigError> {
        let mut named = Vec::new();
        let mut read = Vec::new();
        for (name, span, value) in entries(table) {
            let role = name.parse().ok().filter(|role| RoleName::CHAIN.contains(role));
            read.push(self.kept(match role {
                Some(role) => {
                    named.push(role);
                    self.table(name, value).and_then(|table| self.role(role, span.start, table))
                }
                None => {
                    let valid = RoleName::CHAIN.iter().map(|role| role.as_str());
                    Err(self.unknown("", name, span, valid))
                }
            }));
        }
        let mut found = read.into_iter().collect::<Result<Vec<RolePlan>, ConfigError>>()?;
        if let Some(role) = [RoleName::Source, RoleName::Sink].iter().find(|role| !named.contains(role)) {
            let reason = "a plan needs a source and a sink; mixer.* and b2bua.* may stand between them";
            return Err(self.missing(span.start, format!("{role}.*"), reason));
        }
        found.sort_by_key(|plan| RoleName::CHAIN.iter().position(|role| *role == plan.role));
        Ok(found)
    }

    fn role(&self, role: RoleName, at: usize, table: &DeTable<'_>) -> Result<RolePlan, ConfigError> {
        let plan = RolePlan { role, settings: self.settings(role, table, &[])? };
        let together = Together {
            audio_file: plan.get("audio_file").is_some(),
            config: plan.get("config").is_some(),
            jitter_ms: plan.get("jitter_ms").and_then(|ms| ms.parse().ok()),
            forced: plan.get("force") == Some("true"),
        };
        keys::check_together(role, together).map_err(|(name, reason)| {
            let key = format!("{role}.{name}");
            match plan.settings.iter().find(|setting| setting.name == name) {
                Some(Setting { value, line, .. }) => {
                    let problem = ConfigProblem::BadValue { key, value: format!("{value:?}"), reason };
                    ConfigError { line: *line, problem }
                }
                None => self.missing(at, key, reason),
            }
        })?;
        Ok(plan)
    }

    /// Reads the settings of a role; reports all invalid ones, and returns the first as the error. `others`:
    /// keys of the table that are not settings.
    fn settings(
        &self,
        role: RoleName,
        table: &DeTable<'_>,
        others: &[&str],
    ) -> Result<Vec<Setting>, ConfigError> {
        let mut written: Vec<(&'static str, String)> = Vec::new();
        let own = entries(table).into_iter().filter(|(name, ..)| !others.contains(name));
        let read = own.map(|(name, span, value)| {
            let full = format!("{role}.{name}");
            let key = self.key(role, name, span.clone())?;
            if let Some((_, first)) = written.iter().find(|(name, _)| *name == key.name) {
                let problem = ConfigProblem::Twice { key: full, first: first.clone() };
                return Err(self.error(span.start, problem));
            }
            // a holding time is a number of seconds, or a distribution as text
            let number = matches!(value.get_ref(), DeValue::Integer(_) | DeValue::Float(_));
            let kind = if key.name == "hold_s" && number { Kind::Number } else { key.kind };
            let text = self.text_of(&full, kind, value)?;
            // the placeholder becomes an address later; any valid one serves for the check
            (key.check)(&text.replace(HOST_PLACEHOLDER, "192.0.2.1")).map_err(|reason| {
                let (key, value) = (full.clone(), format!("{text:?}"));
                self.error(span.start, ConfigProblem::BadValue { key, value, reason })
            })?;
            written.push((key.name, full));
            Ok(Setting { name: key.name, value: text, kind: key.kind, line: self.lines.line(span.start) })
        });
        let read: Vec<_> = read.map(|setting| self.kept(setting)).collect();
        read.into_iter().collect()
    }

    /// The setting of a key in a role's table. In a plan `target` is called `sip_target`.
    fn key(&self, role: RoleName, name: &str, span: Range<usize>) -> Result<&'static Key, ConfigError> {
        let wanted = if name == "sip_target" { "target" } else { name };
        let in_plan = |key: &&'static Key| {
            key.roles.contains(&role)
                && (!NOT_IN_A_PLAN.contains(&key.name)
                    || (key.name == "engine" && role != RoleName::Orchestrator)
                    || (key.name == "plan" && role == RoleName::Load))
        };
        match keys::ALL.find(wanted) {
            Some(key) if in_plan(&key) => Ok(key),
            Some(key) if role != RoleName::Orchestrator && !key.roles.contains(&role) => {
                let nearest = nearest(name, keys::ALL.of(role).map(|key| plan_name(role, key)));
                let nearest = nearest.unwrap_or_default();
                let problem = ConfigProblem::OtherRole {
                    key: name.to_string(),
                    role: role.to_string(),
                    owners: key.role_list(),
                    nearest: format!("{role}.{nearest}"),
                };
                Err(self.error(span.start, problem))
            }
            _ => {
                let valid = keys::ALL.of(role).filter(in_plan).map(|key| plan_name(role, key));
                Err(self.unknown(&format!("{role}."), name, span, valid))
            }
        }
    }

    fn expect(&self, table: &DeTable<'_>) -> Result<Expect, ConfigError> {
        let mut expect = Expect::default();
        let read = entries(table).into_iter().map(|(name, span, value)| {
            let Some(slot) = expect.slot(name) else {
                return Err(self.unknown("expect.", name, span, Expect::KEYS.into_iter()));
            };
            let key = format!("expect.{name}");
            let text = self.text_of(&key, Kind::Number, value)?;
            let limit = text.parse().map_err(|_| "not a number".to_string());
            let limit = limit.and_then(|limit| Expect::check(name, limit).map(|()| limit));
            *slot = Some(limit.map_err(|reason| {
                let value = format!("{text:?}");
                self.error(span.start, ConfigProblem::BadValue { key, value, reason })
            })?);
            Ok(())
        });
        let read: Vec<_> = read.map(|limit| self.kept(limit)).collect();
        read.into_iter().collect::<Result<(), ConfigError>>().map(|()| expect)
    }

    /// A value, as on a command line.
    fn text_of(
        &self,
        key: &str,
        kind: Kind,
        value: &toml::Spanned<DeValue<'_>>,
    ) -> Result<String, ConfigError> {
        let text = match (kind, value.get_ref()) {
            (Kind::Text | Kind::InputPath | Kind::OutputPath, DeValue::String(text)) => {
                Some(text.to_string())
            }
            (Kind::Switch, DeValue::Boolean(on)) => Some(on.to_string()),
            (Kind::Integer | Kind::Number, DeValue::Integer(number)) => {
                i64::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string())
            }
            (Kind::Number, DeValue::Float(number)) => Some(number.as_str().to_string()),
            _ => None,
        };
        text.ok_or_else(|| {
            let problem = ConfigProblem::WrongType {
                key: key.to_string(),
                found: described(value.get_ref()),
                wanted: kind.wanted().to_string(),
            };
            self.error(value.span().start, problem)
        })
    }

    fn table<'t, 'i>(
        &self,
        key: &str,
        value: &'t toml::Spanned<DeValue<'i>>,
    ) -> Result<&'t DeTable<'i>, ConfigError> {
        value.get_ref().as_table().ok_or_else(|| {
            let problem = ConfigProblem::WrongType {
                key: key.to_string(),
                found: described(value.get_ref()),
                wanted: "a table of keys".to_string(),
            };
            self.error(value.span().start, problem)
        })
    }

    fn unknown<'k>(
        &self,
        prefix: &str,
        name: &str,
        span: Range<usize>,
        valid: impl Iterator<Item = &'k str>,
    ) -> ConfigError {
        let nearest = nearest(name, valid).unwrap_or_default();
        let problem = if prefix.is_empty() && OF_THE_SERVER.contains(&name) {
            ConfigProblem::IsConfiguration { key: name.to_string() }
        } else {
            ConfigProblem::NoSetting { key: format!("{prefix}{name}"), nearest: format!("{prefix}{nearest}") }
        };
        self.error(span.start, problem)
    }
}

/// The first table of a file that is not a plan but a configuration of the server.
fn server_s<'t, 'i>(
    root: &'t DeTable<'i>,
) -> Option<(&'t str, Range<usize>, &'t toml::Spanned<DeValue<'i>>)> {
    let entries = entries(root);
    let is_plan = entries.iter().any(|(name, ..)| *name == "topology");
    entries.into_iter().find(|(name, ..)| !is_plan && OF_THE_SERVER.contains(name))
}

/// A setting's name in plans; loads use the flag's name.
fn plan_name(role: RoleName, key: &'static Key) -> &'static str {
    if key.name == "target" && role != RoleName::Load { "sip_target" } else { key.name }
}

/// A table's entries in the order of the file.
fn entries<'t, 'i>(table: &'t DeTable<'i>) -> Entries<'t, 'i> {
    let mut entries: Entries<'t, 'i> =
        table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span(), value)).collect();
    entries.sort_by_key(|(_, span, _)| span.start);
    entries
}

fn described(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the string {text:?}"),
        DeValue::Integer(number) if number.as_str().len() > 18 => {
            format!("the whole number {}, which is too large", number.as_str())
        }
        DeValue::Integer(number) => format!("the whole number {}", number.as_str()),
        DeValue::Float(number) => format!("the number {}", number.as_str()),
        DeValue::Boolean(on) => on.to_string(),
        other => format!("of type {}", other.type_str()),
    }
}

mod loads;
#[cfg(test)]
mod tests;
