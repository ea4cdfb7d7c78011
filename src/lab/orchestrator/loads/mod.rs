//! Loads of a run: `--role load` beside the chain of a plan, or beside the phones of a scene.
//!
//! - here: what is known of one before it starts, and its command line
//! - `folder`: where they write their reports
//! - `figures`: what they have measured, out of these; `table`: that on a page

pub mod figures;
pub mod folder;
pub mod table;

use std::net::SocketAddr;
use std::path::Path;

use tracing::Level;

use crate::config::plan::LoadPart;
use b2b_base::logging::Format;
use b2b_config::target;

/// A load, as it will read its own flags and plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// What the plan says.
    pub part: LoadPart,
    /// It makes calls. Else it only answers, and ends when it is told.
    pub calls: bool,
    /// Its calls come to an end by themselves. Else they go on until those of all others are over.
    pub ends: bool,
    /// Whom it calls; port 0 stands for the server's.
    pub target: Option<String>,
    /// Where it registers users to be called; port 0 stands for the server's.
    pub registrar: Option<String>,
}

/// When a load starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Before the server, which is told where it is.
    Before,
    /// When the server is READY, and before anybody calls.
    WithServer,
    /// When everybody else has started, at its time or cue.
    WithCalls,
}

impl Load {
    /// When it starts.
    pub fn start(&self) -> Start {
        match (self.calls, &self.registrar) {
            (true, _) => Start::WithCalls,
            (false, Some(_)) => Start::WithServer,
            (false, None) => Start::Before,
        }
    }

    /// The same in words.
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

    /// Its arguments. `server`: where that is, once that is known; port 0 of target and registrar becomes its port.
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
        // flags win over the load's own plan, where these may stand as well
        plan.settings.retain(|setting| !matches!(setting.name, "target" | "registrar"));
        for (flag, uri) in [("--target", &self.target), ("--registrar", &self.registrar)] {
            words.extend(uri.iter().flat_map(|uri| [flag.to_owned(), filled(uri)]));
        }
        words.extend(["--report".to_owned(), report.to_string_lossy().into_owned()]);
        words.extend(plan.flags());
        words
    }

    /// Whether a port in its arguments is known only when the server is up.
    pub fn wants_port(&self) -> bool {
        [&self.target, &self.registrar].into_iter().flatten().any(|uri| target::wants_port(uri))
    }

    /// What the server is told of one that answers at this address: calls to its name are its own.
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
