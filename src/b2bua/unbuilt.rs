//! What a configuration asks for that this server does not do yet. It starts all the
//! same and says so; the list gets shorter as the parts come.

use crate::config::server::{Action, ServerConfig};

/// A line for each, for the log and the dry run.
pub fn unbuilt(config: &ServerConfig) -> Vec<String> {
    let mut lines = Vec::new();
    for route in &config.routes {
        if let Action::App { name: app } = &route.action {
            let (name, line) = (&route.name, route.line);
            lines.push(format!("route {name} (line {line}): there is no application {app} yet"));
        }
    }
    lines
}
