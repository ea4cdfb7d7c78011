//! What a new configuration changes, and what of it takes a restart. Pure.

use super::ServerConfig;

/// What changes from one configuration to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Can be done now, without touching calls; a line each, for the log.
    pub live: Vec<String>,
    /// Takes a restart; until then, the old value stays in force.
    pub restart: Vec<String>,
}

impl Changes {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty() && self.restart.is_empty()
    }
}

impl ServerConfig {
    /// What changes from `old` to `new`.
    pub fn diff(old: &ServerConfig, new: &ServerConfig) -> Changes {
        let mut changes = Changes::default();
        changes.server(old, new);
        let Changes { live, .. } = &mut changes;
        let names = |user: &super::User| user.name.clone();
        party(live, "user", &old.users, &new.users, names, |user| super::User { line: 0, ..user.clone() });
        party(
            live,
            "gateway",
            &old.gateways,
            &new.gateways,
            |gateway| gateway.name.clone(),
            |gateway| super::Gateway { line: 0, ..gateway.clone() },
        );
        party(
            live,
            "group",
            &old.groups,
            &new.groups,
            |group| group.name.clone(),
            |group| super::Group { line: 0, ..group.clone() },
        );
        party(live, "ivr", &old.apps.ivrs, &new.apps.ivrs, |flow| flow.name.clone(), Clone::clone);
        let (before, after) = (&old.apps.queues, &new.apps.queues);
        party(live, "agent", &before.agents, &after.agents, |it| it.plan.name.to_string(), Clone::clone);
        party(live, "queue", &before.queues, &after.queues, |it| it.plan.name.to_string(), Clone::clone);
        let (before_rooms, rooms) = (&old.apps.conferences, &new.apps.conferences);
        party(live, "conference", before_rooms, rooms, |it| it.name.clone(), Clone::clone);
        party(live, "park", &old.apps.lots, &new.apps.lots, |it| it.name.clone(), Clone::clone);
        party(live, "remote", &old.apps.remotes, &new.apps.remotes, |it| it.name.clone(), Clone::clone);
        let agents = (&old.apps.voice_agents, &new.apps.voice_agents);
        party(live, "voice_agent", agents.0, agents.1, |it| it.name.clone(), Clone::clone);
        let (voicemail_before, voicemail) = (&old.apps.voicemail, &new.apps.voicemail);
        let boxes = (&voicemail_before.mailboxes, &voicemail.mailboxes);
        party(live, "mailbox", boxes.0, boxes.1, |it| it.name.clone(), Clone::clone);
        if (voicemail_before.silence, &voicemail_before.words) != (voicemail.silence, &voicemail.words) {
            live.push("[voicemail]".to_string());
        }
        if before.codes != after.codes {
            live.push("[queues]".to_string());
        }
        if old.apps.prompts != new.apps.prompts {
            live.push("[prompts]".to_string());
        }
        let moved = |routes: &[super::Route]| -> Vec<super::Route> {
            routes.iter().map(|route| super::Route { line: 0, ..route.clone() }).collect()
        };
        if moved(&old.routes) != moved(&new.routes) {
            live.push(format!("routes: {} before, {} now", old.routes.len(), new.routes.len()));
        }
        changes
    }

    /// The configuration that is in force after a reload: `new`, but with `old` where
    /// a change takes a restart.
    pub fn in_force(old: &ServerConfig, new: ServerConfig) -> ServerConfig {
        let mut now = new;
        now.server.listen.clone_from(&old.server.listen);
        now.server.advertise.clone_from(&old.server.advertise);
        now.server.resolver = old.server.resolver;
        now.server.user_agent.clone_from(&old.server.user_agent);
        now.server.store.clone_from(&old.server.store);
        now.server.cdr.clone_from(&old.server.cdr);
        now.server.file_mode = old.server.file_mode;
        let media_from = std::mem::take(&mut now.media.media_from);
        now.media = super::Media { media_from, ..old.media.clone() };
        now.http.clone_from(&old.http);
        now.recording.clone_from(&old.recording);
        now.hep.clone_from(&old.hep);
        now.apps.music.clone_from(&old.apps.music);
        now.apps.voicemail.folder.clone_from(&old.apps.voicemail.folder);
        now.limits.source_messages_per_s = old.limits.source_messages_per_s;
        now.limits.connections = old.limits.connections;
        now.limits.source_connections = old.limits.source_connections;
        now.log.format = old.log.format;
        if old.tls.is_none() != now.tls.is_none() {
            now.tls.clone_from(&old.tls);
        }
        now
    }
}

