//! The tables of settings: each row is a command-line flag with its help, a field of the values that a role is made
//! from and, for roles of the lab, a plan key. A flag's name is its key with dashes for underscores. The rows shared by
//! roles of several products are here; each product has its own table besides.

use std::net::SocketAddr;
use std::path::PathBuf;

use tracing::Level;

use crate::role_name::RoleName::{self, B2bua, Load, Mixer, Orchestrator, Phone, Sink, Source};
use crate::value::{self, Read};
use b2b_base::logging::{Color, Format};

/// The TOML type of a value, and its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A string with the path of an input file.
    InputPath,
    /// A string with the path of an output file or folder.
    OutputPath,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`; a flag without a value.
    Switch,
}

impl Kind {
    /// The type in words, for error messages.
    pub fn wanted(self) -> &'static str {
        match self {
            Kind::Text => "a string in quotes",
            Kind::InputPath | Kind::OutputPath => "a path in quotes",
            Kind::Integer => "a whole number without quotes",
            Kind::Number => "a number without quotes",
            Kind::Switch => "true or false",
        }
    }
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The name in snake_case, as in a plan.
    pub name: &'static str,
    /// The roles that have it.
    pub roles: &'static [RoleName],
    /// Its type.
    pub kind: Kind,
    /// Validates a value.
    pub check: fn(&str) -> Read<()>,
    /// What help calls its value; empty for a switch.
    pub takes: &'static str,
    /// The value without the flag; empty if there is none.
    pub default: &'static str,
    /// Whether it may be given several times.
    pub repeats: bool,
    /// Its heading in help; empty: its roles.
    pub group: &'static str,
    /// What it does, for help.
    pub help: &'static str,
}

impl Key {
    /// The command-line flag: `--sip-bind`.
    pub fn flag(&self) -> String {
        format!("--{}", self.name.replace('_', "-"))
    }

    /// Its heading in help: its roles, if it has none of its own.
    pub fn heading(&self) -> String {
        if !self.group.is_empty() {
            return self.group.to_owned();
        }
        if self.roles.len() == RoleName::ALL.len() {
            return "Every role".to_owned();
        }
        let mut text = self.role_list();
        text.get_mut(..1).into_iter().for_each(str::make_ascii_uppercase);
        text
    }

    /// The roles that have it, as text: `source and mixer`.
    pub fn role_list(&self) -> String {
        let names: Vec<&str> = self.roles.iter().map(|role| role.as_str()).collect();
        match names.split_last() {
            Some((last, [])) => (*last).to_string(),
            Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
            None => String::new(),
        }
    }
}

/// Defines a table of settings, and the struct of their values. A row has: how often it is given (`one`: once, or its
/// default; `maybe`: at most once; `many`; `switch`: without a value), name, type and default; the roles; its [`Kind`],
/// what help calls its value, and the function of `value` that reads it; the help.
#[macro_export]
macro_rules! keys {
    (
        $(#[$about:meta])* $table:ident, $values:ident, $group:literal:
        $($form:ident $name:ident $(: $type:ty)? $(= $default:literal)?, $roles:expr,
          $kind:ident $($takes:literal $read:ident)?, $help:literal;)*
    ) => {
        $(#[$about])*
        pub const $table: &[$crate::keys::Key] = &[$($crate::keys::Key {
            name: $crate::keys::plain(stringify!($name)),
            roles: $roles,
            kind: $crate::keys::Kind::$kind,
            check: $crate::key!(@check $($read)?),
            takes: concat!($($takes)?),
            default: concat!($($default)?),
            repeats: $crate::key!(@repeats $form),
            group: $group,
            help: $help,
        }),*];

        /// The values of these settings.
        #[derive(Debug, Clone)]
        pub struct $values {
            $(pub $name: $crate::key!(@type $form $($type)?),)*
        }

        impl $values {
            /// Reads them.
            ///
            /// # Errors
            /// What is wrong with a value, and how to write it.
            pub fn read(line: &$crate::command_line::CommandLine) -> $crate::value::Read<Self> {
                Ok($values {
                    $($name: {
                        let texts = line.texts($crate::keys::plain(stringify!($name)), concat!($($default)?));
                        $crate::key!(@read $form texts, $name $($read)?)
                    },)*
                })
            }
        }
    };
}

/// Parts of [`keys!`], by how often a setting is given.
#[doc(hidden)]
#[macro_export]
macro_rules! key {
    (@check) => { |text| $crate::value::switch(text).map(drop) };
    (@check $read:ident) => { |text| value::$read(text).map(drop) };
    (@repeats many) => { true };
    (@repeats $form:ident) => { false };
    (@type one $type:ty) => { $type };
    (@type maybe $type:ty) => { Option<$type> };
    (@type many $type:ty) => { Vec<$type> };
    (@type switch) => { bool };
    (@read one $texts:ident, $name:ident $read:ident) => {
        match $texts.last() {
            Some(text) => value::$read(text)?,
            None => return Err(concat!(stringify!($name), " has no value").to_owned()),
        }
    };
    (@read maybe $texts:ident, $name:ident $read:ident) => {
        match $texts.last() {
            Some(text) => Some(value::$read(text)?),
            None => None,
        }
    };
    (@read many $texts:ident, $name:ident $read:ident) => {
        $texts.iter().map(|text| value::$read(text)).collect::<Result<_, _>>()?
    };
    (@read switch $texts:ident, $name:ident) => { !$texts.is_empty() };
}

/// A name without the `r#` of a word of the language.
#[doc(hidden)]
pub const fn plain(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}

