//! Applying a configuration that is read again. Pure, except for the reading.

use crate::config::Reload;
use crate::config::ServerConfig;
use crate::config::diff::Changes;
use b2b_base::util::exit::{Exit, Failure};

/// The result of reading a configuration again.
#[derive(Debug)]
pub enum Reloaded {
    /// It is unchanged.
    Same,
    /// It has changed.
    Changed {
        /// What holds from now on: the new configuration, but with the old one's listeners and other settings
        /// that require a restart.
        config: Box<ServerConfig>,
        /// The changes, in words.
        changes: Changes,
    },
    /// It is invalid; the old one stays in force.
    Kept(Failure),
}

/// Reads the configuration again. `old` is the one in force.
pub fn reload(old: &ServerConfig, read: &Reload) -> Reloaded {
    let new = match read() {
        Ok(new) => new,
        Err(failure) => return Reloaded::Kept(failure),
    };
    let changes = ServerConfig::diff(old, &new);
    if changes.is_empty() {
        return Reloaded::Same;
    }
    let config = ServerConfig::in_force(old, new);
    if let Err(why) = config.fits() {
        let restart = changes.restart.join(", ");
        let message =
            format!("{restart} takes a restart, and the rest of it needs that: {why}; nothing has changed");
        return Reloaded::Kept(Failure::new(Exit::Usage, message));
    }
    Reloaded::Changed { config: Box::new(config), changes }
}

impl Reloaded {
    /// For the log: what happened, and whether it is an error.
    pub fn words(&self) -> Vec<(bool, String)> {
        match self {
            Reloaded::Same => vec![(false, "the configuration has not changed".to_string())],
            Reloaded::Kept(failure) => {
                let words =
                    format!("the new configuration is refused, the old one stays in force: {failure}");
                words.lines().map(|line| (true, line.to_string())).collect()
            }
            Reloaded::Changed { changes: Changes { live, restart }, .. } => {
                let live = live.iter().map(|words| (false, format!("changed: {words}")));
                let restart = restart.iter().map(|words| {
                    (true, format!("{words} changed, which takes a restart; the old value stays"))
                });
                live.chain(restart).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_alone;

    const OLD: &str = "[limits]\ncalls = 10\n";

    fn reloaded(text: &'static str) -> Reloaded {
        let read: Reload = Box::new(move || {
            parse_alone(text).map_err(|error| Failure::new(Exit::Usage, format!("b2b.toml: {error}")))
        });
        reload(&parse_alone(OLD).unwrap(), &read)
    }

    #[test]
    fn a_bad_configuration_changes_nothing_and_says_where_it_is_bad() {
        let result = reloaded("[limits]\ncals = 1\n");
        assert!(matches!(result, Reloaded::Kept(_)));
        let words = "the new configuration is refused, the old one stays in force: b2b.toml: line 2: there is no \
                     `limits.cals`; did you mean `calls`?";
        assert_eq!(result.words(), [(true, words.to_string())]);
    }

    #[test]
    fn what_changes_is_said_and_what_waits_for_a_restart_keeps_its_value() {
        let result = reloaded("[server]\nstore = \"memory\"\n[limits]\ncalls = 11\n");
        let words = [
            (false, "changed: [limits]: existing calls are not affected".to_string()),
            (true, "server.store changed, which takes a restart; the old value stays".to_string()),
        ];
        assert_eq!(result.words(), words);
        let Reloaded::Changed { config, .. } = result else { panic!() };
        assert_eq!(config.limits.calls, 11);
        assert_eq!(config.server.store, parse_alone(OLD).unwrap().server.store);
    }

    #[test]
    fn what_needs_a_restart_and_is_needed_by_the_rest_changes_nothing() {
        for (text, why) in [
            (
                "[[music]]\nname = \"new\"\ntone = \"440\"\n[[park]]\nname = \"lot\"\nmusic = \"new\"\n",
                "\"new\"",
            ),
            (
                "[recording]\nfolder = \"/tmp\"\n[[route]]\nto = \"sip:a@b\"\nrecord = true\n",
                "recording.folder",
            ),
        ] {
            let Reloaded::Kept(failure) = reloaded(text) else { panic!("{text}") };
            assert!(
                failure.message.contains("takes a restart") && failure.message.contains(why),
                "{failure}"
            );
        }
    }

    #[test]
    fn the_same_configuration_is_the_same() {
        assert!(matches!(reloaded(OLD), Reloaded::Same));
    }
}
