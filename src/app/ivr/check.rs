//! Finds errors in a flow before it is used. Pure; a callback checks prompt files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::flow::{Does, IvrFlow, Node, Say, Way};
use super::template::{Variables, is_name};
use crate::prompts::Prompts;
use b2b_call::controller::Part;

/// An error in a flow, at one of its nodes or as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", .node.as_ref().map(|node| format!("node {node:?}: ")).unwrap_or_default())]
pub struct FlowError {
    /// `None`: the flow as a whole.
    pub node: Option<String>,
    pub problem: FlowProblem,
}

/// The possible errors of a flow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlowProblem {
    #[error("a flow has at least one node; add one")]
    Empty,
    #[error("two nodes have this name; give one of them another")]
    Twice,
    #[error("it leads to {0:?}, which is not a node of the flow; correct the name, or add the node")]
    Unknown(String),
    #[error("start is {0:?}, which is not a node of the flow; correct start")]
    NoStart(String),
    #[error("the node is unreachable; add a way to it, or remove it")]
    Unreachable,
    #[error("the call never ends from here; lead it to a hangup, transfer or another application")]
    NoEnd,
    #[error(
        "a caller without input never leaves these nodes ({0}); lead one of them elsewhere with no_input or failed"
    )]
    Circle(String),
    /// A prompt file that does not exist or cannot be played, in the words of the check.
    #[error("{0}")]
    Prompt(String),
    #[error("a menu needs choices, like choices = {{ 1 = \"sales\" }}")]
    NoChoices,
    #[error("{0:?} cannot be pressed; the keys are 0 to 9, *, # and A to D")]
    Keys(String),
    #[error("{0:?} is there twice; remove one")]
    ChoiceTwice(String),
    #[error("{0:?} ends the input (terminators), so it cannot be a choice")]
    Terminates(String),
    #[error("{0:?} is not a variable name; use letters, digits and _ only, 64 at most")]
    Variable(String),
    #[error("max = {most} is below min = {least}; raise max")]
    Least { least: usize, most: usize },
    #[error("{what} cannot be 0; remove it for the default value")]
    Zero { what: &'static str },
    #[error("{0:?} cannot have a variable before its first /: the caller would choose what is dialled")]
    Open(String),
}

/// Checks that a prompt file can be played, or tells why not.
pub type CheckPrompt<'a> = &'a dyn Fn(&Path) -> Result<(), String>;

/// Returns the first error.
///
/// # Errors
/// See [`FlowProblem`].
pub fn check(flow: &IvrFlow, prompts: &Prompts, check_prompt: CheckPrompt<'_>) -> Result<(), FlowError> {
    let at = |node: &Node, problem| FlowError { node: Some(node.name.clone()), problem };
    let whole = |problem| FlowError { node: None, problem };
    if flow.nodes.is_empty() {
        return Err(whole(FlowProblem::Empty));
    }
    let mut names = BTreeSet::new();
    for node in &flow.nodes {
        if !names.insert(node.name.as_str()) {
            return Err(at(node, FlowProblem::Twice));
        }
    }
    if !names.contains(flow.start.as_str()) {
        return Err(whole(FlowProblem::NoStart(flow.start.clone())));
    }
    for node in &flow.nodes {
        let unknown = node.ways().into_iter().filter_map(|(_, to)| to).find(|to| !names.contains(to));
        if let Some(to) = unknown {
            return Err(at(node, FlowProblem::Unknown(to.to_owned())));
        }
        alone(node).map_err(|problem| at(node, problem))?;
        for say in node.says() {
            playable(say, prompts, check_prompt).map_err(|problem| at(node, problem))?;
        }
    }
    graph(flow).map_err(|(node, problem)| at(node, problem))
}

/// Checks a node on its own.
fn alone(node: &Node) -> Result<(), FlowProblem> {
    match &node.does {
        Does::CollectInput { ask, variable, least, .. } => {
            if !is_name(variable) {
                return Err(FlowProblem::Variable(variable.clone()));
            }
            if *least > ask.plan.max {
                return Err(FlowProblem::Least { least: *least, most: ask.plan.max });
            }
            nonzero(&[("max", ask.plan.max == 0), ("tries", ask.tries == 0)])
        }
        Does::Menu { ask, choices } => {
            let key = |c: char| matches!(c, '0'..='9' | '*' | '#' | 'A'..='D');
            let mut seen = BTreeSet::new();
            for (keys, _) in choices {
                if keys.is_empty() || !keys.chars().all(key) {
                    return Err(FlowProblem::Keys(keys.clone()));
                }
                if !seen.insert(keys) {
                    return Err(FlowProblem::ChoiceTwice(keys.clone()));
                }
                if let Some(ends) = keys.chars().find(|c| ask.plan.terminators.contains(*c)) {
                    return Err(FlowProblem::Terminates(ends.to_string()));
                }
            }
            if choices.is_empty() {
                return Err(FlowProblem::NoChoices);
            }
            nonzero(&[("tries", ask.tries == 0)])
        }
        Does::Set { values, .. } => match values.iter().find(|(name, _)| !is_name(name)) {
            Some((name, _)) => Err(FlowProblem::Variable(name.clone())),
            None => Ok(()),
        },
        // A caller may choose an extension, but not the kind of target.
        Does::Hand { app: to } | Does::Transfer { to, .. } => {
            let beginning = to.beginning();
            let kind = beginning.contains('/');
            let number = to.fill(&Variables::new()).chars().all(|c| c.is_ascii_digit() || "+*#".contains(c));
            match to.literal().is_some() || kind || number {
                true => Ok(()),
                false => Err(FlowProblem::Open(to.as_str().to_owned())),
            }
        }
        _ => Ok(()),
    }
}

