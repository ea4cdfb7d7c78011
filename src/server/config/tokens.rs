//! `http.token`, `[[http.tokens]]`: who may ask the control interface for what.

use std::path::{Path, PathBuf};

use super::parse::{Outside, secret};
use super::texts::{NAME, PATH, plain_name};
use super::{ConfigError, Secret, Store};
use b2b_config::rows;
use b2b_config::section::Section;
use b2b_config::table::Takes::{self, Choices};
use b2b_config::table::{Named, Table};

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
    /// Every one, as the configuration writes it.
    pub const NAMED: Named<Scope> = Named {
        refusal: "no such scope; choose of",
        values: &[
            ("read", Scope::Read),
            ("calls", Scope::Calls),
            ("record", Scope::Record),
            ("agents", Scope::Agents),
            ("rooms", Scope::Rooms),
            ("remote", Scope::Remote),
            ("audio", Scope::Audio),
        ],
    };

    /// As the configuration writes it.
    pub fn as_str(self) -> &'static str {
        Scope::NAMED.name(&self)
    }
}

/// A set of scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// All of them.
    pub fn all() -> Scopes {
        Scopes(Scope::NAMED.all())
    }

    /// These.
    pub fn of(scopes: &[Scope]) -> Scopes {
        Scopes(scopes.to_vec())
    }

    /// Their names, as the configuration writes them.
    pub fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|scope| scope.as_str()).collect()
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

pub const TOKENS: Table = Table {
    name: "http.tokens",
    written: "[[http.tokens]]",
    about: "Tokens with some of the rights, beside `http.token`, which has all of them.",
    keys: rows! {
        name: NAME, at_restart(), "Its name, for administrators.";
        token: Takes::Secret("secret"), at_restart(), "The bearer token.";
        token_file: PATH, at_restart(), "A file with the token in its first line.";
        scopes: Choices(&Scope::NAMED), at_restart(), "Its rights; see [http.md](http.md).";
    },
};

pub(super) fn tokens(section: &Section<'_>, outside: &dyn Outside) -> Result<Vec<Token>, ConfigError> {
    let mut tokens: Vec<Token> = Vec::new();
    for section in section.tables("tokens")? {
        let reason = "a token needs a name: name = \"dashboard\"";
        let name = section.needed("name", plain_name, reason)?;
        let secret = secret(&section, ["token", "token_file"], outside)?;
        let secret = secret.ok_or_else(|| section.missing("token", "set token or token_file"))?;
        let scopes = section.choices("scopes", &Scope::NAMED)?;
        if scopes.is_empty() {
            return Err(section.missing("scopes", "set its rights, like scopes = [\"read\"]"));
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
