//! Flags → the configuration of the phone.

use std::time::Duration;

use super::flags::{PhoneFlags, ScriptFlags};
use super::{Account, Calls, PhoneConfig, Script, Task};
use b2b_base::util::exit::{Exit, Failure};
use b2b_base::util::secret::Secret;
use b2b_config::command_line::CommandLine;
use b2b_config::keys::SharedFlags;

impl PhoneConfig {
    /// The configuration of a command line.
    ///
    /// # Errors
    /// A [`Failure`] with exit code 64: the error and the remedy.
    pub fn of(line: &CommandLine) -> Result<PhoneConfig, Failure> {
        let usage = |message: String| Failure::new(Exit::Usage, message);
        let shared = SharedFlags::read(line).map_err(usage)?;
        let flags = PhoneFlags::read(line).map_err(usage)?;
        let script = ScriptFlags::read(line).map_err(usage)?;
        let identity = flags.identity.clone().ok_or_else(|| {
            usage(
                "--identity is missing; add the phone's address, like --identity sip:1001@127.0.0.1:5060"
                    .to_owned(),
            )
        })?;
        let password = match &flags.password_file {
            None => None,
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| usage(format!("--password-file {}: {error}", path.display())))?;
                let line = text.lines().next().unwrap_or_default();
                if line.is_empty() {
                    let message = format!("--password-file {}: its first line is empty", path.display());
                    return Err(usage(message));
                }
                Some(Secret::new(line.as_bytes()))
            }
        };
        if script.steps.is_some()
            && let Some(key) = line.keys().find(|key| NOT_WITH_STEPS.contains(key))
        {
            let flag = key.replace('_', "-");
            return Err(usage(format!("--{flag} and --steps exclude each other; put it into the steps")));
        }
        let task = match (&script.call, script.answer) {
            (None, None) if script.steps.is_some() => {
                Task::Steps(script.steps.clone().map(|steps| steps.0).unwrap_or_default())
            }
            (Some(_), Some(_)) => {
                return Err(usage(
                    "--call and --answer exclude each other; choose one, or start two phones".to_owned(),
                ));
            }
            (Some(target), None) => Task::Scripted(Calls::Place { target: target.clone() }),
            (None, Some(calls)) => Task::Scripted(Calls::Answer { calls }),
            (None, None) => match line.keys().find(|key| SCRIPTED.contains(key)) {
                Some(key) => {
                    let flag = key.replace('_', "-");
                    return Err(usage(format!(
                        "--{flag} is for a scripted phone; add --call, --answer or --steps"
                    )));
                }
                None => Task::Screen,
            },
        };
        Ok(PhoneConfig {
            account: Account {
                identity,
                display_name: flags.display_name.clone(),
                password,
                registrar: shared.registrar.clone(),
                register: !flags.no_register,
                proxy: flags.proxy.clone(),
                ca_file: flags.ca_file.clone(),
                bind: line.has("sip_bind").then_some(shared.sip_bind),
                codecs: flags.codecs.clone(),
                srtp: flags.srtp,
                sip_trace: shared.sip_trace.clone(),
            },
            task,
            script: Script {
                wait: Duration::from_secs_f64(script.wait),
                play: script.play.clone(),
                record: shared.record.clone(),
                dtmf: script.dtmf.clone(),
                hangup_after: script.hangup_after.map(Duration::from_secs_f64),
                json: script.json,
                junit: script.junit.clone(),
            },
        })
    }
}

/// Flags without meaning for a phone with a screen.
const SCRIPTED: [&str; 7] = ["wait", "play", "record", "dtmf", "hangup_after", "json", "junit"];

/// Flags that steps replace.
const NOT_WITH_STEPS: [&str; 6] = ["call", "answer", "play", "record", "dtmf", "hangup_after"];

#[cfg(test)]
mod tests {
    use b2b_config::keys::{Keys, SHARED};

    use super::*;
    use crate::flags::{PHONE, SCRIPTED};

    fn phone(line: &str) -> Result<PhoneConfig, Failure> {
        let words = line.split_whitespace().map(str::to_owned);
        PhoneConfig::of(&CommandLine::of_words(Keys(&[SHARED, PHONE, SCRIPTED]), words).unwrap())
    }

    #[test]
    fn flags_become_a_screen_or_a_script() {
        assert_eq!(phone("--identity sip:a@127.0.0.1").unwrap().task, Task::Screen);
        let config = phone("--identity sip:a@127.0.0.1 --call 1002 --hangup-after 1.5 --json").unwrap();
        assert_eq!(config.task, Task::Scripted(Calls::Place { target: "1002".to_owned() }));
        assert_eq!(
            (config.script.hangup_after, config.script.json),
            (Some(Duration::from_millis(1_500)), true)
        );
        assert_eq!(config.account.bind, None);
    }

    #[test]
    fn what_is_missing_or_does_not_fit_is_exit_64() {
        for (line, text) in [
            ("", "--identity is missing"),
            ("--identity sip:a@b --call x --answer 1", "choose one"),
            ("--identity sip:a@b --hangup-after 3", "--hangup-after is for a scripted phone"),
            ("--identity sip:a@b --steps answer --answer 1", "put it into the steps"),
            ("--identity sip:a@b --password-file /no/such", "--password-file /no/such:"),
        ] {
            let failure = phone(line).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.message.contains(text), "{}", failure.message);
        }
    }
}
