//! The loads of a plan → their settings, by their own flags and plans.

use std::path::Path;

use super::Flags;
use crate::config::keys;
use crate::config::plan::LoadPart;
use crate::orchestrator::loads::Load;
use b2b_base::util::exit::{Exit, Failure};
use b2b_config::command_line::CommandLine;
use b2b_config::problem::ConfigError;
use b2b_config::target;

/// Parses the flags of each load as its process will, so that errors are reported before anything starts.
/// `server`: whether the plan has a server, whose port is not known yet; `path`: the plan.
pub fn loads(parts: &[LoadPart], path: &Path, server: bool) -> Result<Vec<Load>, Failure> {
    let at = |error: ConfigError| {
        Failure::new(Exit::Usage, format!("{}:{}: {}", path.display(), error.line, error.problem))
    };
    parts.iter().map(|part| load(part, server).map_err(at)).collect()
}

fn load(part: &LoadPart, server: bool) -> Result<Load, ConfigError> {
    // the table of keys has checked the values one by one
    let line =
        CommandLine::of_words(keys::ALL, part.plan.flags()).map_err(|error| part.error("name", error))?;
    let run = Flags::read(&line).and_then(|flags| flags.load());
    let run = run.map_err(|failure| part.error("plan", failure.message))?;
    let registrar = run.enrolment.as_ref().map(|enrolment| enrolment.registrar.clone());
    let calls = run.callers.is_some();
    let ends = run.callers.as_ref().is_some_and(|callers| callers.pace.has_end());
    let target = run.target.filter(|_| calls);
    for (key, uri) in [("target", &target), ("registrar", &registrar)] {
        if !server && uri.as_deref().is_some_and(target::wants_port) {
            let reason = "port 0 stands for the port of the plan's b2bua, and it has none; write a port";
            return Err(part.error(key, reason));
        }
    }
    if !calls && let Some((key, what)) = waits(part) {
        let reason = format!(
            "a load that only answers starts before the calls; remove {what}, or set it in the load that calls"
        );
        return Err(part.error(key, reason));
    }
    Ok(Load { part: part.clone(), calls, ends, target, registrar })
}

/// The key of a load that delays its calls, and its text.
fn waits(part: &LoadPart) -> Option<(&'static str, &'static str)> {
    match &part.on {
        Some(_) => Some(("on", "`on`")),
        None => (!part.start_after.is_zero()).then_some(("start_after_s", "start_after_s")),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::plan;

    use super::*;

    fn read(lines: &str, server: bool) -> Result<Vec<Load>, String> {
        let parts = plan::loads(&format!("[[load]]\nname = \"crowd\"\n{lines}\n")).unwrap();
        loads(&parts, Path::new("a.plan.toml"), server).map_err(|failure| failure.message)
    }

    #[test]
    fn a_load_is_what_its_flags_and_its_plan_make_of_it() {
        let answers = &read("callee = \"answer; say mark; hung up\"", false).unwrap()[0];
        assert!(!answers.calls && answers.target.is_none() && answers.registrar.is_none());
        let shipped = concat!("plan = \"", env!("CARGO_MANIFEST_DIR"), "/../../plans/load.plan.toml\"");
        let crowd = &read(&format!("{shipped}\nrate = 3"), false).unwrap()[0];
        assert!(crowd.calls && crowd.ends);
        assert_eq!(crowd.target.as_deref(), Some("sip:1000@127.0.0.1:5070"));
    }

    #[test]
    fn what_is_wrong_has_the_line_of_the_plan_and_says_what_to_write() {
        for (lines, line, said) in [
            ("", 2, "--target or --callee is missing"),
            ("callee = \"answer\"\nrate = 5", 2, "--rate is for callers; add --target"),
            ("plan = \"no/such.toml\"", 3, "no/such.toml"),
            ("target = \"sip:x@192.0.2.1\"", 2, "--target-is-mine"),
            ("target = \"sip:x@127.0.0.1:0\"", 3, "write a port"),
            ("callee = \"answer\"\nstart_after_s = 1", 2, "remove start_after_s"),
            ("callee = \"answer\"\non = \"there\"", 4, "remove `on`"),
        ] {
            let error = read(lines, false).unwrap_err();
            assert!(error.starts_with(&format!("a.plan.toml:{line}: ")) && error.contains(said), "{error}");
        }
        assert!(read("target = \"sip:x@127.0.0.1:0\"", true).is_ok());
    }
}
