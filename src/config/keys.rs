//! The tables of settings: each row is a command-line flag and, for roles, a plan key. A flag's name is its
//! key with dashes for underscores. The rows shared by roles of several products are here; each product has
//! its own table besides.

use crate::role_name::RoleName::{self, B2bua, Load, Mixer, Orchestrator, Phone, Sink, Source};
use crate::value::{self, Read};

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
}

impl Key {
    /// The command-line flag: `--sip-bind`.
    pub fn flag(&self) -> String {
        format!("--{}", self.name.replace('_', "-"))
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

/// Defines a table of settings: name, roles, [`Kind`], and the function of `value` that checks it.
#[macro_export]
macro_rules! keys {
    ($(#[$about:meta])* $table:ident: $($name:ident $roles:expr, $kind:ident, $check:ident;)*) => {
        $(#[$about])*
        pub const $table: &[$crate::keys::Key] = &[$($crate::keys::Key {
            name: stringify!($name),
            roles: $roles,
            kind: $crate::keys::Kind::$kind,
            check: |text| value::$check(text).map(drop),
        }),*];
    };
}

const ALL: &[RoleName] = &RoleName::ALL;
const RECORDING: &[RoleName] = &[Source, Mixer, Sink, Phone];
const SIP: &[RoleName] = &[Source, Mixer, Sink, B2bua, Phone, Load];

keys! {
    /// The settings shared by roles of several products.
    SHARED:
    log_format ALL, Text, log_format;
    color ALL, Text, color;
    log_level ALL, Text, log_level;

    sip_bind SIP, Text, sip_bind;
    sip_trace SIP, OutputPath, path;
    registrar &[Phone, Load], Text, sip_uri;
    target &[Source, Mixer, B2bua, Load], Text, target;
    dry_run &[Orchestrator, B2bua, Load], Switch, switch;
    record RECORDING, OutputPath, path;
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
