//! SIPp's XML → a [`Scenario`]. Anything outside the subset is refused with its line, all of it at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::time::Duration;

use regex::bytes::{Regex, RegexBuilder};
use roxmltree::{Document, ParsingOptions};

use super::element::{Element, Fault, Lines, ScenarioError};
use super::fields::Fields;
use super::read_actions::actions;
use super::scenario::{
    Action, Deed, Length, Media, Next, Optional, Receive, Scenario, Sending, Step, Variable, Wanted,
};
use super::template::{Keyword, Names, Start, Template};
use super::variables::Value;
use super::well_formed::well_formed;
use crate::load::holding::Holding;

/// Attributes allowed on every step.
const COMMON: [&str; 5] = ["next", "test", "chance", "condexec", "condexec_inverse"];

/// Elements outside the subset, and their replacements.
const REFUSED: [(&str, &str); 3] = [
    ("sendCmd", "there is one party a scenario (no 3PCC); write a scenario for each"),
    ("recvCmd", "there is one party a scenario (no 3PCC); write a scenario for each"),
    ("init", "a scenario begins with its first step; write its actions into a <nop>"),
];

/// Reads a file.
///
/// # Errors
/// See [`ScenarioError`].
pub fn read(path: &Path, keys: &BTreeMap<String, String>, fields: Fields) -> Result<Scenario, ScenarioError> {
    let octets = std::fs::read(path).map_err(|error| ScenarioError::Read { path: path.to_owned(), error })?;
    // SIPp's own files declare ISO-8859-1, whose octets equal the first code points
    let text = String::from_utf8(octets)
        .unwrap_or_else(|error| error.as_bytes().iter().map(|octet| char::from(*octet)).collect());
    parse(path, &text, keys, fields).map_err(|faults| ScenarioError::Lines { path: path.to_owned(), faults })
}

/// Maximum nodes of a scenario, and maximum attributes of an element: each is compared with all others.
const MOST_NODES: u32 = 50_000;
const MOST_ATTRIBUTES: usize = 1_000;
/// Maximum variables.
pub(super) const MOST_VARIABLES: usize = 1_000;

/// Finds an element with too many attributes before the parser does: the beginning of the element.
fn attributes(text: &str) -> Result<(), usize> {
    let mut at = 0_usize;
    for part in text.split('<') {
        let values = part
            .match_indices('=')
            .filter(|(equals, _)| part[equals + 1..].trim_start().starts_with(['"', '\'']));
        if values.count() > MOST_ATTRIBUTES {
            return Err(at.saturating_sub(1));
        }
        at += part.len() + 1;
    }
    Ok(())
}

/// Labels with their step index and line.
type Labels = HashMap<String, (usize, u32)>;

/// The state while a scenario is read.
pub(super) struct Reading<'a> {
    pub(super) names: Names<'a>,
    /// The scenario's folder.
    pub(super) folder: &'a Path,
    labels: Labels,
}

