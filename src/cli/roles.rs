//! Roles as subcommands: `b2b b2bua …` is `b2b --role b2bua …`, with help on that role's flags only. Also the
//! whole command for shell completions and `man`.

use std::ffi::OsString;

use clap::Command;

use super::{examples, flags, keys};
use b2b_config::role_name::RoleName;

/// The description of a role in its help.
fn about(role: RoleName) -> &'static str {
    match role {
        RoleName::Orchestrator => {
            "Runs a plan: starts its roles, makes calls through them, measures the received audio, and \
             checks the result against the plan's expectations."
        }
        RoleName::Source => "Makes a call and plays a file into it. A role of the lab.",
        RoleName::Mixer => {
            "Answers a call, adds DTMF tones to it, and forwards it to its target. A role of the lab."
        }
        RoleName::Sink => "Answers a call, plays and records the received audio. A role of the lab.",
        RoleName::B2bua => {
            "The server: a B2BUA with registrar, routes, gateways, call applications and a media engine. \
             docs/server.md describes its configuration."
        }
        RoleName::Phone => {
            "A SIP phone: on a terminal with keys, or run by a script with --steps or --call. docs/phones.md has more."
        }
        RoleName::Media => {
            "A media server: carries the RTP of b2buas on other machines. docs/media-servers.md has more."
        }
        RoleName::Load => {
            "Load generator: makes and answers calls at a rate against any SIP system, and checks the audio of each. docs/load.md has more."
        }
    }
}

/// The command of a role, with its own flags only.
pub(super) fn command(role: RoleName) -> Command {
    let name = format!("b2b {role}");
    let own = |id: &str| keys::ALL.find(id).is_some_and(|key| key.roles.contains(&role));
    let heading = |id: &str| {
        keys::ALL.find(id).filter(|key| key.roles.len() == RoleName::ALL.len()).map(|_| "Every role")
    };
    flags::command()
        .bin_name(name.clone())
        .override_usage(format!("{name} [OPTIONS]"))
        .about(about(role))
        .after_help(examples::after_help(Some(role)))
        .mut_args(|arg| {
            let id = arg.get_id().to_string();
            arg.hide(!own(&id)).help_heading(heading(&id))
        })
}

/// The role that a command line names, as its first word or with `--role`, and the line with `--role`.
pub(super) fn named(words: Vec<OsString>) -> (Option<RoleName>, Vec<OsString>) {
    let role = |word: &OsString| word.to_str().and_then(|word| word.parse::<RoleName>().ok());
    if let Some(first) = words.get(1).and_then(role) {
        let program = words.first().cloned().into_iter();
        let named = ["--role".into(), first.as_str().into()];
        return (Some(first), program.chain(named).chain(words.into_iter().skip(2)).collect());
    }
    let behind = words.iter().zip(words.iter().skip(1)).find(|(flag, _)| *flag == "--role");
    (behind.and_then(|(_, word)| role(word)), words)
}

/// The whole command, with a subcommand for each role and task, for completions and manual pages.
pub(super) fn whole(others: impl IntoIterator<Item = Command>) -> Command {
    let role = |role: RoleName| {
        // Hidden flags belong to other roles, and completions would offer them.
        let command = command(role);
        let kept = command.get_arguments().filter(|arg| !arg.is_hide_set()).cloned();
        let after = command.get_after_help().cloned().unwrap_or_default();
        Command::new(role.as_str()).about(about(role)).after_help(after).args(kept.collect::<Vec<_>>())
    };
    let roles = RoleName::ALL.iter().copied().map(role);
    flags::command().subcommands(roles.chain(others))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_the_first_word_or_behind_its_flag() {
        let line = |line: &str| {
            let (role, words) = named(line.split(' ').map(OsString::from).collect());
            let words: Vec<String> = words.into_iter().map(|word| word.into_string().unwrap()).collect();
            (role, words.join(" "))
        };
        assert_eq!(line("b2b sink --force"), (Some(RoleName::Sink), "b2b --role sink --force".into()));
        assert_eq!(line("b2b --force --role load"), (Some(RoleName::Load), "b2b --force --role load".into()));
        assert_eq!(line("b2b --to sink"), (None, "b2b --to sink".into()));
        assert_eq!(line("b2b snik"), (None, "b2b snik".into()));
    }

    #[test]
    fn help_of_a_role_has_its_flags_and_no_others() {
        for role in RoleName::ALL {
            let help = command(*role).render_long_help().to_string();
            assert!(help.contains(&format!("Usage: b2b {role} [OPTIONS]")), "{help}");
            for key in keys::ALL.all() {
                let shown = help.lines().any(|line| {
                    let line = line.trim_start();
                    line == key.flag() || line.starts_with(&format!("{} <", key.flag()))
                });
                assert_eq!(shown, key.roles.contains(role), "{} in {help}", key.flag());
            }
        }
    }

    #[test]
    fn the_whole_command_is_well_formed() {
        whole([]).debug_assert();
    }
}
