//! Loads of a run: `--role load` beside the chain of a plan, or beside the phones of a scene.
//!
//! - here: the settings of a load before it starts, and its command line
//! - `folder`: the folders of their reports
//! - `figures`: the measurements from these reports; `table`: the same on a page

pub mod figures;
pub mod folder;
pub mod table;

use std::net::SocketAddr;
use std::path::Path;

use tracing::Level;

use crate::config::plan::LoadPart;
use b2b_base::logging::Format;
use b2b_config::target;

/// A load, by its own flags and plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// Its part of the plan.
    pub part: LoadPart,
    /// Whether it makes calls. Otherwise it only answers, and ends when told.
    pub calls: bool,
    /// Whether its calls end by themselves. Otherwise they go on until all others are over.
    pub ends: bool,
    /// The target of its calls; port 0 stands for the server's.
    pub target: Option<String>,
    /// The registrar of its users; port 0 stands for the server's.
    pub registrar: Option<String>,
}

/// The start phase of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Before the server, whose arguments contain its address.
    Before,
    /// When the server is READY, before any call.
    WithServer,
    /// After all others, at its time or cue.
    WithCalls,
}

impl Load {
    /// Its start phase.
    pub fn start(&self) -> Start {
        match (self.calls, &self.registrar) {
            (true, _) => Start::WithCalls,
            (false, Some(_)) => Start::WithServer,
            (false, None) => Start::Before,
        }
    }

    /// Its start phase in words.
    pub fn when(&self) -> String {
        let name = &self.part.name;
        let when = match self.part.start_after.as_secs_f64() {
            0.0 => "when".to_owned(),
            seconds => format!("{seconds} s after"),
        };
        match (self.start(), &self.part.on) {
            (Start::Before, _) => format!("{name}, before the others"),
            (Start::WithServer, _) => format!("{name}, when the b2bua is READY"),
            (Start::WithCalls, Some((cue, _))) => format!("{name}, {when} a phone gives the cue {cue}"),
            (Start::WithCalls, None) => format!("{name}, {when} all others have started"),
        }
    }

    /// Its arguments. `server`: the server's address, once known; its port replaces port 0 of target and
    /// registrar.
    pub fn arguments(
        &self,
        (format, level): (Format, Level),
        report: &Path,
        server: Option<SocketAddr>,
    ) -> Vec<String> {
        let mut plan = self.part.plan.clone();
        let mut words: Vec<String> = ["--role", "load"].map(str::to_owned).into();
        let mut add = |name: &str, value: String| {
            if plan.get(&name.replace('-', "_")).is_none() {
                words.extend([format!("--{name}"), value]);
            }
        };
        let format = match format {
            Format::Text => "text",
            Format::Json => "json",
        };
        add("log-format", format.to_owned());
        add("log-level", level.as_str().to_ascii_lowercase());
        add("color", "never".to_owned());
        let filled = |uri: &String| server.map_or_else(|| uri.clone(), |at| target::with_port(uri, at));
        // flags take precedence over the load's own plan, which may set these as well
        plan.settings.retain(|setting| !matches!(setting.name, "target" | "registrar"));
        for (flag, uri) in [("--target", &self.target), ("--registrar", &self.registrar)] {
            words.extend(uri.iter().flat_map(|uri| [flag.to_owned(), filled(uri)]));
        }
        words.extend(["--report".to_owned(), report.to_string_lossy().into_owned()]);
        words.extend(plan.flags());
        words
    }

    /// Whether an argument needs the server's port.
    pub fn wants_port(&self) -> bool {
        [&self.target, &self.registrar].into_iter().flatten().any(|uri| target::wants_port(uri))
    }

    /// The server's route arguments for a load that answers at this address: calls to its name go to it.
    pub fn route(&self, at: SocketAddr) -> [String; 2] {
        let name = &self.part.name;
        ["--route".to_owned(), format!("{name}={}", target::derived(name, at))]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::plan::loads;

    fn load(lines: &str, registrar: Option<&str>) -> Load {
        let part = loads(&format!("[[load]]\nname = \"crowd\"\n{lines}")).unwrap().remove(0);
        assert_eq!(part.start_after, Duration::ZERO);
        let target = part.plan.get("target").map(str::to_owned);
        Load { calls: target.is_some(), ends: true, target, registrar: registrar.map(str::to_owned), part }
    }

    fn line(load: &Load, server: Option<&str>) -> String {
        let server = server.map(|at| at.parse().unwrap());
        load.arguments((Format::Text, Level::INFO), Path::new("r/crowd"), server).join(" ")
    }

    #[test]
    fn the_server_s_port_stands_where_the_plan_has_none() {
        let crowd = load("target = \"sip:answers@127.0.0.1:0\"\nrate = 5\nlog_level = \"warn\"", None);
        assert_eq!(
            line(&crowd, Some("127.0.0.1:4000")),
            "--role load --log-format text --color never --target sip:answers@127.0.0.1:4000 --report r/crowd --rate 5 \
             --log-level warn"
        );
        assert!(crowd.wants_port() && line(&crowd, None).contains("sip:answers@127.0.0.1:0"));
        let answers = load("callee = \"answer\"", Some("sip:127.0.0.1:0"));
        assert!(line(&answers, Some("127.0.0.1:4000")).contains("--registrar sip:127.0.0.1:4000"));
    }

    #[test]
    fn who_answers_is_there_before_who_calls() {
        let answers = load("callee = \"answer\"", None);
        assert_eq!(answers.start(), Start::Before);
        assert_eq!(answers.route("127.0.0.1:9".parse().unwrap()), ["--route", "crowd=sip:crowd@127.0.0.1:9"]);
        assert_eq!(load("callee = \"answer\"", Some("sip:127.0.0.1:0")).start(), Start::WithServer);
        assert_eq!(load("target = \"sip:x@127.0.0.1\"", None).start(), Start::WithCalls);
    }
}