const ALL: &[RoleName] = RoleName::ALL;
const RECORDING: &[RoleName] = &[Source, Mixer, Sink, Phone];
const SIP: &[RoleName] = &[Source, Mixer, Sink, B2bua, Phone, Load];

keys! {
    /// The settings shared by roles of several products.
    SHARED, SharedFlags, "":
    one log_format: Format = "text", ALL, Text "FORMAT" log_format, "Format of log lines: text or json";
    one color: Color = "auto", ALL, Text "WHEN" color,
        "Colour of log lines: auto (on a terminal), always or never. NO_COLOR turns auto off";
    one log_level: Level = "info", ALL, Text "LEVEL" log_level,
        "Lowest level that is logged: error, warn, info, debug or trace";
    one sip_bind: SocketAddr = "127.0.0.1:0", SIP, Text "IP:PORT" sip_bind,
        "SIP address (source: its local address), for UDP and TCP; port 0 selects a free port. RTP binds to the same IP address. Overrides the listeners in the b2bua's configuration";
    maybe sip_trace: PathBuf, SIP, OutputPath "FILE" path,
        "Write every sent and received SIP message to this file";
    maybe target: String, &[Source, Mixer, B2bua, Load], Text "SIP-URI" target,
        "The URI to call (source and mixer: required), like sip:sink@127.0.0.1:5070; with ;transport=tcp over TCP. The b2bua sends every call there, before its routes are evaluated: for the lab";
    maybe registrar: String, &[Phone, Load], Text "SIP-URI" sip_uri,
        "Registrar: of the phone, instead of the host of its identity; of the users in `[callee]` of a load's plan, instead of the plan's registrar";
    switch dry_run, &[Orchestrator, B2bua, Load], Switch,
        "Start nothing; print the command lines of the roles, or a summary of the b2bua's configuration or of the load";
    maybe record: PathBuf, RECORDING, OutputPath "PATH" path,
        "Roles of the lab: write recordings for a report into this folder: audio, packets, SIP. Phone: record the call into this WAV file, sent audio left, received audio right";
}

/// The settings of a program: a list of tables.
#[derive(Debug, Clone, Copy)]
pub struct Keys(pub &'static [&'static [Key]]);

impl Keys {
    /// Every setting of every role.
    pub fn all(self) -> impl Iterator<Item = &'static Key> {
        self.0.iter().copied().flatten()
    }

    /// The setting with this name.
    pub fn find(self, name: &str) -> Option<&'static Key> {
        self.all().find(|key| key.name == name)
    }

    /// The settings of a role.
    pub fn of(self, role: RoleName) -> impl Iterator<Item = &'static Key> {
        self.all().filter(move |key| key.roles.contains(&role))
    }
}

/// The name among `valid` that is most similar to `name`.
pub fn nearest<'a>(name: &str, valid: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    valid
        .map(|key| (strsim::normalized_damerau_levenshtein(name, key), key))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_the_misspelt_key() {
        let keys = Keys(&[SHARED]);
        assert_eq!(nearest("sip_bnd", keys.of(Sink).map(|key| key.name)), Some("sip_bind"));
        assert_eq!(nearest("max_rtp_gap", ["max_rtp_gap_ms", "min_mos"].into_iter()), Some("max_rtp_gap_ms"));
    }
}
