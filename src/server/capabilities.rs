//! What a configuration needs of the media controller. Pure.

use super::media;
use crate::config::{Action, BridgeMode, MediaPath, ServerConfig, Srtp};
use b2b_call::controller::{Capabilities, Capability};

/// A need that the controller does not meet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{who} needs {needs}, which the media controller cannot do; {fix}")]
pub struct Lacking {
    /// Line of the configuration.
    pub line: usize,
    who: String,
    needs: &'static str,
    fix: &'static str,
}

/// Whether who carries the media will do.
///
/// # Errors
/// The first need that is not met.
pub fn check(config: &ServerConfig) -> Result<(), Lacking> {
    check_with(config, media::capabilities(config))
}

/// What every application needs.
const FOR_APPLICATIONS: [(Capability, &str); 2] = [
    (Capability::Prompts, "prompts (app = …)"),
    (Capability::DigitCollection, "digits that are collected (app = …)"),
];

/// Whether a controller that has this will do.
///
/// # Errors
/// The first need that is not met.
pub fn check_with(config: &ServerConfig, has: Capabilities) -> Result<(), Lacking> {
    if config.media.srtp != Srtp::Off && !has.has(Capability::Encryption) {
        return Err(Lacking {
            line: config.media.srtp_line,
            who: "[media]".to_owned(),
            needs: "encrypted media (srtp)",
            fix: "write srtp = \"off\"",
        });
    }
    for gateway in config.gateways.iter().filter(|gateway| gateway.inband) {
        if !has.has(Capability::DigitEvents) {
            return Err(Lacking {
                line: gateway.line,
                who: format!("gateway {:?}", gateway.name),
                needs: "digits out of tones (dtmf = \"inband\")",
                fix: "write dtmf = \"events\"",
            });
        }
    }
    for route in &config.routes {
        let policy = match &route.action {
            Action::Dial { policy, .. } => policy,
            Action::Reject { .. } => continue,
            Action::App { name, record, .. } => {
                let recording = record.then_some((Capability::Recording, "recording (record = true)"));
                let streams = (Capability::Streams, "streams (app = \"voice_agent/…\")");
                let streams = name.to_string().starts_with("voice_agent/").then_some(streams);
                for (capability, needs) in FOR_APPLICATIONS.into_iter().chain(recording).chain(streams) {
                    if !has.has(capability) {
                        let who = format!("route {:?}", route.name);
                        let fix = "take the application out";
                        return Err(Lacking { line: route.line, who, needs, fix });
                    }
                }
                continue;
            }
        };
        let needs = [
            (policy.record, Capability::Recording, "recording (record = true)", "take record out"),
            (
                policy.mode == BridgeMode::Translating,
                Capability::Transcoding,
                "transcoding (mode = \"translating\")",
                "choose mode = \"intercepting\"",
            ),
            (
                policy.media == MediaPath::Direct,
                Capability::DirectMedia,
                "media without a relay (media = \"direct\")",
                "choose media = \"relay\"",
            ),
            (
                policy.unanswered.is_some(),
                Capability::Prompts,
                "prompts (unanswered = …)",
                "take unanswered out",
            ),
        ];
        for (asked, capability, needs, fix) in needs {
            if asked && !has.has(capability) {
                return Err(Lacking { line: route.line, who: format!("route {:?}", route.name), needs, fix });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_alone;

    #[test]
    fn encryption_that_the_controller_lacks_is_refused_with_its_line() {
        let config = |lines: &str| {
            parse_alone(&format!("[media]\nports = \"20000-30000\"\n{lines}srtp = \"offered\"\n")).unwrap()
        };
        let few = Capabilities::of(&[Capability::Endpoints, Capability::Pairs, Capability::Bridges]);
        assert_eq!(check_with(&config(""), few).unwrap_err().line, 3);
        assert_eq!(check_with(&config("\n"), few).unwrap_err().line, 4);
        // A line that moved is no change.
        assert_eq!(ServerConfig::diff(&config(""), &config("\n")).restart, [""; 0]);
    }

    #[test]
    fn what_the_controller_lacks_is_refused_with_the_line_of_the_route() {
        let config = |keys: &str| {
            parse_alone(&format!(
                "[[user]]\nname = \"1\"\npassword = \"x\"\n[[route]]\nname = \"in\"\nto = \"user/1\"\n{keys}\n\
                 [recording]\nfolder = \"rec\"\n"
            ))
            .unwrap()
        };
        let all = Capabilities::of(&Capability::ALL);
        let few = Capabilities::of(&[Capability::Endpoints, Capability::Pairs, Capability::Bridges]);
        for (keys, words) in [
            ("record = true", "recording"),
            ("mode = \"translating\"", "transcoding"),
            ("media = \"direct\"", "media without a relay"),
            ("unanswered = \"echo\"", "prompts (unanswered = …)"),
        ] {
            assert_eq!(check_with(&config(keys), all), Ok(()));
            let lacking = check_with(&config(keys), few).unwrap_err();
            assert_eq!(lacking.line, 4, "{lacking}");
            assert!(lacking.to_string().starts_with(&format!("route \"in\" needs {words}")), "{lacking}");
        }
        assert_eq!(check_with(&config(""), few), Ok(()));
        let trunk = "[[gateway]]\nname = \"g\"\nhosts = [\"192.0.2.1\"]\ndtmf = \"inband\"\n";
        assert_eq!(check_with(&config(trunk), all), Ok(()));
        let lacking = check_with(&config(trunk), few).unwrap_err();
        assert!(lacking.to_string().starts_with("gateway \"g\" needs digits out of tones"), "{lacking}");
        let menu = "[[route]]\napp = \"ivr/a\"\n[[ivr]]\nname = \"a\"\nnode = [{ name = \"x\", kind = \"hangup\" }]\n";
        assert_eq!(check_with(&config(menu), all), Ok(()));
        let lacking = check_with(&config(menu), few).unwrap_err();
        assert_eq!(lacking.line, 7, "{lacking}");
        assert!(lacking.to_string().contains("prompts (app = …)"), "{lacking}");
    }
}
