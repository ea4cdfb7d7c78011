//! The names of a configuration: unique, and known to what refers to them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use ipnet::IpNet;

use super::parties::Gateway;
use super::{ConfigError, ConfigProblem};
use b2b_config::keys::nearest;
use b2b_config::section::Section;
use b2b_sip::msg::number;

/// The class of callers that are trusted only by address.
pub const TRUSTED_CLASS: &str = "trusted";

/// Named things that others refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    User,
    Gateway,
    Group,
    Route,
    App,
    Agent,
    Music,
    Listener,
}

impl What {
    /// For errors: the kind, and the kind of an existing one.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            What::User => ("user", "the user or alias"),
            What::Gateway => ("gateway", "the gateway"),
            What::Group => ("group", "the group"),
            What::Route => ("route", "the route"),
            What::App => ("application", "the application"),
            What::Agent => ("agent", "the agent"),
            What::Music => ("music", "the music"),
            What::Listener => ("listener", "the listener"),
        }
    }
}

/// Names read so far, each with its line.
#[derive(Debug, Default)]
pub struct Names {
    known: HashMap<What, HashMap<String, usize>>,
    /// The users' names and aliases that are numbers, by their digits: whose, and how they are spelt.
    spelt: HashMap<String, (String, String)>,
    classes: Vec<String>,
    sources: Vec<(IpNet, String)>,
    clients: Vec<(String, String)>,
    /// Gateways referred to before all are known: by which key, and where.
    wanted: Vec<(String, String, usize)>,
}

impl Names {
    /// Adds the name at a key.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn add(
        &mut self,
        what: What,
        section: &Section<'_>,
        key: &str,
        name: &str,
    ) -> Result<(), ConfigError> {
        match self.known.entry(what).or_default().entry(name.to_string()) {
            Entry::Vacant(free) => {
                free.insert(section.lines.line(section.place(key)));
                Ok(())
            }
            Entry::Occupied(taken) => {
                let (name, first) = (name.to_string(), *taken.get());
                Err(section.error(key, ConfigProblem::Taken { what: what.words().1, name, first }))
            }
        }
    }

    /// Adds a user's name or alias as it is dialled: of several that differ only by visual separators, one
    /// could not be reached by a phone that writes or drops them.
    ///
    /// # Errors
    /// If another user's differs only by them.
    pub fn spell(
        &mut self,
        section: &Section<'_>,
        key: &str,
        name: &str,
        user: &str,
    ) -> Result<(), ConfigError> {
        let Some(digits) = number::digits(name) else { return Ok(()) };
        let (owner, spelt) = self.spelt.entry(digits).or_insert_with(|| (user.to_string(), name.to_string()));
        if owner == user {
            return Ok(());
        }
        let reason =
            format!("it differs from {spelt:?} of user {owner} only by visual separators; rename one");
        Err(section.bad(key, section.place(key), name, reason))
    }

    /// Adds an application that exists without being configured.
    pub fn add_own_app(&mut self, name: &str) {
        self.known.entry(What::App).or_default().insert(name.to_string(), 0);
    }

    pub fn add_class(&mut self, class: &str) {
        if !self.has_class(class) {
            self.classes.push(class.to_string());
        }
    }

    /// Adds a gateway's sources. The same block on two gateways would give a call two origins.
    pub fn add_sources(&mut self, section: &Section<'_>, gateway: &Gateway) -> Result<(), ConfigError> {
        for net in &gateway.sources {
            if let Some((_, other)) = self.sources.iter().find(|(taken, _)| taken == net) {
                let reason = format!("it is already a source of the gateway {other:?}; keep one");
                return Err(section.bad("sources", section.place("sources"), &net.to_string(), reason));
            }
        }
        self.sources.extend(gateway.sources.iter().map(|net| (*net, gateway.name.clone())));
        Ok(())
    }

    /// The same for certificate names.
    pub fn add_clients(&mut self, section: &Section<'_>, gateway: &Gateway) -> Result<(), ConfigError> {
        for client in &gateway.tls.clients {
            if let Some((_, other)) = self.clients.iter().find(|(taken, _)| taken == client) {
                let reason = format!("it is already a name of the gateway {other:?}; keep one");
                return Err(section.bad("tls_client", section.place("tls_client"), client, reason));
            }
            self.clients.push((client.clone(), gateway.name.clone()));
        }
        Ok(())
    }

    pub fn has_class(&self, class: &str) -> bool {
        class == TRUSTED_CLASS || self.classes.iter().any(|known| known == class)
    }

    pub fn no_such_class(&self, key: String, class: &str) -> ConfigProblem {
        let known = self.classes.iter().map(String::as_str).chain([TRUSTED_CLASS]);
        no_such(key, "class of callers", class, known)
    }

    /// The problem if nothing has this name.
    pub fn no_such(&self, what: What, key: String, name: &str) -> Option<ConfigProblem> {
        let known = self.known.get(&what);
        let names = known.into_iter().flat_map(HashMap::keys).map(String::as_str);
        let is_there = known.is_some_and(|known| known.contains_key(name));
        (!is_there).then(|| no_such(key, what.words().0, name, names))
    }

    /// Whether something has this name.
    pub fn has(&self, what: What, name: &str) -> bool {
        self.known.get(&what).is_some_and(|known| known.contains_key(name))
    }

    /// The existing names, sorted.
    pub fn all(&self, what: What) -> Vec<&str> {
        let known = self.known.get(&what).into_iter().flat_map(HashMap::keys);
        let mut known: Vec<&str> = known.map(String::as_str).collect();
        known.sort_unstable();
        known
    }

    /// Notes a reference to a gateway that has to exist in the end.
    pub fn wants_gateway(&mut self, key: String, name: &str, at: usize) {
        self.wanted.push((key, name.to_string(), at));
    }

    /// The referenced gateways that do not exist, and where; every gateway is known by now.
    pub fn missing_gateways(&self) -> impl Iterator<Item = (usize, ConfigProblem)> {
        let missing = |(key, name, at): &(String, String, usize)| {
            Some((*at, self.no_such(What::Gateway, key.clone(), name)?))
        };
        self.wanted.iter().filter_map(missing)
    }
}

fn no_such<'a>(
    key: String,
    what: &'static str,
    name: &str,
    known: impl Iterator<Item = &'a str>,
) -> ConfigProblem {
    // sorted, so that the suggestion among equally near ones is stable
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    let hint = match nearest(name, known.into_iter()) {
        Some(nearest) => format!("; did you mean {nearest:?}?"),
        None => format!("; no {what} is configured"),
    };
    ConfigProblem::NoSuch { key, what, name: name.to_string(), hint }
}