/// Parses the text of a scenario.
///
/// # Errors
/// The first fault of each element.
pub(super) fn parse(
    path: &Path,
    text: &str,
    keys: &BTreeMap<String, String>,
    fields: Fields,
) -> Result<Scenario, Vec<Fault>> {
    let text = &well_formed(text);
    // SIPp's scenarios name sipp.dtd, which is not fetched
    let options = ParsingOptions { allow_dtd: true, nodes_limit: MOST_NODES, ..ParsingOptions::default() };
    let lines = Lines::new(text);
    attributes(text).map_err(|at| {
        vec![(lines.of(at), format!("more than {MOST_ATTRIBUTES} attributes in one element; write fewer"))]
    })?;
    let document = Document::parse_with_options(text, options)
        .map_err(|error| vec![(error.pos().row, format!("{error}; write well-formed XML"))])?;
    let root = Element::root(&document, &lines);
    if root.name() != "scenario" {
        return Err(vec![root.fault(format!("<{}> is no scenario; write <scenario>", root.name()))]);
    }
    let one = |fault: Fault| vec![fault];
    root.only(&["name"]).map_err(one)?;
    let (mut names, folder) = (Vec::new(), path.parent().unwrap_or(Path::new("")));
    let (labels, shared) = (labels(root).map_err(one)?, shared(root).map_err(one)?);
    let mut reading =
        Reading { names: Names { keys, variables: &mut names, fields: &fields }, folder, labels };
    let (mut steps, mut faults) = (Vec::new(), Vec::new());
    for element in root.elements() {
        match element.name() {
            "send" | "recv" | "pause" | "timewait" | "nop" => match reading.step(element) {
                Ok(step) => steps.push(step),
                Err(fault) => faults.push(fault),
            },
            "label"
            | "ResponseTimeRepartition"
            | "CallLengthRepartition"
            | "Reference"
            | "Global"
            | "User" => {}
            other => {
                let instead = REFUSED.iter().find(|(refused, _)| *refused == other);
                let instead =
                    instead.map_or("there are send, recv, pause, timewait, nop and label", |(_, it)| *it);
                faults.push(element.fault(format!("<{other}> is not of the subset: {instead}")));
            }
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let has = |wanted: &dyn Fn(&Step) -> bool| steps.iter().any(wanted);
    let own_media = has(&|step| {
        let plays = step
            .actions
            .iter()
            .any(|it| matches!(it, Action::Media(Media::Play(_) | Media::Packets(_) | Media::Echo(true))));
        let names = |message: &Template| message.has(|it| *it == Keyword::OwnMediaPort);
        plays || matches!(&step.deed, Deed::Send(sending) if names(&sending.message))
    });
    let has_invite = has(&|step| match &step.deed {
        Deed::Send(sending) => sending.message.start == Start::Request("INVITE".to_owned()),
        Deed::Receive(receive) => matches!(&receive.wanted, Wanted::Request(method) if method == b"INVITE"),
        _ => false,
    });
    if names.len() > MOST_VARIABLES {
        return Err(one(root.fault(format!("{} variables; write {MOST_VARIABLES} at most", names.len()))));
    }
    let set = |name: &String| keys.get(name).filter(|_| shared.contains(name));
    let variables = names.iter().map(|name| Some(Value::Text(set(name)?.as_bytes().to_vec()))).collect();
    let shared = (0..names.len()).filter(|at| shared.contains(&names[*at])).collect();
    let path = path.to_owned();
    let scenario = Scenario { path, steps, variables, shared, fields, own_media, has_invite };
    check(&scenario, root).map_err(one)?;
    Ok(scenario)
}

/// The variables of `<Global>` and `<User>`: SIPp's `-set` gives them a value, as --scenario-key does here.
fn shared(root: Element<'_, '_>) -> Result<BTreeSet<String>, Fault> {
    let mut shared = BTreeSet::new();
    for element in root.elements().filter(|it| matches!(it.name(), "Global" | "User")) {
        element.only(&["variables"])?;
        shared.extend(element.must("variables", "a,b")?.split(',').map(|name| name.trim().to_owned()));
    }
    Ok(shared)
}

/// The labels: each has the index of the next step, or the index after the last one.
fn labels(root: Element<'_, '_>) -> Result<Labels, Fault> {
    let (mut labels, mut at) = (Labels::new(), 0);
    for element in root.elements() {
        match element.name() {
            "label" => {
                element.only(&["id"])?;
                let id = element.must("id", "1")?;
                if let Some((_, line)) = labels.insert(id.to_owned(), (at, element.line())) {
                    return Err(
                        element.fault(format!("the label {id} is at line {line} already; write another id"))
                    );
                }
            }
            "send" | "recv" | "pause" | "timewait" | "nop" => at += 1,
            _ => {}
        }
    }
    Ok(labels)
}

/// Checks that concern the whole scenario.
fn check(scenario: &Scenario, root: Element<'_, '_>) -> Result<(), Fault> {
    if !scenario.steps.iter().any(|step| matches!(step.deed, Deed::Send(_) | Deed::Receive(_))) {
        return Err(root.fault("nothing is sent or received; write a <send> or <recv>"));
    }
    // The first optional <recv> of those that wait for a further step.
    let mut optional: Option<&Step> = None;
    for (n, step) in scenario.steps.iter().enumerate() {
        match &step.deed {
            Deed::Receive(it) if it.optional != Optional::No => optional = optional.or(Some(step)),
            Deed::Receive(_) => optional = None,
            _ => {}
        }
        let is_last = n + 1 == scenario.steps.len();
        if let Some(waits) = optional.filter(|_| !matches!(step.deed, Deed::Receive(_))) {
            let reason = "an optional <recv> stands before something else than a <recv>: nobody could say how long to \
                          wait for it; write a <recv> that is not optional behind it";
            return Err((waits.line, reason.to_owned()));
        }
        if matches!(step.deed, Deed::TimeWait(_)) && !is_last {
            return Err((step.line, "<timewait> is the last step; write <pause>".to_owned()));
        }
    }
    Ok(())
}

impl Reading<'_> {
    fn step(&mut self, element: Element<'_, '_>) -> Result<Step, Fault> {
        if let Some(other) = element.elements().find(|it| it.name() != "action") {
            return Err(other.fault(format!(
                "<{}> in <{}>; write an <action>",
                other.name(),
                element.name()
            )));
        }
        let deed = match element.name() {
            "send" => self.send(element)?,
            "recv" => self.receive(element)?,
            "pause" => Deed::Pause(self.pause(element)?),
            "timewait" => {
                element.only(&["milliseconds"])?;
                Deed::TimeWait(millis(element.number("milliseconds")?.unwrap_or(4_000.0)))
            }
            _ => {
                only(element, &[])?;
                Deed::Nop
            }
        };
        let (only_if, inverse) = (element.get("condexec"), element.is("condexec_inverse")?);
        if inverse && only_if.is_none() {
            return Err(element.fault("condexec_inverse inverts nothing; write condexec=\"1\" beside it"));
        }
        Ok(Step {
            line: element.line(),
            deed,
            next: self.next(element)?,
            only_if: only_if.map(|name| (self.names.variable(name), !inverse)),
            actions: actions(self, element)?,
        })
    }

    fn next(&mut self, element: Element<'_, '_>) -> Result<Option<Next>, Fault> {
        let Some(label) = element.get("next") else { return Ok(None) };
        let chance = element.number("chance")?.unwrap_or(1.0);
        if chance > 1.0 {
            return Err(
                element.fault(format!("chance=\"{chance}\" is more than all; write 0 to 1, like 0.5"))
            );
        }
        let to = self.label(element, "next", label)?;
        Ok(Some(Next { to, test: element.get("test").map(|it| self.names.variable(it)), chance }))
    }

    fn label(&self, element: Element<'_, '_>, attribute: &str, label: &str) -> Result<usize, Fault> {
        self.labels.get(label).map(|(at, _)| *at).ok_or_else(|| {
            let mut known: Vec<_> =
                self.labels.iter().map(|(id, (_, line))| format!("{id} (line {line})")).collect();
            known.sort();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            element.fault(format!("{attribute}=\"{label}\": there is no such <label>; there are {known}"))
        })
    }

    fn send(&mut self, element: Element<'_, '_>) -> Result<Deed, Fault> {
        only(element, &["retrans", "lost", "start_txn"])?;
        let (text, line) = element.text()?;
        let message = Template::message(text, &mut self.names).map_err(|(at, reason)| (line + at, reason))?;
        let retransmit = element.number("retrans")?.filter(|it| *it > 0.0).map(millis);
        let transaction = self.transaction(element, "start_txn");
        Ok(Deed::Send(Sending { message, retransmit, lost: share(element)?, transaction }))
    }

    fn receive(&mut self, element: Element<'_, '_>) -> Result<Deed, Fault> {
        only(
            element,
            &[
                "request",
                "response",
                "regexp_match",
                "optional",
                "rrs",
                "auth",
                "ignoresdp",
                "timeout",
                "ontimeout",
                "lost",
                "response_txn",
            ],
        )?;
        let like = element.is("regexp_match")?;
        let wanted = match (element.get("request"), element.get("response")) {
            (Some(method), None) if like => Wanted::RequestLike(regex(element, method, false)?),
            (Some(method), None) => Wanted::Request(method.as_bytes().to_vec()),
            (None, Some(status)) if like => Wanted::ResponseLike(regex(element, status, false)?),
            (None, Some(status)) => match status.parse() {
                Ok(status @ 100..=699) => Wanted::Response(status),
                _ => {
                    return Err(
                        element.fault(format!("response=\"{status}\" is no status; write 100 to 699"))
                    );
                }
            },
            _ => {
                let reason = "<recv> waits for nothing, or for two things; write request=\"INVITE\" or response=\"200\"";
                return Err(element.fault(reason));
            }
        };
        let optional = match element.get("optional") {
            None | Some("false") => Optional::No,
            Some("true") => Optional::Yes,
            Some("global") => Optional::Global,
            Some(other) => {
                return Err(element.fault(format!("optional=\"{other}\"; write true, global or false")));
            }
        };
        let on_timeout =
            element.get("ontimeout").map(|label| self.label(element, "ontimeout", label)).transpose()?;
        Ok(Deed::Receive(Receive {
            wanted,
            optional,
            routes: element.is("rrs")?,
            challenge: element.is("auth")?,
            session: !element.is("ignoresdp")?,
            timeout: element.number("timeout")?.map(millis),
            on_timeout,
            lost: share(element)?,
            transaction: self.transaction(element, "response_txn"),
        }))
    }

    /// The variable of a named transaction; no scenario can write its name.
    fn transaction(&mut self, element: Element<'_, '_>, attribute: &str) -> Option<Variable> {
        element.get(attribute).map(|name| self.names.variable(&format!("{name} (transaction)")))
    }

    fn pause(&mut self, element: Element<'_, '_>) -> Result<Length, Fault> {
        let known = ["milliseconds", "variable", "distribution", "value", "min", "max", "mean", "stdev"];
        only(element, &known)?;
        let number = |name: &str| {
            let missing =
                || element.fault(format!("<pause> has no attribute {name}; write {name}=\"500\" (ms)"));
            element.number(name)?.ok_or_else(missing)
        };
        if let Some(name) = element.get("variable") {
            return Ok(Length::Variable(self.variable(name)));
        }
        let drawn = |holding| Ok(Length::Drawn(holding));
        match element.get("distribution") {
            None if element.get("min").is_none() => Ok(match element.number("milliseconds")? {
                Some(ms) => Length::Drawn(Holding::Fixed(ms / 1e3)),
                None => Length::Hold,
            }),
            Some("fixed") => drawn(Holding::Fixed(number("value")? / 1e3)),
            None | Some("uniform") => {
                let (min, max) = (number("min")?, number("max")?);
                if min > max {
                    return Err(element.fault(format!("min=\"{min}\" is above max=\"{max}\"; swap them")));
                }
                drawn(Holding::Uniform(min / 1e3, max / 1e3))
            }
            Some("exponential") => drawn(Holding::Exponential(number("mean")? / 1e3)),
            Some("normal") => Ok(Length::Normal(number("mean")?, number("stdev")?)),
            Some(other) => Err(element.fault(format!(
                "distribution=\"{other}\" is not of the subset: write fixed (value), uniform (min, max), normal \
                 (mean, stdev) or exponential (mean)"
            ))),
        }
    }

    fn variable(&mut self, name: &str) -> Variable {
        self.names.variable(name)
    }
}

/// Refuses attributes other than these and those of every step.
fn only(element: Element<'_, '_>, known: &[&str]) -> Result<(), Fault> {
    element.only(&[known, &COMMON].concat())
}

fn millis(ms: f64) -> Duration {
    Duration::from_secs_f64(ms / 1e3)
}

/// `lost` in percent, as a share.
fn share(element: Element<'_, '_>) -> Result<f64, Fault> {
    match element.number("lost")? {
        Some(percent) if percent > 100.0 => {
            Err(element.fault(format!("lost=\"{percent}\" is more than all; write percent, 0 to 100")))
        }
        percent => Ok(percent.unwrap_or_default() / 100.0),
    }
}

/// A regular expression with POSIX semantics: a dot is any octet, and letters are ASCII.
pub(super) fn regex(element: Element<'_, '_>, text: &str, any_case: bool) -> Result<Regex, Fault> {
    let built = RegexBuilder::new(text)
        .unicode(false)
        .dot_matches_new_line(true)
        .case_insensitive(any_case)
        .size_limit(1 << 20)
        .build();
    built.map_err(|error| {
        let why =
            error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        element.fault(format!("{text:?} is no regular expression that is understood here: {why}"))
    })
}
