//! The command line: flags, their roles and their help.
//!
//! - `flags`: the flags, from the tables of settings
//! - `compare`, `replay`, `sandbox`, `shell`: subcommands without a role
//! - `roles`: roles as subcommands; `examples`: examples in help
//! - `keys`: the tables of settings in this build
//!
//! [`parse`] returns [`Flags`] in which every flag belongs to the chosen role; what a role is made of them is the
//! product's: `lab::flags`, `phone::command_line`, `server_config::command_line`.

#[cfg(feature = "lab")]
mod compare;
mod examples;
mod flags;
mod keys;
#[cfg(feature = "server")]
mod replay;
mod roles;
#[cfg(all(feature = "lab", feature = "server"))]
mod sandbox;
mod shell;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::parser::ValueSource;

use b2b_config::command_line::CommandLine;
use b2b_config::keys::{Key, Kind, SharedFlags};
use b2b_config::role_name::RoleName;

#[cfg(feature = "lab")]
pub use compare::Compare;
pub use flags::Flags;
#[cfg(feature = "server")]
pub use replay::Replay;
#[cfg(all(feature = "lab", feature = "server"))]
pub use sandbox::Sandbox;
pub use shell::ForShell;

/// Parses a command line; the first word is the program's name.
///
/// # Errors
/// A `clap` error: help and version (to be printed, success), or a usage error.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<(RoleName, Flags), clap::Error> {
    let (named, words) = roles::named(words.into_iter().collect());
    let mut command = named.map_or_else(flags::command, roles::command);
    if let Some(word) =
        words.get(1).filter(|word| named.is_none() && !word.to_string_lossy().starts_with('-'))
    {
        let roles = RoleName::names();
        let message = format!("there is no role {}; choose one of {roles}", word.display());
        return Err(command.error(ErrorKind::InvalidSubcommand, message));
    }
    let matches = command.try_get_matches_from_mut(words)?;
    let given: Vec<&'static Key> = keys::ALL
        .all()
        .filter(|key| matches.value_source(key.name) == Some(ValueSource::CommandLine))
        .collect();
    let Some(role) = matches.get_one("role").copied() else {
        return Err(command.error(ErrorKind::MissingRequiredArgument, missing_role(&given)));
    };
    if let Some(key) = given.iter().find(|key| !key.roles.contains(&role)) {
        let message =
            format!("{} is not a flag of the {role}: it belongs to {}", key.flag(), key.role_list());
        return Err(command.error(ErrorKind::ArgumentConflict, message));
    }
    let mut line = CommandLine::default();
    for key in given {
        match key.kind {
            Kind::Switch => line.add(key.name, String::new()),
            _ => {
                let texts = matches.get_many::<String>(key.name).into_iter().flatten();
                texts.for_each(|text| line.add(key.name, text.clone()));
            }
        }
    }
    let shared =
        SharedFlags::read(&line).map_err(|reason| command.error(ErrorKind::ValueValidation, reason))?;
    Ok((role, Flags { line, shared }))
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
