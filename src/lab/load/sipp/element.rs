//! An element of a scenario's XML; errors carry its line.

use std::path::{Path, PathBuf};

use roxmltree::{Document, Node};

/// An error in a scenario.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("{path}: {error}; choose an existing SIPp XML file")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system error.
        error: std::io::Error,
    },
    /// Lines are invalid, or outside the subset.
    #[error("{}", told(path, faults))]
    Lines {
        /// The file.
        path: PathBuf,
        /// The lines, each with its reason and the replacement.
        faults: Vec<Fault>,
    },
}

/// A line, from 1, and its error with the replacement.
pub type Fault = (u32, String);

fn told(path: &Path, faults: &[Fault]) -> String {
    let lines = faults.iter().map(|(line, reason)| format!("{}: line {line}: {reason}", path.display()));
    lines.collect::<Vec<_>>().join("\n")
}

/// Where the lines of a text begin.
pub struct Lines(Vec<usize>);

impl Lines {
    /// Those of this text.
    pub fn new(text: &str) -> Self {
        Lines(text.match_indices('\n').map(|(at, _)| at + 1).collect())
    }

    /// The line of an octet, from 1.
    pub fn of(&self, at: usize) -> u32 {
        u32::try_from(self.0.partition_point(|begin| *begin <= at) + 1).unwrap_or(u32::MAX)
    }
}

/// An element.
#[derive(Clone, Copy)]
pub struct Element<'a, 'input> {
    lines: &'a Lines,
    node: Node<'a, 'input>,
}

/// Attributes of SIPp's statistics and screens, which have no effect here.
/// The branch of an ACK is what its message says, as in SIPp: `ack_txn` only counts there.
const IGNORED: [&str; 10] =
    ["rtd", "start_rtd", "repeat_rtd", "crlf", "counter", "hide", "display", "sanity_check", "ack_txn", "id"];

/// Attributes outside the subset, and their replacements.
const REFUSED: [(&str, &str); 1] = [("advance_state", "write optional=\"true\"")];

impl<'a, 'input> Element<'a, 'input> {
    /// The root.
    pub fn root(document: &'a Document<'input>, lines: &'a Lines) -> Self {
        Element { lines, node: document.root_element() }
    }

    /// Its name.
    pub fn name(self) -> &'a str {
        self.node.tag_name().name()
    }

    /// Its first line, from 1.
    pub fn line(self) -> u32 {
        self.lines.of(self.node.range().start)
    }

    /// The child elements.
    pub fn elements(self) -> impl Iterator<Item = Element<'a, 'input>> {
        let lines = self.lines;
        self.node.children().filter(Node::is_element).map(move |node| Element { lines, node })
    }

    /// The text inside, and its first line.
    pub fn text(self) -> Result<(&'a str, u32), Fault> {
        let mut texts = self.node.children().filter(Node::is_text);
        let mut written = texts.by_ref().filter(|node| node.text().is_some_and(|it| !it.trim().is_empty()));
        let Some(text) = written.next() else { return Ok(("", self.line())) };
        if let Some(second) = written.next() {
            let line = self.lines.of(second.range().start);
            return Err((line, format!("a second message in <{}>; write an element for each", self.name())));
        }
        Ok((text.text().unwrap_or_default(), self.lines.of(text.range().start)))
    }

    /// An error at this element.
    pub fn fault(self, reason: impl Into<String>) -> Fault {
        (self.line(), reason.into())
    }

    /// An attribute.
    pub fn get(self, name: &str) -> Option<&'a str> {
        self.node.attribute(name)
    }

    /// A mandatory attribute; `like`: an example value.
    pub fn must(self, name: &str, like: &str) -> Result<&'a str, Fault> {
        self.get(name).ok_or_else(|| {
            self.fault(format!("<{}> has no attribute {name}; write {name}=\"{like}\"", self.name()))
        })
    }

    /// A boolean attribute; false if missing.
    pub fn is(self, name: &str) -> Result<bool, Fault> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(self.fault(format!("{name}=\"{other}\" is neither true nor false"))),
        }
    }

    /// A number of any size.
    pub fn real(self, name: &str) -> Result<Option<f64>, Fault> {
        // SIPp takes an empty value as 0
        let number = |text: &str| match text.trim() {
            "" => Some(0.0),
            text => text.parse().ok().filter(|it: &f64| it.is_finite()),
        };
        let read = self
            .get(name)
            .map(|text| number(text).ok_or_else(|| self.fault(format!("{name}=\"{text}\" is not a number"))));
        read.transpose()
    }

    /// A numeric attribute, at least 0.
    pub fn number(self, name: &str) -> Result<Option<f64>, Fault> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.trim().parse::<f64>() {
            Ok(number) if (0.0..=86_400_000.0).contains(&number) => Ok(Some(number)),
            _ => Err(self.fault(format!("{name}=\"{text}\" is not a number from 0 to 86400000"))),
        }
    }

    /// Refuses attributes other than these.
    pub fn only(self, known: &[&str]) -> Result<(), Fault> {
        for attribute in self.node.attributes() {
            let name = attribute.name();
            if known.contains(&name) || IGNORED.contains(&name) {
                continue;
            }
            let line = self.lines.of(attribute.range().start);
            let instead = match REFUSED.iter().find(|(refused, _)| *refused == name) {
                Some((_, instead)) => (*instead).to_owned(),
                None if known.is_empty() => "leave it out".to_owned(),
                None => format!("leave it out; there are {}", known.join(", ")),
            };
            return Err((
                line,
                format!("the attribute {name} of <{}> is not of the subset: {instead}", self.name()),
            ));
        }
        Ok(())
    }
}
