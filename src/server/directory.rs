//! Users by name, for digest authentication and the registrar. Pure.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::config::parties::Credentials as Kept;
use crate::config::{ServerConfig, User};
use crate::registrar::{Aor, AorPolicy};
use b2b_sip::auth::{Algorithm, Credentials, HexDigest, Secret};
use b2b_sip::msg::number::{CONTEXT, Ours, bare};

/// The users of a configuration, and its domains.
#[derive(Debug, Clone)]
pub struct Directory {
    users: HashMap<String, Arc<User>>,
    groups: HashSet<String>,
    realm: String,
    domains: HashSet<String>,
    /// We listen on every address, so any address that a request names may be ours.
    wildcard: bool,
    /// The domain that all our domains are mapped to.
    home: String,
}

impl Directory {
    /// The users of this configuration.
    pub fn new(config: &ServerConfig) -> Self {
        let mut users = HashMap::new();
        for user in &config.users {
            let shared = Arc::new(user.clone());
            for name in std::iter::once(&user.name).chain(&user.aliases) {
                users.insert(name.clone(), shared.clone());
            }
        }
        let server = &config.server;
        let listen = config.listening().map(|listener| bracketed(&listener.bind.ip().to_string()));
        let advertise = config.advertised().map(|advertise| bracketed(&advertise.host));
        Directory {
            users,
            groups: config.groups.iter().map(|group| group.name.clone()).collect(),
            realm: server.realm.clone(),
            wildcard: config.listening().any(|listener| listener.bind.ip().is_unspecified()),
            home: server.domains.first().cloned().unwrap_or_else(|| "b2b".to_string()),
            domains: server
                .domains
                .iter()
                .map(|domain| bracketed(domain))
                .chain(listen)
                .chain(advertise)
                .collect(),
        }
    }

    /// The user of this name or alias.
    pub fn user(&self, name: &str) -> Option<&Arc<User>> {
        self.users.get(name)
    }

    /// The user of a digest username: some phones send `1001@example.com`.
    pub fn digest_user(&self, username: &str) -> Option<&Arc<User>> {
        self.user(username).or_else(|| self.user(username.rsplit_once('@')?.0))
    }

    /// The user of an address of record. Parameters of a number are no part of it, separators are: it is
    /// compared as spelt.
    fn owner(&self, aor: &Aor) -> Option<&Arc<User>> {
        let ours = |param: &str| match param.split_once('=') {
            Some((name, value)) if name.eq_ignore_ascii_case(CONTEXT) => {
                self.is_context(&value.to_ascii_lowercase())
            }
            _ => true,
        };
        self.user(bare(aor.user())).filter(|_| aor.user().split(';').skip(1).all(ours))
    }

    /// The address of record of a user.
    pub fn aor(&self, user: &User) -> Option<Aor> {
        Aor::new(&user.name, &self.home)
    }
}

/// A host in URI form: IPv6 addresses in brackets.
fn bracketed(host: &str) -> String {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        _ => host.to_string(),
    }
}

impl Credentials for Directory {
    fn secret(&self, user: &str, realm: &str, algorithm: Algorithm) -> Option<Secret<'_>> {
        match &self.digest_user(user)?.credentials {
            Kept::Password(password) => Some(Secret::Password(Cow::Borrowed(password.reveal()))),
            // the hash is over the user's own name and the configured realm
            Kept::Ha1 { .. } if self.users.get(user).is_none_or(|found| found.name != user) => None,
            Kept::Ha1 { .. } if realm != self.realm => None,
            Kept::Ha1 { md5, sha256 } => {
                let kept = match algorithm {
                    Algorithm::Md5 => md5,
                    Algorithm::Sha256 => sha256,
                    Algorithm::Sha512_256 => &None,
                };
                HexDigest::parse(kept.as_ref()?.reveal().as_bytes()).map(Secret::Ha1)
            }
        }
    }
}

impl Ours for Directory {
    fn is_name(&self, spelt: &str) -> bool {
        self.users.contains_key(spelt) || self.groups.contains(spelt)
    }

    fn is_context(&self, context: &str) -> bool {
        self.serves(context)
    }
}

impl AorPolicy for Directory {
    fn serves(&self, domain: &str) -> bool {
        let is_address = || domain.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        self.domains.contains(domain) || (self.wildcard && is_address())
    }

    fn canonical(&self, aor: &Aor) -> Option<Aor> {
        // a canonical address has our own domain already, which need not be served
        let ours = self.serves(aor.host()) || aor.host() == self.home;
        self.owner(aor).filter(|_| ours).and_then(|user| self.aor(user))
    }

