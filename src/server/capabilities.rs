//! What a configuration requires of the media controller. Pure. The rows of the configuration's keys say
//! which value requires which capability; this module has their names for people, and the requirements that
//! no row can express.

use super::controller::remote::wire::name_of;
use super::media;
use crate::config::{Action, ServerConfig};
use b2b_call::controller::{Capabilities, Capability};

/// A requirement that the controller does not meet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{who} needs {needs}, which the media engine does not support; {fix}")]
pub struct Lacking {
    /// Line of the configuration.
    pub line: usize,
    who: String,
    needs: String,
    fix: &'static str,
}

/// Descriptions of the capabilities that rows require.
const WORDS: [(Capability, &str); 6] = [
    (Capability::DigitEvents, "digits out of tones"),
    (Capability::DirectMedia, "media without a relay"),
    (Capability::Encryption, "encrypted media"),
    (Capability::Prompts, "prompts"),
    (Capability::Recording, "recording"),
    (Capability::Transcoding, "transcoding"),
];

/// What a configuration requires and the media carrier does not support, in the order of its lines.
pub fn lacking(config: &ServerConfig) -> Vec<Lacking> {
    lacking_with(config, media::capabilities(config))
}

/// The same for a controller with these capabilities.
pub fn lacking_with(config: &ServerConfig, has: Capabilities) -> Vec<Lacking> {
    let missing = WORDS.iter().filter(|(capability, _)| !has.has(*capability));
    let missing: Vec<(String, &str)> =
        missing.map(|(capability, words)| (name_of(*capability), *words)).collect();
    let by_key = config.asked.iter().filter_map(|asked| {
        let (_, words) = missing.iter().find(|(name, _)| *name == asked.need.capability)?;
        let needs = format!("{words} ({})", asked.words);
        Some(Lacking { line: asked.line, who: asked.who.clone(), needs, fix: asked.need.fix })
    });
    let streams = !has.has(Capability::Streams);
    // the name of an application tells its kind
    let voice = |action: &Action| matches!(action, Action::App { name, .. } if name.to_string().starts_with("voice_agent/"));
    let by_app = config.routes.iter().filter(|route| streams && voice(&route.action)).map(|route| Lacking {
        line: route.line,
        who: format!("route {:?}", route.name),
        needs: "streams (app = \"voice_agent/…\")".to_string(),
        fix: "take the application out",
    });
    let mut all: Vec<Lacking> = by_key.chain(by_app).collect();
    all.sort_by_key(|lacking| lacking.line);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_alone;
    use crate::config::sections::SECTIONS;

    const FEW: Capabilities =
        Capabilities::of(&[Capability::Endpoints, Capability::Pairs, Capability::Bridges]);

    #[test]
    fn what_rows_ask_for_are_capabilities_with_words() {
        let rows = SECTIONS.into_iter().flat_map(|table| table.keys);
        let asked: Vec<_> = rows.filter_map(|row| row.needs).collect();
        assert!(asked.len() >= WORDS.len());
        for need in asked {
            assert!(WORDS.iter().any(|(it, _)| name_of(*it) == need.capability), "{need:?}");
        }
    }

    #[test]
    fn encryption_that_the_controller_lacks_is_refused_with_its_line() {
        let config = |lines: &str| {
            parse_alone(&format!("[media]\nports = \"20000-30000\"\n{lines}srtp = \"offered\"\n")).unwrap()
        };
        assert_eq!(lacking_with(&config(""), FEW)[0].line, 3);
        let lacking = &lacking_with(&config("\n"), FEW)[0];
        assert_eq!(lacking.line, 4);
        assert_eq!(
            lacking.to_string(),
            "[media] needs encrypted media (srtp = \"offered\"), which the media engine does not support; write \
             srtp = \"off\""
        );
        // A moved line is no change.
        assert_eq!(ServerConfig::diff(&config(""), &config("\n")).restart, [""; 0]);
    }

    #[test]
    fn what_the_controller_lacks_is_refused_with_the_line_of_the_key() {
        let config = |keys: &str| {
            parse_alone(&format!(
                "[[user]]\nname = \"1\"\npassword = \"x\"\n[[route]]\nname = \"in\"\nto = \"user/1\"\n{keys}\n\
                 [recording]\nfolder = \"rec\"\n"
            ))
            .unwrap()
        };
        let all = Capabilities::of(Capability::ALL);
        for (keys, words) in [
            ("record = true", "recording (record = true)"),
            ("media = \"direct\"", "media without a relay (media = \"direct\")"),
            ("unanswered = \"echo\"", "prompts (unanswered = …)"),
        ] {
            assert!(lacking_with(&config(keys), all).is_empty());
            let lacking = lacking_with(&config(keys), FEW);
            assert_eq!((lacking.len(), lacking[0].line), (1, 7), "{lacking:?}");
            let told = lacking[0].to_string();
            assert!(told.starts_with(&format!("route \"in\" needs {words}")), "{told}");
        }
        for keys in
            ["", "record = false", "mode = \"transparent\"", "mode = \"translating\"", "media = \"relay\""]
        {
            assert!(lacking_with(&config(keys), FEW).is_empty());
        }
        let trunk = "[[gateway]]\nname = \"g\"\nhosts = [\"192.0.2.1\"]\ndtmf = \"inband\"\n";
        assert!(lacking_with(&config(trunk), all).is_empty());
        let lacking = lacking_with(&config(trunk), FEW);
        assert!(lacking[0].to_string().starts_with("gateway \"g\" needs digits out of tones"), "{lacking:?}");
        let menu = "[[route]]\napp = \"ivr/a\"\n[[ivr]]\nname = \"a\"\nnode = [{ name = \"x\", kind = \"hangup\" }]\n";
        assert!(lacking_with(&config(menu), all).is_empty());
        let lacking = lacking_with(&config(menu), FEW);
        assert_eq!(lacking[0].line, 8, "{lacking:?}");
        assert!(lacking[0].to_string().contains("prompts (app = …)"), "{lacking:?}");
    }

    #[test]
    fn everything_that_rtpengine_lacks_is_told_at_once() {
        let config = parse_alone(
            "[media]\ncontroller = \"rtpengine://127.0.0.1:2223\"\n[recording]\nfolder = \"rec\"\n\
             [[gateway]]\nname = \"g\"\nhosts = \"192.0.2.1\"\ndtmf = \"inband\"\n\
             [[route]]\nto = \"sip:a@192.0.2.1\"\nmedia = \"direct\"\nunanswered = \"echo\"\n",
        )
        .unwrap();
        let lines: Vec<usize> = lacking(&config).iter().map(|lacking| lacking.line).collect();
        assert_eq!(lines, [8, 11, 12]);
        assert!(config.warnings().iter().any(|it| it.starts_with("recording.folder has no effect")));
    }
}
