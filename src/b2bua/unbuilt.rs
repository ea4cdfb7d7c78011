//! What a configuration asks for that this server does not do yet. It starts all the
//! same and says so; the list gets shorter as the parts come.

use crate::config::server::{Action, MediaPath, Route, ServerConfig};

/// A line for each, for the log and the dry run.
pub fn unbuilt(config: &ServerConfig) -> Vec<String> {
    let mut lines = Vec::new();
    for route in &config.routes {
        let keys = route_keys(route);
        if !keys.is_empty() {
            let (name, line) = (&route.name, route.line);
            lines.push(format!("route {name} (line {line}): not in force yet: {}", keys.join(", ")));
        }
    }
    lines
}

fn route_keys(route: &Route) -> Vec<&'static str> {
    let policy = match &route.action {
        Action::Dial { policy, .. } => policy,
        Action::App { .. } => return vec!["app"],
        Action::Reject { .. } => return Vec::new(),
    };
    let asked = [(policy.media == MediaPath::Direct, "media"), (!policy.headers.is_empty(), "headers")];
    asked.into_iter().filter_map(|(asked, key)| asked.then_some(key)).collect()
}
