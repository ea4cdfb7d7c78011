//! Which realms get a gateway's password: those that its own hosts have asked for, kept over restarts in a
//! file. A party behind a gateway can send a challenge, too, and could guess the password from the response.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use crossbeam_channel::{Sender, unbounded};

use crate::config::{Gateway, ServerConfig, Store};

/// Maximum realms of one gateway.
const MAX_REALMS: usize = 16;

/// Maximum octets of a learned realm.
const LONGEST: usize = 255;

/// Maximum octets of the file.
const LARGEST: u64 = 1 << 20;

/// Realms by gateway.
#[derive(Debug, Default)]
pub struct Realms {
    known: BTreeMap<String, Vec<String>>,
    /// Sender to the thread that writes the file; `None`: the realms are lost at a restart.
    file: Option<Sender<String>>,
}

/// Which realms of a challenge may be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answerable {
    /// Only these realms.
    Realms(Vec<String>),
    /// None of the realms asked for; the first of them.
    Refused(String),
}

impl Realms {
    /// The realms for this configuration, in a file beside the registrar's store, if there is one.
    pub fn beside(config: &ServerConfig) -> Self {
        match &config.server.store {
            Store::Memory => Realms::default(),
            Store::Sqlite(store) => {
                let mut path = store.clone().into_os_string();
                path.push(".realms");
                Realms::open(PathBuf::from(path))
            }
        }
    }

    /// The realms from this file, if it exists.
    fn open(path: PathBuf) -> Self {
        let known = read(&path).unwrap_or_else(|error| {
            if error.kind() != std::io::ErrorKind::NotFound {
                tracing::warn!(
                    "{}: the realms of gateways cannot be read: {error}; the next challenges replace them",
                    path.display()
                );
            }
            BTreeMap::new()
        });
        let (file, texts) = unbounded::<String>();
        let write_all = move || {
            for text in texts {
                if let Err(error) = write(&path, &text) {
                    tracing::warn!("{}: the realms of gateways cannot be written: {error}", path.display());
                }
            }
        };
        let thread = std::thread::Builder::new().name("realms".into()).spawn(write_all);
        Realms { known, file: thread.is_ok().then_some(file) }
    }

    /// A host of the gateway itself has asked for these, in response to REGISTER or OPTIONS, which no party
    /// behind it answers.
    pub fn learn(&mut self, gateway: &Gateway, asked: Vec<String>) {
        if gateway.auth.is_none() {
            return;
        }
        let known = self.known.entry(key(gateway)).or_default();
        let before = known.len();
        for realm in asked {
            if known.len() < MAX_REALMS && realm.len() <= LONGEST && !known.contains(&realm) {
                known.push(realm);
            }
        }
        if known.len() > before {
            self.keep();
        }
    }

    /// Which realms of a challenge to an INVITE or BYE may be answered. Where none is known yet, the first
    /// one is accepted.
    pub fn answerable(&mut self, gateway: &Gateway, asked: &[String]) -> Answerable {
        let Some(first) = asked.first() else { return Answerable::Realms(Vec::new()) };
        let allowed = match gateway.realms.is_empty() {
            false => gateway.realms.clone(),
            true => {
                if self.known.get(&key(gateway)).is_none_or(Vec::is_empty) {
                    self.learn(gateway, vec![first.clone()]);
                }
                self.known.get(&key(gateway)).cloned().unwrap_or_default()
            }
        };
        match asked.iter().any(|realm| allowed.contains(realm)) {
            true => Answerable::Realms(allowed),
            false => Answerable::Refused(first.clone()),
        }
    }

    /// The known realms of a gateway: configured or learned.
    pub fn of<'a>(&'a self, gateway: &'a Gateway) -> &'a [String] {
        match gateway.realms.is_empty() {
            false => &gateway.realms,
            true => self.known.get(&key(gateway)).map(Vec::as_slice).unwrap_or_default(),
        }
    }

    fn keep(&self) {
        if let (Some(file), Ok(text)) = (&self.file, serde_json::to_string_pretty(&self.known)) {
            let _ = file.send(text);
        }
    }
}

/// A gateway with other hosts or another account gets a new entry.
fn key(gateway: &Gateway) -> String {
    let hosts: Vec<String> = gateway.hosts.iter().map(ToString::to_string).collect();
    let user = gateway.auth.as_ref().map_or("", |auth| auth.username.as_str());
    format!("{} {user} {}", gateway.name, hosts.join(","))
}

fn read(path: &Path) -> std::io::Result<BTreeMap<String, Vec<String>>> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(LARGEST).read_to_string(&mut text)?;
    serde_json::from_str(&text).map_err(std::io::Error::other)
}

/// Writes the file as a whole, or leaves the old one.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let mut file = std::fs::File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_alone;

    fn gateway(lines: &str) -> Gateway {
        let text = format!(
            "[[gateway]]\nname = \"carrier\"\nhosts = \"192.0.2.9\"\nusername = \"u\"\npassword = \"p\"\n{lines}"
        );
        parse_alone(&text).unwrap().gateways.remove(0)
    }

    fn realms(of: &[&str]) -> Vec<String> {
        of.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_first_realm_is_taken_where_none_is_known_and_others_only_from_the_hosts_themselves() {
        let (gateway, mut known) = (gateway(""), Realms::default());
        let first = known.answerable(&gateway, &realms(&["carrier.example"]));
        assert_eq!(first, Answerable::Realms(realms(&["carrier.example"])));
        let evil = realms(&["evil.example"]);
        assert_eq!(known.answerable(&gateway, &evil), Answerable::Refused("evil.example".into()));
        // A forking proxy sends several challenges: only the one with the known realm is answered.
        let both = known.answerable(&gateway, &realms(&["evil.example", "carrier.example"]));
        assert_eq!(both, Answerable::Realms(realms(&["carrier.example"])));
        known.learn(&gateway, realms(&["node2.example"]));
        assert!(matches!(known.answerable(&gateway, &realms(&["node2.example"])), Answerable::Realms(_)));
    }

    #[test]
    fn the_configured_realms_are_the_only_ones() {
        let (gateway, mut known) = (gateway("realm = [\"a\", \"b\"]\n"), Realms::default());
        known.learn(&gateway, realms(&["c"]));
        assert_eq!(known.answerable(&gateway, &realms(&["c"])), Answerable::Refused("c".into()));
        assert_eq!(known.answerable(&gateway, &realms(&["b"])), Answerable::Realms(realms(&["a", "b"])));
    }

    #[test]
    fn they_are_kept_over_a_restart_and_another_account_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b2b.sqlite.realms");
        let carrier = gateway("");
        Realms::open(path.clone()).learn(&carrier, realms(&["carrier.example"]));
        let end = std::time::Duration::from_millis(10);
        while !path.exists() {
            std::thread::sleep(end);
        }
        let known = Realms::open(path);
        assert_eq!(known.of(&carrier), ["carrier.example"]);
        let mut moved = carrier;
        moved.hosts[0].host = "192.0.2.10".into();
        assert_eq!(known.of(&moved), [""; 0]);
    }
}
