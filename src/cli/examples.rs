//! Examples of command lines for the help text: all of them, or those of a role.

use b2b_config::role_name::RoleName::{self, B2bua, Load, Media, Mixer, Orchestrator, Phone, Sink, Source};

/// Command lines for one purpose.
struct Example {
    roles: &'static [RoleName],
    purpose: &'static str,
    lines: &'static [&'static str],
}

const ALL: &[Example] = &[
    Example {
        roles: &[Orchestrator],
        purpose: "Run a plan and write a report",
        lines: &["b2b orchestrator --plan plans/smk.plan.toml --report target/report"],
    },
    Example {
        roles: &[Orchestrator],
        purpose: "Print the commands of a plan",
        lines: &["b2b orchestrator --plan plans/smk.plan.toml --dry-run"],
    },
    Example {
        roles: &[Source, Mixer, Sink],
        purpose: "The same by hand, in three terminals",
        lines: &[
            "b2b sink   --sip-bind 127.0.0.1:5070 --output auto --wav heard.wav",
            "b2b mixer  --sip-bind 127.0.0.1:5080 --target sip:sink@127.0.0.1:5070 --dtmf-seq 123",
            "b2b source --target sip:mixer@127.0.0.1:5080 --audio-file assets/sample.mp3",
        ],
    },
    Example {
        roles: &[Orchestrator],
        purpose: "The same plan on the other engine, in a build with the feature baresip",
        lines: &["b2b orchestrator --plan plans/smk.plan.toml --engine baresip"],
    },
    Example {
        roles: &[Sink],
        purpose: "Reproducible network impairment",
        lines: &["b2b sink --sip-bind 127.0.0.1:5070 --output null --impair loss=5,jitter=20,seed=7"],
    },
    Example {
        roles: &[B2bua],
        purpose: "Start the server; check its configuration; explain the route of a call and the messages to a gateway",
        lines: &[
            "b2b b2bua --config plans/b2bua.toml",
            "b2b b2bua --config plans/b2bua.toml --dry-run",
            "b2b b2bua --config plans/b2bua.toml --explain +442083661177 --from 1001",
            "b2b b2bua --config plans/b2bua.toml --explain-gateway carrier --to +442083661177",
        ],
    },
    Example {
        roles: &[Media],
        purpose: "A media server on another machine; its b2bua has\n  media.controller = http://10.0.0.2:8090 (or grpc://…) and the same token in [media]",
        lines: &["b2b media --listen 10.0.0.2:8090 --token-file token --rtp-bind 192.0.2.10"],
    },
    Example {
        roles: &[Phone],
        purpose: "A phone on the terminal, and one run by a script",
        lines: &[
            "b2b phone --identity sip:1001@127.0.0.1:5060 --password-file secret",
            "b2b phone --identity sip:test@127.0.0.1 --call sip:1001@127.0.0.1:5060 \\",
            "    --play hello.wav --record heard.wav --dtmf 123# --hangup-after 10 --json",
        ],
    },
    Example {
        roles: &[Load],
        purpose: "Fifty calls per second for a minute through your server, and a load that answers them",
        lines: &[
            "b2b load --sip-bind 127.0.0.1:5070 --callee 'answer; say mark; hung up'",
            "b2b load --target sip:1000@127.0.0.1:5060 --rate 50 --duration-s 60 --report target/load",
        ],
    },
    Example {
        roles: &[Orchestrator],
        purpose: "Measure a call through a server while it carries a hundred others",
        lines: &["b2b orchestrator --plan plans/busy.plan.toml --report target/busy"],
    },
    Example {
        roles: &[Load],
        purpose: "Compare two runs, with their statistical confidence (more: b2b compare --help)",
        lines: &["b2b compare before/load.json after/load.json"],
    },
    Example {
        roles: &[B2bua],
        purpose: "Replay a call of a b2bua from its journal (more: b2b replay --help)",
        lines: &["b2b replay call.journal"],
    },
];

const EXIT_CODES: &str = "\
Exit codes:
  0 ok   1 an expectation of the plan was not met, or a load is worse than before   64 arguments, plan or configuration
  65 SIP   66 audio   67 not ready or not ended in time   70 panic";

/// The text below the flags in help, for one role or for all.
pub(super) fn after_help(role: Option<RoleName>) -> String {
    let mut text = "Examples:\n".to_owned();
    for Example { purpose, lines, .. } in
        ALL.iter().filter(|example| role.is_none_or(|role| example.roles.contains(&role)))
    {
        text.push_str(&format!("  {purpose}:\n"));
        lines.iter().for_each(|line| text.push_str(&format!("    {line}\n")));
        text.push('\n');
    }
    if role.is_none() {
        let more = "Each role has its own help: b2b b2bua --help. `b2b --role b2bua …` is the same as `b2b b2bua …`.\n\n";
        text.push_str(more);
    }
    text + EXIT_CODES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_has_an_example_of_its_own() {
        for role in RoleName::ALL {
            let text = after_help(Some(*role));
            assert!(text.contains(&format!("b2b {role} ")), "{text}");
        }
        assert!(!after_help(Some(Phone)).contains("b2b b2bua"));
    }
}
