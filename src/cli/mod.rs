//! The command line: flags, their roles, and the configurations made from them.
//!
//! - `flags`, `flags_lab`, `flags_server`, `flags_phone`: the flags, their help and defaults
//! - `compare`, `replay`, `shell`: subcommands without a role
//! - `roles`: roles as subcommands; `examples`: examples in help
//! - `keys`: the table of flags with their roles
//! - `resolve_lab`, `resolve_load`, `resolve_server`, `resolve_phone`: flags → the typed configuration of a role
//! - `resolve_loads`: the loads of a plan → their settings
//!
//! [`parse`] returns [`Flags`] in which every flag belongs to the chosen role.

#[cfg(feature = "lab")]
mod compare;
mod examples;
mod flags;
#[cfg(feature = "lab")]
mod flags_lab;
#[cfg(feature = "phone")]
mod flags_phone;
#[cfg(feature = "server")]
mod flags_server;
mod keys;
#[cfg(feature = "server")]
mod replay;
#[cfg(feature = "lab")]
mod resolve_lab;
#[cfg(feature = "lab")]
mod resolve_load;
#[cfg(feature = "lab")]
mod resolve_loads;
#[cfg(feature = "phone")]
mod resolve_phone;
#[cfg(feature = "lab")]
mod resolve_scenario;
#[cfg(feature = "server")]
mod resolve_server;
mod roles;
mod shell;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches};

use b2b_config::keys::Key;
use b2b_config::role_name::RoleName;

#[cfg(feature = "lab")]
pub use compare::Compare;
pub use flags::Flags;
#[cfg(feature = "server")]
pub use replay::Replay;
#[cfg(feature = "server")]
pub use resolve_server::{Ask, ServerRun};
pub use shell::ForShell;

/// Parses a command line; the first word is the program's name.
///
/// # Errors
/// A `clap` error: help and version (to be printed, success), or a usage error.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<(RoleName, Flags), clap::Error> {
    let (named, words) = roles::named(words.into_iter().collect());
    let mut command = named.map_or_else(Flags::command, roles::command);
    if let Some(word) =
        words.get(1).filter(|word| named.is_none() && !word.to_string_lossy().starts_with('-'))
    {
        let roles = RoleName::ALL.map(RoleName::as_str).join(", ");
        let message = format!("there is no role {}; choose one of {roles}", word.display());
        return Err(command.error(ErrorKind::InvalidSubcommand, message));
    }
    let matches = command.try_get_matches_from_mut(words)?;
    let mut flags = Flags::from_arg_matches(&matches)?;
    let given: Vec<&'static Key> = matches
        .ids()
        .filter(|id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine))
        .filter_map(|id| keys::ALL.find(id.as_str()))
        .collect();
    let Some(role) = flags.role else {
        return Err(command.error(ErrorKind::MissingRequiredArgument, missing_role(&given)));
    };
    if let Some(key) = given.iter().find(|key| !key.roles.contains(&role)) {
        let message =
            format!("{} is not a flag of the {role}: it belongs to {}", key.flag(), key.role_list());
        return Err(command.error(ErrorKind::ArgumentConflict, message));
    }
    flags.given = given.iter().map(|key| key.name).collect();
    Ok((role, flags))
}

fn missing_role(given: &[&'static Key]) -> String {
    let fits = |role: &RoleName| given.iter().all(|key| key.roles.contains(role));
    let fitting: Vec<&str> =
        RoleName::ALL.iter().filter(|role| fits(role)).map(|role| role.as_str()).collect();
    match fitting.as_slice() {
        [only] => format!("no role given; with these flags, write b2b {only} …"),
        _ => "no role given; write b2b orchestrator --plan <file>, or another role: source, mixer, sink, b2bua, phone, media or load"
            .to_string(),
    }
}

#[cfg(test)]
#[cfg(feature = "lab")]
mod tests;
#[cfg(test)]
#[cfg(feature = "server")]
mod tests_server;
