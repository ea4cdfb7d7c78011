//! The command lines of the children.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::OrchestratorConfig;
use super::loads::{Start, folder};
use super::slot;
use crate::config::plan::{Plan, RolePlan};
use b2b_base::logging::Format;
use b2b_config::RoleName;
use b2b_config::target;

/// Settings for every child besides its plan.
#[derive(Debug, Clone)]
pub struct Common {
    /// The log format of the children, unless the plan sets one.
    pub format: Format,
    /// Their log level, unless the plan sets one.
    pub level: tracing::Level,
    /// The folder of recordings for the report.
    pub recordings: Option<PathBuf>,
}

/// The role that a role calls: the next one of the plan.
pub fn next_of(plan: &Plan, role: RoleName) -> Option<RoleName> {
    let after = RoleName::CHAIN.into_iter().skip_while(|name| *name != role).skip(1);
    after.into_iter().find(|name| plan.role(*name).is_some())
}

/// Whether every role of the chain uses an engine that carries time stamps, and calls the next one at a port
/// not known in advance: a fixed port may belong to another program.
pub fn carries_stamps(plan: &Plan) -> bool {
    plan.roles
        .iter()
        .all(|role| role.engine().measures_latency() && role.get("target").is_none_or(target::wants_port))
}

/// The arguments of a role's process. `next` is the bound address of the role that it calls, once known: it
/// replaces a target's port 0, and a target missing from the plan.
pub fn arguments(plan: &Plan, role: &RolePlan, common: &Common, next: Option<SocketAddr>) -> Vec<String> {
    let mut role = role.clone();
    if common.recordings.is_some() {
        // the report needs all recordings in one folder
        role.settings.retain(|setting| setting.name != "record");
    }
    let callee = next_of(plan, role.role);
    if let Some(next) = next {
        for setting in role.settings.iter_mut().filter(|setting| setting.name == "target") {
            setting.value = target::with_port(&setting.value, next);
        }
    }
    let mut words: Vec<String> = vec!["--role".into(), role.role.to_string()];
    let mut add = |name: &str, value: String| {
        if role.get(&name.replace('-', "_")).is_none() {
            words.extend([format!("--{name}"), value]);
        }
    };
    let format = match common.format {
        Format::Text => "text",
        Format::Json => "json",
    };
    add("log-format", format.to_string());
    add("log-level", common.level.as_str().to_ascii_lowercase());
    add("color", "never".to_string());
    if let Some(callee) = callee {
        // in a dry run, port 0 stands for the unknown one
        let address = next.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        add("target", target::derived(callee.as_str(), address));
    }
    match &common.recordings {
        // it has no audio of its own to record, only messages
        Some(folder) if role.role == RoleName::B2bua => {
            add("sip-trace", folder.join("b2bua.sip").to_string_lossy().into_owned());
        }
        Some(folder) => add("record", folder.to_string_lossy().into_owned()),
        None => {}
    }
    words.extend(role.flags());
    words
}

/// A command line, quoted for a shell.
pub fn quoted(program: &Path, arguments: &[String]) -> String {
    let program = program.to_string_lossy();
    let words = std::iter::once(program.as_ref()).chain(arguments.iter().map(String::as_str));
    words.map(quote).collect::<Vec<_>>().join(" ")
}

fn quote(word: &str) -> String {
    match shlex::try_quote(word) {
        Ok(quoted) => quoted.into_owned(),
        // only a zero byte cannot be quoted, and no argument can hold one
        Err(_) => format!("{word:?}"),
    }
}

