//! A flow as a Mermaid graph: `--dry-run` prints it, and Markdown pages show it.

use std::fmt::Write as _;

use super::flow::{Does, IvrFlow, Node, Way};

impl IvrFlow {
    /// The graph, line by line.
    pub fn mermaid(&self) -> Vec<String> {
        let mut lines = vec!["flowchart TD".to_owned()];
        let number = |name: &str| self.nodes.iter().position(|node| node.name == name);
        if let Some(start) = number(&self.start) {
            lines.push(format!("  start(({})) --> n{start}", quoted(&self.name)));
        }
        for (index, node) in self.nodes.iter().enumerate() {
            let label = quoted(&label(node));
            let (open, close) = match node.does {
                Does::Menu { .. } | Does::CollectInput { .. } => ("{{", "}}"),
                Does::Branch { .. } | Does::Http { .. } => ("{", "}"),
                Does::Hangup | Does::Hand { .. } | Does::Transfer { .. } => ("([", "])"),
                Does::PlayPrompt { .. } | Does::Set { .. } => ("[", "]"),
            };
            lines.push(format!("  n{index}{open}{label}{close}"));
        }
        let mut ends = false;
        for (index, node) in self.nodes.iter().enumerate() {
            for (way, to) in node.ways() {
                let arrow = match words(way) {
                    Some(words) => format!("-- {} -->", quoted(&words)),
                    None => "-->".to_owned(),
                };
                let to = match to {
                    Some(to) => format!("n{}", number(to).unwrap_or_default()),
                    None => {
                        ends = true;
                        "hangs_up".to_owned()
                    }
                };
                lines.push(format!("  n{index} {arrow} {to}"));
            }
        }
        if ends {
            lines.push("  hangs_up([\"hangs up\"])".to_owned());
        }
        lines
    }
}

fn label(node: &Node) -> String {
    let mut label = format!("{}: {}", node.name, node.kind());
    let what = match &node.does {
        Does::Transfer { to, .. } => Some(to.to_string()),
        Does::Hand { app } => Some(app.to_string()),
        Does::CollectInput { variable, .. } => Some(format!("${{{variable}}}")),
        Does::Branch { of, .. } => Some(of.to_string()),
        Does::Http { url, .. } => Some(url.to_string()),
        Does::Set { values, .. } => Some(
            values.iter().map(|(name, value)| format!("{name} = {value}")).collect::<Vec<_>>().join(", "),
        ),
        Does::PlayPrompt { .. } | Does::Menu { .. } | Does::Hangup => None,
    };
    if let Some(what) = what {
        // Writing to a string cannot fail.
        let _ = write!(label, " {what}");
    }
    label
}

fn words(way: Way<'_>) -> Option<String> {
    match way {
        Way::Next => None,
        Way::Choice(keys) => Some(keys.to_owned()),
        Way::NoInput => Some("no input".to_owned()),
        Way::Invalid => Some("invalid".to_owned()),
        Way::Case(case) => Some(case.words()),
        Way::Otherwise => Some("otherwise".to_owned()),
        Way::Failed => Some("failed".to_owned()),
        Way::Named => Some("answer".to_owned()),
    }
}

/// The text in quotes, with entities for characters that would end them.
fn quoted(text: &str) -> String {
    format!(
        "\"{}\"",
        text.replace('&', "&amp;").replace('"', "#quot;").replace('<', "&lt;").replace('>', "&gt;")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_and_way_is_in_the_graph() {
        let flow = IvrFlow::builder("main")
            .menu("top", "menu.wav", &[("1", "a"), ("*", "bye")])
            .branch("a", "${caller}", &[("+44*", "b")], None)
            .transfer("b", "user/1001", Some("bye"))
            .hangup("bye")
            .build()
            .unwrap();
        let graph = flow.mermaid();
        for line in [
            "flowchart TD",
            "  start((\"main\")) --> n0",
            "  n0{{\"top: menu\"}}",
            "  n0 -- \"1\" --> n1",
            "  n0 -- \"no input\" --> hangs_up",
            "  n1{\"a: branch ${caller}\"}",
            "  n1 -- \"+44*\" --> n2",
            "  n2([\"b: transfer user/1001\"])",
            "  n2 -- \"failed\" --> n3",
        ] {
            assert!(graph.iter().any(|it| it == line), "{line}\nin\n{}", graph.join("\n"));
        }
    }
}