impl Changes {
    fn server(&mut self, old: &ServerConfig, new: &ServerConfig) {
        let (a, b) = (&old.server, &new.server);
        let live_limits = super::Limits {
            source_messages_per_s: old.limits.source_messages_per_s,
            connections: old.limits.connections,
            source_connections: old.limits.source_connections,
            ..new.limits.clone()
        };
        let tls = |config: &ServerConfig| config.tls.clone().map(|tls| super::Tls { lines: [0; 2], ..tls });
        let media = |config: &ServerConfig| super::Media {
            srtp_line: 0,
            media_from: Vec::new(),
            ..config.media.clone()
        };
        let restart = [
            ("server.listen", a.listen != b.listen),
            ("server.advertise", a.advertise != b.advertise),
            ("server.resolver", a.resolver != b.resolver),
            ("server.user_agent", a.user_agent != b.user_agent),
            ("server.store", a.store != b.store),
            ("server.cdr", a.cdr != b.cdr),
            ("server.file_mode", a.file_mode != b.file_mode),
            ("[media]", media(old) != media(new)),
            ("[http]", old.http != new.http),
            ("[recording]", old.recording != new.recording),
            ("[hep]", old.hep != new.hep),
            ("[[music]]", old.apps.music != new.apps.music),
            ("voicemail.folder", old.apps.voicemail.folder != new.apps.voicemail.folder),
            (
                "limits.source_messages_per_s",
                old.limits.source_messages_per_s != new.limits.source_messages_per_s,
            ),
            ("limits.connections", old.limits.connections != new.limits.connections),
            ("limits.source_connections", old.limits.source_connections != new.limits.source_connections),
            ("log.format", old.log.format != new.log.format),
            ("[tls], which was not there or goes", old.tls.is_none() != new.tls.is_none()),
        ];
        let live = [
            ("log.level", old.log.level != new.log.level),
            ("log.sip_trace", old.log.sip_trace != new.log.sip_trace),
            ("server.domains", a.domains != b.domains),
            ("server.realm: phones have to answer a new challenge", a.realm != b.realm),
            ("server.md5_only", a.md5_only != b.md5_only),
            (
                "server.min_algorithm or require_qop",
                (a.min_algorithm, a.require_qop) != (b.min_algorithm, b.require_qop),
            ),
            ("server.weak_passwords", a.weak_passwords != b.weak_passwords),
            ("server.trusted", a.trusted != b.trusted),
            ("server.inside", a.inside != b.inside),
            ("server.drain_s", a.drain != b.drain),
            ("media.media_from: for new calls", old.media.media_from != new.media.media_from),
            (
                "server.session_expires_s or min_se_s: calls that are up keep theirs",
                (a.session_expires, a.min_se) != (b.session_expires, b.min_se),
            ),
            (
                "[tls]: the certificate is read again",
                old.tls.is_some() && new.tls.is_some() && tls(old) != tls(new),
            ),
            ("[registrar]: bindings that are there keep their time", old.registrar != new.registrar),
            ("[limits]: calls that are up stay", old.limits != live_limits),
            ("log.redact", old.log.redact != new.log.redact),
        ];
        let words = |list: &[(&str, bool)]| {
            list.iter().filter(|(_, changed)| *changed).map(|(words, _)| (*words).to_string()).collect()
        };
        (self.restart, self.live) = (words(&restart), words(&live));
    }
}

/// What came, went and changed among what has names. `bare` takes away what does not
/// matter: a line that moved is no change.
fn party<T: PartialEq>(
    live: &mut Vec<String>,
    what: &str,
    old: &[T],
    new: &[T],
    name: impl Fn(&T) -> String,
    bare: impl Fn(&T) -> T,
) {
    use std::collections::BTreeMap;
    let map = |list: &[T]| -> BTreeMap<String, T> { list.iter().map(|one| (name(one), bare(one))).collect() };
    let (old, new) = (map(old), map(new));
    let gone: Vec<&str> = old.keys().filter(|name| !new.contains_key(*name)).map(String::as_str).collect();
    let fresh: Vec<&str> = new.keys().filter(|name| !old.contains_key(*name)).map(String::as_str).collect();
    let changed = |(name, one): &(&String, &T)| old.get(*name).is_some_and(|before| before != *one);
    let changed: Vec<&str> = new.iter().filter(changed).map(|(name, _)| name.as_str()).collect();
    for (verb, names) in [("gone", gone), ("new", fresh), ("changed", changed)] {
        if !names.is_empty() {
            live.push(format!("{what}s {verb}: {}", some(&names)));
        }
    }
}

/// The first names, and how many more.
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
    use crate::config::parse_alone;

    const OLD: &str = "[limits]\ncalls = 10\n\
        [[user]]\nname = \"1001\"\npassword = \"a\"\n[[user]]\nname = \"1002\"\npassword = \"b\"\n\
        [[route]]\nto = \"user/$0\"\n";

    fn diff(new: &str) -> Changes {
        ServerConfig::diff(&parse_alone(OLD).unwrap(), &parse_alone(new).unwrap())
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
                "[limits]: calls that are up stay",
                "users gone: 1001",
                "users new: 1003",
                "users changed: 1002",
                "routes: 1 before, 1 now"
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
        assert_eq!(changes.live, ["server.realm: phones have to answer a new challenge"]);
        let (old, new) = (parse_alone(OLD).unwrap(), parse_alone(&new).unwrap());
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
    fn long_lists_are_cut() {
        assert_eq!(some(&["a", "b", "c", "d", "e"]), "a, b, c, d, e");
        assert_eq!(some(&["a", "b", "c", "d", "e", "f", "g"]), "a, b, c, d, e and 2 more");
    }
}