    fn may_register(&self, user: Option<&str>, aor: &Aor) -> bool {
        let user = user.and_then(|user| self.digest_user(user));
        user.is_some_and(|user| self.owner(aor).is_some_and(|owner| owner.name == user.name))
    }

    fn max_contacts(&self, aor: &Aor) -> Option<usize> {
        self.user(aor.user())?.max_contacts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_alone;

    const CONFIG: &str = "[server]\nlisten = [\"udp:127.0.0.1:5060\", \"udp:[::1]:5060\"]\ndomains = [\"b2b.example\"]\n\
        advertise = \"203.0.113.7\"\n\
        [[user]]\nname = \"1001\"\npassword = \"x\"\naliases = [\"alice\"]\n\
        [[user]]\nname = \"1002\"\nha1 = \"00112233445566778899aabbccddeeff\"\n";

    fn directory(config: &str) -> Directory {
        Directory::new(&parse_alone(config).unwrap())
    }

    fn aor(text: &str) -> Aor {
        text.parse().unwrap()
    }

    #[test]
    fn all_names_and_domains_of_ours_lead_to_one_address_of_record() {
        let directory = directory(CONFIG);
        let home = Some(aor("1001@b2b.example"));
        for ours in ["1001@b2b.example", "alice@127.0.0.1", "1001@[::1]", "alice@203.0.113.7"] {
            assert_eq!(directory.canonical(&aor(ours)), home, "{ours}");
        }
        for param in ["npdi", "phone-context=B2B.example", "cpc=x;phone-context=203.0.113.7"] {
            assert_eq!(directory.canonical(&aor(&format!("1001;{param}@b2b.example"))), home, "{param}");
        }
        for foreign in ["1001;phone-context=+44@b2b.example", "10-01@b2b.example", "1-001;npdi@b2b.example"] {
            assert_eq!(directory.canonical(&aor(foreign)), None, "{foreign}");
            assert!(!directory.may_register(Some("1001"), &aor(foreign)), "{foreign}");
            let name = foreign.split(['@', ';']).next().unwrap();
            assert_eq!(directory.digest_user(name).is_some(), name == "1001", "as it was sent: {name}");
        }
        for not_ours in ["1001@example.com", "1001@127.0.0.2", "1003@b2b.example"] {
            assert_eq!(directory.canonical(&aor(not_ours)), None, "{not_ours}");
        }
    }

    #[test]
    fn who_listens_everywhere_serves_every_address_but_no_name_of_others() {
        let directory =
            directory("[server]\nlisten = \"udp:0.0.0.0:5060\"\n[[user]]\nname = \"1\"\npassword = \"x\"\n");
        assert!(directory.serves("192.0.2.1") && directory.serves("[2001:db8::1]"));
        assert!(!directory.serves("example.com"));
        let home = directory.canonical(&aor("1@192.0.2.1")).unwrap();
        assert_eq!(directory.canonical(&home), Some(home));
    }

    #[test]
    fn a_user_registers_as_themselves_only_and_nobody_without_a_password() {
        let directory = directory(CONFIG);
        let may = |user, of: &str| directory.may_register(user, &aor(of));
        assert!(may(Some("1001"), "1001@b2b.example") && may(Some("alice@b2b.example"), "1001@b2b.example"));
        assert!(!may(Some("1002"), "1001@b2b.example"));
        assert!(!may(Some("1003"), "1003@b2b.example"));
        assert!(!may(None, "1001@b2b.example"));
    }

    #[test]
    fn a_user_has_as_many_contacts_as_its_own_table_says() {
        let directory = directory(&CONFIG.replace("aliases", "max_contacts = 2\naliases"));
        assert_eq!(directory.max_contacts(&aor("1001@b2b.example")), Some(2));
        assert_eq!(directory.max_contacts(&aor("1002@b2b.example")), None);
    }

    #[test]
    fn secrets_are_found_by_name_and_hashes_by_their_own_name_and_realm_only() {
        let directory = directory(CONFIG);
        let found = |user, realm, algorithm| match directory.secret(user, realm, algorithm) {
            Some(Secret::Password(_)) => "password",
            Some(Secret::Ha1(_)) => "ha1",
            None => "none",
        };
        assert_eq!(found("1001", "any", Algorithm::Sha256), "password");
        assert_eq!(found("1001@b2b.example", "b2b.example", Algorithm::Md5), "password");
        assert_eq!(found("1002", "b2b.example", Algorithm::Md5), "ha1");
        assert_eq!(found("1002", "b2b.example", Algorithm::Sha256), "none");
        assert_eq!(found("1002", "other", Algorithm::Md5), "none");
        assert_eq!(found("1002@b2b.example", "b2b.example", Algorithm::Md5), "none");
        assert_eq!(found("1003", "b2b.example", Algorithm::Md5), "none");
    }
}
