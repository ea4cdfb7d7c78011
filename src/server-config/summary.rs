//! `--dry-run`: a readable summary of a configuration.

use super::capacity::Capacity;
use super::tokens::MainToken;
use super::{Action, Carrier, Route, ServerConfig, Store, Target};
use b2b_sip::msg::Method;

impl ServerConfig {
    /// The configuration in a page. `descriptors` is the descriptor limit of the process.
    pub fn summary(&self, descriptors: usize) -> Vec<String> {
        let server = &self.server;
        let listen: Vec<String> = server.listen.iter().map(ToString::to_string).collect();
        let advertise = server.advertise.iter().map(|advertise| match advertise.port {
            Some(port) => format!(", advertised as {}:{port}", advertise.host),
            None => format!(", advertised as {}", advertise.host),
        });
        let mut lines = Vec::new();
        if !listen.is_empty() {
            lines.push(format!("listen    {}{}", listen.join(", "), advertise.collect::<String>()));
        }
        for it in &self.listeners {
            let all: Vec<String> = it.listen.iter().map(ToString::to_string).collect();
            let told: Vec<&str> = it.advertise.iter().map(|it| it.host.as_str()).collect();
            let told =
                if told.is_empty() { String::new() } else { format!(", advertised as {}", told.join(", ")) };
            lines.push(format!("listener  {}: {}{told}", it.name, all.join(", ")));
        }
        if !server.domains.is_empty() {
            lines.push(format!("domains   {}", server.domains.join(", ")));
        }
        lines.push(format!("realm     {}", server.realm));
        let trusted: Vec<String> = server.trusted.iter().map(ToString::to_string).collect();
        lines.push(match trusted.as_slice() {
            [] => "trusted   none: every caller gives a password or is a gateway".to_string(),
            nets => format!("trusted   {}", nets.join(", ")),
        });
        lines.push(match &self.http {
            None => "http      off".to_string(),
            Some(http) => format!("http      {}, {}", http.bind, token(&http.token)),
        });
        lines.push(match &server.store {
            Store::Memory => "bindings  in memory: lost at a restart".to_string(),
            Store::Sqlite(path) => format!("bindings  {}", path.display()),
        });
        lines.push(match &server.cdr {
            None => "records   none".to_string(),
            Some(path) => format!("records   {}", path.display()),
        });
        if let (Store::Sqlite(path), 1..) = (&self.ended_calls.store, self.ended_calls.calls) {
            lines.push(format!("ended     {}", path.display()));
        }
        if !self.log.call_journals {
            lines.push("journals  none: calls cannot be replayed".to_string());
        }
        if let Some(folder) = &self.recording.folder {
            lines.push(format!("recording {}", folder.display()));
        }
        let (first, last) = self.media.ports;
        lines.push(match &self.media.controller {
            Carrier::Embedded => format!("media     ports {first}-{last}"),
            other => format!("media     by {other}"),
        });
        let cores = b2b_base::util::process::cores();
        lines.push(format!("capacity  {}", Capacity::of(self, descriptors, cores)));
        lines.push(String::new());
        lines.push(format!("users     {}{}", self.users.len(), self.classes()));
        for gateway in &self.gateways {
            let hosts: Vec<String> = gateway.hosts.iter().map(ToString::to_string).collect();
            let mut notes = Vec::new();
            if let Some(profiled) = &gateway.profile {
                notes.push(format!("profile {}", profiled.profile.name()));
            }
            if gateway.register.is_some() {
                notes.push("registers".to_string());
            }
            if let Some(channels) = gateway.channels {
                notes.push(format!("{channels} channels"));
            }
            if !gateway.sources.is_empty() {
                let sources: Vec<String> = gateway.sources.iter().map(ToString::to_string).collect();
                notes.push(format!("calls from {}", sources.join(", ")));
            }
            let notes = if notes.is_empty() { String::new() } else { format!("; {}", notes.join("; ")) };
            lines.push(format!("gateway   {}: {}{notes}", gateway.name, hosts.join(", ")));
        }
        if let Some(emergency) = &self.emergency {
            lines.push(format!(
                "emergency {} by {}",
                emergency.numbers.join(", "),
                emergency.gateways.join(", ")
            ));
        }
        for group in &self.groups {
            let members = listed(&group.members);
            lines.push(format!("group     {}: {}, {members}", group.name, group.strategy.as_str()));
        }
        lines.extend(self.apps.summary());
        lines.push(String::new());
        lines.extend(self.routes.iter().map(|route| {
            let Route { name, line, .. } = route;
            format!("route     {name} (line {line}): {} -> {}", route.matches(), route.leads_to())
        }));
        lines.extend(
            self.warnings()
                .into_iter()
                .chain(self.missing_folder())
                .map(|warning| format!("warning   {warning}")),
        );
        lines.extend(self.apps.graphs());
        lines
    }

    /// The number of users by class.
    fn classes(&self) -> String {
        let mut classes: Vec<(&str, usize)> = Vec::new();
        for user in &self.users {
            match classes.iter_mut().find(|(class, _)| *class == user.class) {
                Some((_, count)) => *count += 1,
                None => classes.push((&user.class, 1)),
            }
        }
        let classes: Vec<String> = classes.iter().map(|(class, count)| format!("{count} {class}")).collect();
        if classes.is_empty() { String::new() } else { format!(": {}", classes.join(", ")) }
    }
}

fn listed(targets: &[Target]) -> String {
    targets.iter().map(Target::to_string).collect::<Vec<_>>().join(", ")
}

impl Route {
    /// The conditions, in words: `called 0(\d+), class internal`.
    pub fn matches(&self) -> String {
        let mut conditions = Vec::new();
        conditions.extend(self.called.as_ref().map(|pattern| format!("called {pattern}")));
        conditions.extend(self.caller.as_ref().map(|pattern| format!("caller {pattern}")));
        if !self.classes.is_empty() {
            conditions.push(format!("class {}", self.classes.join(" or ")));
        }
        if !self.sources.is_empty() {
            let sources: Vec<String> = self.sources.iter().map(ToString::to_string).collect();
            conditions.push(format!("from {}", sources.join(" or ")));
        }
        if !self.verstat.is_empty() {
            let verstat: Vec<&str> = self.verstat.iter().map(|it| it.as_str()).collect();
            conditions.push(format!("verstat {}", verstat.join(" or ")));
        }
        if self.methods != [Method::Invite] {
            let methods: Vec<String> = self.methods.iter().map(ToString::to_string).collect();
            conditions.push(methods.join(" or "));
        }
        if conditions.is_empty() { "anything".to_string() } else { conditions.join(", ") }
    }

    /// The targets, in words: `gateway/carrier/+44$1`.
    pub fn leads_to(&self) -> String {
        match &self.action {
            Action::Dial { targets, policy } if targets.len() > 1 => {
                format!("{} ({})", listed(targets), policy.strategy.as_str())
            }
            Action::Dial { targets, .. } => listed(targets),
            Action::Reject { status, .. } => format!("answer {status}"),
            Action::App { name, .. } => format!("app {name}"),
        }
    }
}

fn token(token: &MainToken) -> String {
    match token {
        MainToken::Given(_) | MainToken::Absent => "with a token".to_string(),
        MainToken::Made(path) => format!("with the token in {}, created at the first start", path.display()),
        MainToken::Off => "without a token, for every program on this machine".to_string(),
    }
}
