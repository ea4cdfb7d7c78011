//! `[[load]]`: loads beside the roles of a chain, or beside the phones of a scene.
//!
//! ```toml
//! [[load]]
//! name = "crowd"
//! plan = "busy.load.toml"                 # and any other flag of --role load
//! target = "sip:answers@127.0.0.1:0"      # 0: the server's port
//! start_after_s = 2
//! ```

use std::time::Duration;

use toml::de::{DeArray, DeTable, DeValue};

use super::{Reader, RolePlan, Setting, described, entries};
use b2b_config::keys::Kind;
use b2b_config::lines::Lines;
use b2b_config::problem::{ConfigError, ConfigErrors, ConfigProblem};
use b2b_config::role_name::RoleName;

/// Reserved names: they have another meaning in a run, or in its report folder.
const TAKEN: [&str; 6] = ["orchestrator", "source", "mixer", "b2bua", "sink", "recordings"];

/// Keys of `[[load]]` that are not flags of the load role.
const OWN: [&str; 3] = ["name", "on", "start_after_s"];

/// A load of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadPart {
    /// Its name: the number by which the server routes calls to it, and its folder in the report.
    pub name: String,
    /// Its line in the plan.
    pub line: usize,
    /// The flags of the load role.
    pub plan: RolePlan,
    /// The cue of a phone that starts it, and the line of that key; `None`: it starts with the source or the
    /// phones.
    pub on: Option<(String, usize)>,
    /// The delay after that.
    pub start_after: Duration,
}

impl LoadPart {
    /// An error at one of its keys; at the whole load if it has no such key.
    pub fn error(&self, key: &str, reason: impl Into<String>) -> ConfigError {
        let setting = self.plan.settings.iter().find(|setting| setting.name == key);
        let (key, value, line) = match (&self.on, setting) {
            (Some((cue, line)), _) if key == "on" => ("on", cue, *line),
            (_, Some(setting)) => (setting.name, &setting.value, setting.line),
            _ => ("name", &self.name, self.line),
        };
        let (key, value) = (format!("load.{key}"), format!("{value:?}"));
        ConfigError { line, problem: ConfigProblem::BadValue { key, value, reason: reason.into() } }
    }
}

/// Reads the loads of a plan, ignoring the rest.
///
/// # Errors
/// All errors, each with its line.
pub fn loads(text: &str) -> Result<Vec<LoadPart>, ConfigErrors> {
    let lines = Lines::of(text);
    let reader = Reader { lines: &lines };
    let read = match DeTable::parse(text) {
        Ok(root) => match root.get_ref().get("load") {
            Some(value) => reader.loads(value),
            None => Ok(Vec::new()),
        },
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            Err(reader.error(at, ConfigProblem::Syntax(b2b_config::syntax(error.message()))))
        }
    };
    lines.finish(read).map(|(loads, _)| loads)
}