fn nonzero(given: &[(&'static str, bool)]) -> Result<(), FlowProblem> {
    match given.iter().find(|(_, zero)| *zero) {
        Some((what, _)) => Err(FlowProblem::Zero { what }),
        None => Ok(()),
    }
}

fn playable(say: &Say, prompts: &Prompts, check_prompt: CheckPrompt<'_>) -> Result<(), FlowProblem> {
    let files = match say {
        Say::Part(Part::File(path)) => vec![path.clone()],
        Say::Part(_) => Vec::new(),
        Say::Digits(_) => prompts.digit_files(),
    };
    files.iter().try_for_each(|path| check_prompt(path)).map_err(FlowProblem::Prompt)
}

/// Finds unreachable nodes, nodes without an exit, and loops.
fn graph(flow: &IvrFlow) -> Result<(), (&Node, FlowProblem)> {
    let nodes: BTreeMap<&str, &Node> = flow.nodes.iter().map(|node| (node.name.as_str(), node)).collect();
    let ways = |name: &str| nodes.get(name).map(|node| targets(flow, node)).unwrap_or_default();
    let reached = spread(vec![flow.start.as_str()], &ways);
    if let Some(node) = flow.nodes.iter().find(|node| !reached.contains(node.name.as_str())) {
        return Err((node, FlowProblem::Unreachable));
    }
    let back = |name: &str| {
        let from = flow.nodes.iter().filter(|node| targets(flow, node).contains(&name));
        from.map(|node| node.name.as_str()).collect()
    };
    let ends = flow.nodes.iter().filter(|node| node.may_end()).map(|node| node.name.as_str());
    let ending = spread(ends.collect(), &back);
    if let Some(node) = flow.nodes.iter().find(|node| !ending.contains(node.name.as_str())) {
        return Err((node, FlowProblem::NoEnd));
    }
    for node in &flow.nodes {
        if let Some(circle) = circle(&nodes, node) {
            return Err((node, FlowProblem::Circle(circle)));
        }
    }
    Ok(())
}

/// The possible next nodes. A URL that may name any node may lead anywhere.
fn targets<'a>(flow: &'a IvrFlow, node: &'a Node) -> Vec<&'a str> {
    match &node.does {
        Does::Http { may_name, .. } if may_name.is_empty() => {
            flow.nodes.iter().map(|node| node.name.as_str()).collect()
        }
        _ => node.ways().into_iter().filter_map(|(_, to)| to).collect(),
    }
}

/// Everything reachable from these nodes.
fn spread<'a>(mut from: Vec<&'a str>, ways: &dyn Fn(&str) -> Vec<&'a str>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    while let Some(name) = from.pop() {
        if reached.insert(name) {
            from.extend(ways(name));
        }
    }
    reached
}

/// A loop back to this node that a caller who presses nothing takes.
fn circle(nodes: &BTreeMap<&str, &Node>, start: &Node) -> Option<String> {
    let mut seen = BTreeSet::new();
    let mut ways = vec![vec![start]];
    while let Some(way) = ways.pop() {
        let Some(last) = way.last() else { continue };
        for to in silent(last) {
            let Some(node) = nodes.get(to) else { continue };
            if node.name == start.name {
                let names: Vec<&str> = way.iter().map(|node| node.name.as_str()).chain([to]).collect();
                return Some(names.join(" -> "));
            }
            if seen.insert(to) {
                ways.push(way.iter().copied().chain([*node]).collect());
            }
        }
    }
    None
}

/// The next nodes for a caller who presses nothing, as far as the flow decides.
fn silent(node: &Node) -> Vec<&str> {
    let presses = |way: &Way<'_>| match way {
        Way::Choice(_) | Way::Invalid | Way::Named => true,
        Way::Next => matches!(node.does, Does::CollectInput { .. }),
        Way::NoInput | Way::Case(_) | Way::Otherwise | Way::Failed => false,
    };
    node.ways().into_iter().filter(|(way, _)| !presses(way)).filter_map(|(_, to)| to).collect()
}

#[cfg(test)]
mod tests;
