//! `http.token`, `[[http.tokens]]`: who may ask the control interface for what.

use std::path::{Path, PathBuf};

use super::docs::{SectionDoc, key};
use super::error::ConfigError;
use super::parse::{Outside, secret};
use super::parse_parties::plain_name;
use super::reader::Section;
use super::{Secret, Store};

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Whatever is asked for and changes nothing, but recordings and captures.
    Read,
    /// Begin, command and end calls.
    Calls,
    /// Record and capture, and fetch captures.
    Record,
    /// Change agents' states.
    Agents,
    /// Command rooms.
    Rooms,
    /// Be a remote application.
    Remote,
    /// The audio of calls.
    Audio,
}

impl Scope {
    /// Every one.
    pub const ALL: [Scope; 7] =
        [Scope::Read, Scope::Calls, Scope::Record, Scope::Agents, Scope::Rooms, Scope::Remote, Scope::Audio];

    /// As the configuration writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Calls => "calls",
            Scope::Record => "record",
            Scope::Agents => "agents",
            Scope::Rooms => "rooms",
            Scope::Remote => "remote",
            Scope::Audio => "audio",
        }
    }

    fn parse(text: &str) -> Result<Scope, String> {
        let found = Scope::ALL.into_iter().find(|scope| scope.as_str() == text);
        let all = || Scope::ALL.map(Scope::as_str).join(", ");
        found.ok_or_else(|| format!("no such scope; choose of {}", all()))
    }
}

/// A set of scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// All of them.
    pub fn all() -> Scopes {
        Scopes(Scope::ALL.to_vec())
    }

    /// These.
    pub fn of(scopes: &[Scope]) -> Scopes {
        Scopes(scopes.to_vec())
    }

    /// Whether this one is among them.
    pub fn has(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }
}

/// `http.token`: who may do all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MainToken {
    /// Whoever has this one.
    Given(Secret),
    /// None is configured: whoever has the one that b2b makes and keeps in this file.
    Made(PathBuf),
    /// Nobody: the tokens of `[[http.tokens]]` are all there are.
    Absent,
    /// `"off"`: whoever is on this machine.
    Off,
}

impl MainToken {
    /// One that is made: kept where bindings are, else beside the configuration, in this folder.
    pub fn made(store: &Store, beside: &Path) -> MainToken {
        let folder = match store {
            Store::Sqlite(path) => path.parent().unwrap_or(Path::new("")),
            Store::Memory => beside,
        };
        MainToken::Made(folder.join("http.token"))
    }

    /// For a client; once the server is up, a token that it makes is in its file.
    pub fn text(&self) -> Option<String> {
        match self {
            MainToken::Given(token) => Some(token.reveal().to_owned()),
            MainToken::Made(path) => {
                let text = std::fs::read_to_string(path).ok()?;
                text.lines().next().map(|line| line.trim().to_owned())
            }
            MainToken::Absent | MainToken::Off => None,
        }
    }
}

/// A token of the control interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its name, for logs.
    pub name: String,
    pub secret: Secret,
    pub scopes: Scopes,
}

pub const TOKENS: SectionDoc = SectionDoc {
    name: "http.tokens",
    written: "[[http.tokens]]",
    about: "Tokens that may do some of it only, beside `http.token`, which may do all.",
    keys: &[
        key("name", "text", "", "Its name, for people."),
        key("token", "secret", "", "The bearer token."),
        key("token_file", "path", "", "A file with the token in its first line."),
        key(
            "scopes",
            "list of `read`, `calls`, `record`, `agents`, `rooms`, `remote`, `audio`",
            "",
            "What it may do; see [http.md](http.md).",
        ),
    ],
};

pub(super) fn tokens(section: &Section<'_>, outside: &dyn Outside) -> Result<Vec<Token>, ConfigError> {
    let mut tokens: Vec<Token> = Vec::new();
    for section in section.items("tokens", &TOKENS, false)?.into_iter().filter_map(Result::ok) {
        let reason = "name it for people: name = \"dashboard\"";
        let name = section.parsed("name", plain_name)?.ok_or_else(|| section.missing("name", reason))?;
        let secret = secret(&section, ["token", "token_file"], outside)?;
        let secret = secret.ok_or_else(|| section.missing("token", "set token or token_file"))?;
        let scopes = section.parsed_list("scopes", Scope::parse)?.unwrap_or_default();
        if scopes.is_empty() {
            return Err(section.missing("scopes", "say what it may do, like scopes = [\"read\"]"));
        }
        section.finish();
        if let Some(other) = tokens.iter().find(|it| it.name == name || it.secret == secret) {
            let reason = format!("the token {:?} has the same name or secret; keep one", other.name);
            return Err(section.bad("name", section.place("name"), &name, reason));
        }
        tokens.push(Token { name, secret, scopes: Scopes(scopes) });
    }
    Ok(tokens)
}