/// The command lines of a plan, in start order, with comments for values known only at run time.
pub fn dry_run(program: &Path, config: &OrchestratorConfig) -> Vec<String> {
    let (plan, common, reports) = (&config.plan.plan, config.common(), config.load_reports());
    let mut lines = Vec::new();
    for slot in slot::in_order(config) {
        let name = slot.role();
        if let Some(load) = &slot.load {
            lines.push(format!("# {}", load.when()));
            if load.wants_port() {
                lines.push("# port 0 of the URIs becomes the port of the b2bua's READY line".to_owned());
            }
            let words = load.arguments((common.format, common.level), &folder::of(&reports, load), None);
            lines.push(quoted(program, &words));
            continue;
        }
        if let Some(callee) = next_of(plan, name)
            && slot.plan.get("target").is_none_or(target::wants_port)
        {
            lines.push(format!("# port 0 of the target becomes the port of the {callee}'s READY line"));
        }
        let mut words = arguments(plan, &slot.plan, &common, None);
        if name == RoleName::B2bua {
            let routed = config.run.loads.iter().filter(|load| load.start() == Start::Before);
            for load in routed {
                let name = &load.part.name;
                lines.push(format!(
                    "# port 0 of the route becomes the port of the READY line of the load {name}"
                ));
                words.extend(load.route(SocketAddr::from(([127, 0, 0, 1], 0))));
            }
        }
        lines.push(quoted(program, &words));
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::files::LoadedPlan;
    use crate::config::plan::parse;
    use crate::orchestrator::RunConfig;
    use b2b_base::logging::Color;

    fn common() -> Common {
        Common { format: Format::Text, level: tracing::Level::INFO, recordings: None }
    }

    fn line(plan: &Plan, role: RoleName, common: &Common, next: Option<&str>) -> String {
        let next = next.map(|address| address.parse().unwrap());
        arguments(plan, plan.role(role).unwrap(), common, next).join(" ")
    }

    const PLAN: &str = "[topology]\nsource.audio_file = \"a b.mp3\"\nmixer.dtmf_seq = \"1\"\n\
                        mixer.sip_target = \"sip:sink@127.0.0.1:0;transport=tcp\"\nsink.log_level = \"debug\"\n";

    #[test]
    fn targets_get_the_real_port_and_missing_ones_are_derived() {
        let plan = parse(PLAN).unwrap();
        let mixer = line(&plan, RoleName::Mixer, &common(), Some("127.0.0.1:4000"));
        assert!(mixer.contains("--target sip:sink@127.0.0.1:4000;transport=tcp"), "{mixer}");
        let source = line(&plan, RoleName::Source, &common(), Some("127.0.0.1:5000"));
        assert!(source.contains("--target sip:mixer@127.0.0.1:5000"), "{source}");
    }

    #[cfg(feature = "server")]
    #[test]
    fn a_b2bua_is_called_by_the_role_before_it_and_calls_the_one_behind_it() {
        let plan = parse(&format!("{PLAN}b2bua.config = \"b.toml\"\n")).unwrap();
        assert_eq!(next_of(&plan, RoleName::Source), Some(RoleName::Mixer));
        assert_eq!(next_of(&plan, RoleName::Mixer), Some(RoleName::B2bua));
        assert_eq!(next_of(&plan, RoleName::B2bua), Some(RoleName::Sink));
        assert_eq!(next_of(&plan, RoleName::Sink), None);
        let common = Common { recordings: Some("target/r".into()), ..common() };
        let b2bua = line(&plan, RoleName::B2bua, &common, Some("127.0.0.1:4000"));
        assert!(b2bua.contains("--target sip:sink@127.0.0.1:4000"), "{b2bua}");
        assert!(b2bua.contains("--sip-trace target/r/b2bua.sip"), "{b2bua}");
        assert!(b2bua.ends_with("--config b.toml") && !b2bua.contains("--record"), "{b2bua}");
    }

    #[test]
    fn the_plan_wins_over_what_all_children_are_told() {
        let plan = parse(PLAN).unwrap();
        let sink = line(&plan, RoleName::Sink, &common(), None);
        assert_eq!(sink, "--role sink --log-format text --color never --log-level debug");
    }

    #[test]
    fn the_report_s_folder_wins_over_the_plan_s() {
        let plan = parse(&format!("{PLAN}sink.record = \"mine\"\n")).unwrap();
        let common = Common { recordings: Some("target/r".into()), ..common() };
        let sink = line(&plan, RoleName::Sink, &common, None);
        assert!(sink.contains("--record target/r") && !sink.contains("mine"), "{sink}");
    }

    #[test]
    fn a_dry_run_is_quoted_and_in_start_order() {
        let config = OrchestratorConfig {
            plan: LoadedPlan { path: "p.toml".into(), text: String::new(), plan: parse(PLAN).unwrap() },
            run: RunConfig {
                loads: Vec::new(),
                grace: Duration::ZERO,
                kill: Duration::ZERO,
                ready: Duration::ZERO,
                dry_run: true,
                report: None,
                format: Format::Text,
                color: Color::Never,
                level: tracing::Level::INFO,
            },
        };
        let lines = dry_run(Path::new("/opt/b 2/b2b"), &config);
        let roles: Vec<_> = lines.iter().filter(|line| !line.starts_with('#')).collect();
        assert!(
            roles[0].contains("--role sink") && roles[1].contains("mixer") && roles[2].contains("source")
        );
        let words = shlex::split(roles[2]).unwrap();
        assert_eq!(words[0], "/opt/b 2/b2b");
        assert!(words.contains(&"a b.mp3".to_string()));
        assert!(lines.iter().any(|line| line.starts_with("# port 0")));
    }
}
