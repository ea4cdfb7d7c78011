//! Differences of a new configuration, and those that require a restart. Pure.

use std::collections::BTreeMap;

use super::sections::SECTIONS;
use super::{Apps, Gateway, Group, Route, ServerConfig, Tls, User};
use b2b_config::table::{Applies, Row, Table};

/// The differences between two configurations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Changes that apply now, without affecting calls; one line each, for the log.
    pub live: Vec<String>,
    /// Changes that require a restart; until then, the old value stays in force.
    pub restart: Vec<String>,
}

impl Changes {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty() && self.restart.is_empty()
    }
}

impl ServerConfig {
    /// The differences from `old` to `new`.
    pub fn diff(old: &ServerConfig, new: &ServerConfig) -> Changes {
        let mut changes = Changes::default();
        let now = &ServerConfig::in_force(old, new.clone());
        changes.server(old, new, now);
        let (live, both) = (&mut changes.live, [old, now]);
        party(live, "user", both.map(|it| &*it.users), |it| &it.name, |it| User { line: 0, ..it.clone() });
        party(
            live,
            "gateway",
            both.map(|it| &*it.gateways),
            |it| &it.name,
            |it| Gateway { line: 0, ..it.clone() },
        );
        party(live, "group", both.map(|it| &*it.groups), |it| &it.name, |it| Group { line: 0, ..it.clone() });
        party(live, "ivr", both.map(|it| &*it.apps.ivrs), |it| &it.name, Clone::clone);
        party(live, "agent", both.map(|it| &*it.apps.queues.agents), |it| &it.plan.name, Clone::clone);
        party(live, "queue", both.map(|it| &*it.apps.queues.queues), |it| &it.plan.name, Clone::clone);
        party(live, "conference", both.map(|it| &*it.apps.conferences), |it| &it.name, Clone::clone);
        party(live, "park", both.map(|it| &*it.apps.lots), |it| &it.name, Clone::clone);
        party(live, "remote", both.map(|it| &*it.apps.remotes), |it| &it.name, Clone::clone);
        party(live, "voice_agent", both.map(|it| &*it.apps.voice_agents), |it| &it.name, Clone::clone);
        party(live, "mailbox", both.map(|it| &*it.apps.voicemail.mailboxes), |it| &it.name, Clone::clone);
        let [before, after] = both.map(|it| &it.apps);
        let shared = |apps: &Apps| (apps.voicemail.silence, apps.voicemail.words.clone());
        for (table, changed) in [
            ("[voicemail]", shared(before) != shared(after)),
            ("[queues]", before.queues.codes != after.queues.codes),
            ("[prompts]", before.prompts != after.prompts),
            ("may_transfer", before.may_transfer != after.may_transfer),
        ] {
            live.extend(changed.then(|| table.to_string()));
        }
        let before = live.len();
        party(live, "route", both.map(|it| &*it.routes), |it| &it.name, |it| Route { line: 0, ..it.clone() });
        let [names, now] = both.map(|it| it.routes.iter().map(|route| &route.name).collect::<Vec<_>>());
        live.extend((live.len() == before && names != now).then(|| "[[route]]: another order".to_owned()));
        changes
    }

    /// The configuration in force after a reload: `new`, but with the values of `old` where a change requires
    /// a restart.
    pub fn in_force(old: &ServerConfig, new: ServerConfig) -> ServerConfig {
        let mut now = new;
        for kept in kept() {
            (kept.keep)(&mut now, old);
        }
        if old.tls.is_none() != now.tls.is_none() {
            now.tls.clone_from(&old.tls);
        }
        now
    }
}

/// The field of a key, or of all keys of a table, in a [`ServerConfig`].
struct Field {
    /// `server.listen`; for all keys of a table, `http`.
    name: &'static str,
    changed: fn(&ServerConfig, &ServerConfig) -> bool,
    /// Copies the second one's value into the first one.
    keep: fn(&mut ServerConfig, &ServerConfig),
}

macro_rules! fields {
    ($($name:literal: $($field:ident).+;)*) => {
        &[$(Field {
            name: $name,
            changed: |old, new| old.$($field).+ != new.$($field).+,
            keep: |now, old| now.$($field).+.clone_from(&old.$($field).+),
        }),*]
    };
}