impl Reader<'_> {
    /// Reads all `[[load]]` tables.
    pub(super) fn loads(&self, value: &toml::Spanned<DeValue<'_>>) -> Result<Vec<LoadPart>, ConfigError> {
        let Some(array) = value.get_ref().as_array() else {
            let problem = ConfigProblem::WrongType {
                key: "load".to_owned(),
                found: described(value.get_ref()),
                wanted: "a [[load]] for each load, with a name. A plan of a load alone is run with --role load --plan"
                    .to_owned(),
            };
            return Err(self.error(value.span().start, problem));
        };
        self.each(array)
    }

    fn each(&self, array: &DeArray<'_>) -> Result<Vec<LoadPart>, ConfigError> {
        let mut loads: Vec<LoadPart> = Vec::new();
        let read: Vec<_> = array
            .iter()
            .map(|value| {
                let read = self.table("load", value).and_then(|table| self.load(value.span().start, table));
                let load = self.kept(read)?;
                if let Some(first) = loads.iter().find(|first| first.name == load.name) {
                    let (name, first) = (load.name, first.line);
                    let problem = ConfigProblem::Taken { what: "load", name, first };
                    return self.kept(Err(ConfigError { line: load.line, problem }));
                }
                loads.push(load);
                Ok(())
            })
            .collect();
        read.into_iter().collect::<Result<(), ConfigError>>().map(|()| loads)
    }

    fn load(&self, at: usize, table: &DeTable<'_>) -> Result<LoadPart, ConfigError> {
        let (mut name, mut on, mut start_after) = (None, None, Duration::ZERO);
        let mut line = self.lines.line(at);
        for (key, span, value) in entries(table) {
            let full = format!("load.{key}");
            let bad = |value: &str, reason: &str| {
                let (key, value, reason) = (full.clone(), value.to_owned(), reason.to_owned());
                self.error(span.start, ConfigProblem::BadValue { key, value, reason })
            };
            match key {
                "name" => {
                    let text = self.text_of(&full, Kind::Text, value)?;
                    line = self.lines.line(span.start);
                    if text.is_empty() || !text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
                        return Err(bad(&format!("{text:?}"), "a name has letters, digits and dashes"));
                    }
                    if TAKEN.contains(&text.as_str()) {
                        return Err(bad(
                            &format!("{text:?}"),
                            "this name is taken; choose another one, like crowd",
                        ));
                    }
                    name = Some(text);
                }
                "on" => {
                    on = Some((self.text_of(&full, Kind::Text, value)?, self.lines.line(span.start)));
                }
                "start_after_s" => {
                    let text = self.text_of(&full, Kind::Number, value)?;
                    let seconds = text.parse().ok().filter(|seconds| (0.0..=3_600.0).contains(seconds));
                    let seconds = seconds.ok_or_else(|| bad(&text, "it takes 0 to 3600 seconds"))?;
                    start_after = Duration::from_secs_f64(seconds);
                }
                _ => {}
            }
        }
        let reason = "the report and calls to it know a load by its name; add one, like name = \"crowd\"";
        let name = name.ok_or_else(|| self.missing(at, "load.name".to_owned(), reason))?;
        let settings: Vec<Setting> = self.settings(RoleName::Load, table, &OWN)?;
        if let Some(setting) = settings.iter().find(|setting| setting.name == "report") {
            let reason = "the --report of the run has a folder for each load; leave it out".to_owned();
            let (key, value) = ("load.report".to_owned(), format!("{:?}", setting.value));
            return Err(ConfigError {
                line: setting.line,
                problem: ConfigProblem::BadValue { key, value, reason },
            });
        }
        let plan = RolePlan { role: RoleName::Load, settings };
        Ok(LoadPart { name, line, plan, on, start_after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOADS: &str = "[[load]]\nname = \"answers\"\ncallee = \"answer; say mark; hung up\"\n\
                         [[load]]\nname = \"crowd\"\ntarget = \"sip:answers@127.0.0.1:0\"\nrate = 20\nhold_s = 4\n\
                         on = \"there\"\nstart_after_s = 1.5\nsignalling_only = true\n";

    #[test]
    fn a_load_has_a_name_and_flags_of_the_load_role() {
        let loads = loads(LOADS).unwrap();
        assert_eq!(loads[0].plan.flags(), ["--callee", "answer; say mark; hung up"]);
        assert_eq!((&loads[0].on, loads[0].start_after), (&None, Duration::ZERO));
        let crowd = &loads[1];
        assert_eq!(
            crowd.plan.flags(),
            ["--target", "sip:answers@127.0.0.1:0", "--rate", "20", "--hold-s", "4", "--signalling-only"]
        );
        assert_eq!((&crowd.on, crowd.start_after.as_secs_f64()), (&Some(("there".to_owned(), 9)), 1.5));
        assert!(super::loads("[topology]\n").unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_has_its_line_and_says_what_to_write() {
        for (from, to, line, said) in [
            ("name = \"crowd\"", "name = \"answers\"", 5, "is there already, on line 2"),
            ("name = \"crowd\"", "name = \"a crowd\"", 5, "letters, digits and dashes"),
            ("name = \"crowd\"", "name = \"sink\"", 5, "choose another one"),
            ("name = \"crowd\"\n", "", 4, "like name = \"crowd\""),
            ("rate = 20", "rat = 20", 7, "`load.rate`"),
            ("rate = 20", "rate = \"20\"", 7, "takes a number"),
            ("rate = 20", "jitter_ms = 80", 7, "it belongs to sink and mixer"),
            ("rate = 20", "report = \"x\"", 7, "a folder for each load"),
            ("rate = 20", "caller = \"jump\"", 7, "the step `jump`"),
            ("start_after_s = 1.5", "start_after_s = -1", 10, "0 to 3600 seconds"),
            (LOADS, "[load]\ntarget = \"sip:x\"\n", 1, "--role load --plan"),
        ] {
            let text = LOADS.replacen(from, to, 1);
            assert_ne!(text, LOADS);
            let error = loads(&text).unwrap_err().first;
            assert!(error.problem.to_string().contains(said), "{said}: {error}");
            assert_eq!(error.line, line, "{error}");
        }
    }
}
