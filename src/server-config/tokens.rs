//! `http.token`, `[[http.tokens]]`: access to the control interface.

use std::path::{Path, PathBuf};

use super::outside::{Outside, secret};
use super::texts::{NAME, PATH, plain_name};
use super::{ConfigError, Secret, Store};
use b2b_config::rows;
use b2b_config::section::Section;
use b2b_config::table::Takes::{self, Choices};
use b2b_config::table::{Named, Table};

/// A permission of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Read everything except recordings and captures.
    Read,
    /// Begin, command and end calls.
    Calls,
    /// Record and capture, and fetch captures.
    Record,
    /// Change agents' states.
    Agents,
    /// Command rooms.
    Rooms,
    /// Act as a remote application.
    Remote,
    /// Access the audio of calls.
    Audio,
}

impl Scope {
    /// Every scope with its name in the configuration.
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

    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        Scope::NAMED.name(&self)
    }
}

/// A set of scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// All scopes.
    pub fn all() -> Scopes {
        Scopes(Scope::NAMED.all())
    }

    /// The given scopes.
    pub fn of(scopes: &[Scope]) -> Scopes {
        Scopes(scopes.to_vec())
    }

    /// Their names in the configuration.
    pub fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|scope| scope.as_str()).collect()
    }

    /// Whether a scope is included.
    pub fn has(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }
}

/// `http.token`: full access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MainToken {
    /// For clients with this token.
    Given(Secret),
    /// None is configured: for clients with the token that b2b makes and keeps in this file.
    Made(PathBuf),
    /// For no client: only the tokens of `[[http.tokens]]` exist.
    Absent,
    /// `"off"`: for all clients on this machine.
    Off,
}

impl MainToken {
    /// A generated token: kept beside the bindings, else beside the configuration, in this folder.
    pub fn made(store: &Store, beside: &Path) -> MainToken {
        let folder = match store {
            Store::Sqlite(path) => path.parent().unwrap_or(Path::new("")),
            Store::Memory => beside,
        };
        MainToken::Made(folder.join("http.token"))
    }

    /// The token for a client; a generated one is in its file once the server is up.
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