/// The fields of keys whose rows require a restart.
const FIELDS: &[Field] = fields! {
    "server.listen": server.listen;
    "server.advertise": server.advertise;
    "server.stun": server.stun;
    "server.stun_s": server.stun_every;
    "server.resolver": server.resolver;
    "server.user_agent": server.user_agent;
    "server.store": server.store;
    "server.cdr": server.cdr;
    "server.file_mode": server.file_mode;
    "media.controller": media.controller;
    "media.token": media.token;
    "media.bind": media.bind;
    "media.advertise": media.advertise;
    "media.ports": media.ports;
    "media.threads": media.threads;
    "media.codecs": media.codecs;
    "media.rtp_timeout_s": media.rtp_timeout;
    "media.srtp": media.srtp;
    "http": http;
    "listener": listeners;
    "recording": recording;
    "ended_calls": ended_calls;
    "survive": survive;
    "hep": hep;
    "music": apps.music;
    "voicemail.folder": apps.voicemail.folder;
    "limits.source_messages_per_s": limits.source_messages_per_s;
    "limits.connections": limits.connections;
    "limits.source_connections": limits.source_connections;
    "log.format": log.format;
    "log.call_journals": log.call_journals;
};

impl Field {
    fn is_of(&self, table: &Table, row: &Row) -> bool {
        // the keys of `[[http.tokens]]` are part of the `http` field; a secret may also be given by a `_file`
        // key
        let whole = table.name.split('.').next();
        let key = row.name.strip_suffix("_file").unwrap_or(row.name);
        whole == Some(self.name) || self.name.split_once('.') == Some((table.name, key))
    }

    /// The name in the log: `server.listen`, `[http]`.
    fn words(&self) -> String {
        let table = SECTIONS.into_iter().find(|table| table.name == self.name);
        table.map_or(self.name, |table| table.written).to_string()
    }
}

/// The keys whose change requires a restart.
fn waiting() -> impl Iterator<Item = (&'static Table, &'static Row)> {
    let rows = SECTIONS.into_iter().flat_map(|table| table.keys.iter().map(move |row| (table, row)));
    rows.filter(|(_, row)| row.applies == Applies::AtRestart)
}

/// The fields of those keys, each once.
fn kept() -> impl Iterator<Item = &'static Field> {
    FIELDS.iter().filter(|field| waiting().any(|(table, row)| field.is_of(table, row)))
}

impl Changes {
    /// Differences other than of named items; `now` is the configuration that will be in force.
    fn server(&mut self, old: &ServerConfig, new: &ServerConfig, now: &ServerConfig) {
        let changed = kept().filter(|field| (field.changed)(old, new));
        self.restart = changed.map(Field::words).collect();
        if old.tls.is_none() != new.tls.is_none() {
            self.restart.push("[tls], which is added or removed".to_string());
        }
        let (a, b) = (&old.server, &now.server);
        let tls = |config: &ServerConfig| config.tls.as_ref().map(Tls::without_lines);
        let live = [
            ("log.level", old.log.level != now.log.level),
            ("log.sip_trace", old.log.sip_trace != now.log.sip_trace),
            ("server.domains", a.domains != b.domains),
            ("server.realm: phones must answer a new challenge", a.realm != b.realm),
            ("server.md5_only", a.md5_only != b.md5_only),
            (
                "server.min_algorithm or require_qop",
                (a.min_algorithm, a.require_qop) != (b.min_algorithm, b.require_qop),
            ),
            ("server.weak_passwords", a.weak_passwords != b.weak_passwords),
            ("server.trusted", a.trusted != b.trusted),
            ("server.inside", a.inside != b.inside),
            ("server.drain_s", a.drain != b.drain),
            ("media.media_from: for new calls", old.media.media_from != now.media.media_from),
            (
                "server.session_expires_s or min_se_s: existing calls keep theirs",
                (a.session_expires, a.min_se) != (b.session_expires, b.min_se),
            ),
            ("[tls]: the certificates are reloaded", tls(old) != tls(now)),
            ("[registrar]: existing bindings keep their expiry", old.registrar != now.registrar),
            ("[limits]: existing calls are not affected", old.limits != now.limits),
            ("[emergency]", old.emergency != now.emergency),
            ("log.redact", old.log.redact != now.log.redact),
        ];
        self.live =
            live.iter().filter(|(_, changed)| *changed).map(|(words, _)| (*words).to_string()).collect();
    }
}

/// Added, removed and changed items with names. `bare` removes irrelevant parts: a moved line is no change.
fn party<T: PartialEq>(
    live: &mut Vec<String>,
    what: &str,
    both: [&[T]; 2],
    name: impl Fn(&T) -> &str,
    bare: impl Fn(&T) -> T,
) {
    let [old, new] =
        both.map(|list| -> BTreeMap<&str, T> { list.iter().map(|one| (name(one), bare(one))).collect() });
    let gone: Vec<&str> = old.keys().copied().filter(|name| !new.contains_key(name)).collect();
    let fresh: Vec<&str> = new.keys().copied().filter(|name| !old.contains_key(name)).collect();
    let changed = |(name, one): &(&&str, &T)| old.get(*name).is_some_and(|before| before != *one);
    let changed: Vec<&str> = new.iter().filter(changed).map(|(name, _)| *name).collect();
    for (verb, names) in [("gone", gone), ("new", fresh), ("changed", changed)] {
        if !names.is_empty() {
            live.push(format!("[[{what}]] {verb}: {}", some(&names)));
        }
    }
}

/// The first names, and the number of further ones.
fn some(names: &[&str]) -> String {
    const SHOWN: usize = 5;
    match names.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => {
            let first = names.get(..SHOWN).unwrap_or_default().join(", ");
            format!("{first} and {more} more")
        }
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_made;

    const OLD: &str = "[limits]\ncalls = 10\n\
        [[user]]\nname = \"1001\"\npassword = \"a\"\n[[user]]\nname = \"1002\"\npassword = \"b\"\n\
        [[route]]\nto = \"user/$0\"\n";

    fn diff(new: &str) -> Changes {
        ServerConfig::diff(&parse_made(OLD).unwrap(), &parse_made(new).unwrap())
    }

    #[test]
    fn what_is_the_same_is_no_change_wherever_it_stands() {
        assert!(diff(OLD).is_empty());
        assert!(diff(&format!("# one more line\n{OLD}")).is_empty());
    }

    #[test]
    fn parties_and_limits_change_live() {
        let new = OLD.replace("calls = 10", "calls = 11").replace("\"b\"", "\"c\"").replace("1001", "1003");
        let changes = diff(&new.replace("user/$0", "user/1002"));
        assert_eq!(
            changes.live,
            [
                "[limits]: existing calls are not affected",
                "[[user]] gone: 1001",
                "[[user]] new: 1003",
                "[[user]] changed: 1002",
                "[[route]] changed: #1"
            ]
        );
        assert!(changes.restart.is_empty());
        assert!(!format!("{changes:?}").contains("\"c\""));
    }

    #[test]
    fn listeners_and_the_store_wait_for_a_restart_and_stay_as_they_are() {
        let new =
            format!("[server]\nlisten = \"udp:127.0.0.1:5070\"\nstore = \"memory\"\nrealm = \"r\"\n{OLD}");
        let changes = diff(&new);
        assert_eq!(changes.restart, ["server.listen", "server.store"]);
        assert_eq!(changes.live, ["server.realm: phones must answer a new challenge"]);
        let (old, new) = (parse_made(OLD).unwrap(), parse_made(&new).unwrap());
        let now = ServerConfig::in_force(&old, new.clone());
        assert_eq!(now.server.listen, old.server.listen);
        assert_eq!(now.server.realm, "r");
        assert!(ServerConfig::diff(&now, &new).live.is_empty());
        assert!(ServerConfig::diff(&old, &now).restart.is_empty());
    }

    #[test]
    fn what_sockets_were_bound_with_waits_for_a_restart() {
        let changes = diff(&OLD.replace("calls = 10", "calls = 10\nconnections = 7"));
        assert_eq!(
            (changes.live.len(), changes.restart.as_slice()),
            (0, &["limits.connections".to_owned()][..])
        );
    }

    #[test]
    fn every_key_that_waits_for_a_restart_is_compared_and_kept() {
        for (table, row) in waiting() {
            let found = FIELDS.iter().any(|field| field.is_of(table, row));
            assert!(found, "{}.{} has no field", table.name, row.name);
        }
        assert_eq!(kept().count(), FIELDS.len(), "of each field a key takes a restart");
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(some(&["a", "b", "c", "d", "e"]), "a, b, c, d, e");
        assert_eq!(some(&["a", "b", "c", "d", "e", "f", "g"]), "a, b, c, d, e and 2 more");
    }
}
