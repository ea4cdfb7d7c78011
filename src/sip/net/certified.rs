//! TLS connections whose peers presented a verified certificate: the names in it, and the
//! configured peers that they belong to.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::endpoint::Flow;

/// The certificate names of each connection; clones share the table. The sockets write the
/// names in certificates; the code that admits calls sets which peer has which names, and
/// queries it.
///
/// A certificate counts only for the connection that it was presented on, while that is open.
#[derive(Debug, Clone, Default)]
pub struct CertifiedPeers(Arc<RwLock<Table>>);

#[derive(Debug, Default)]
struct Table {
    /// A name in lower case, with `*.` for any one leading label, and the peer that it
    /// belongs to.
    known: Vec<(Box<str>, Arc<str>)>,
    /// The certificate names of each connection.
    names: HashMap<u64, Box<[String]>>,
}

impl CertifiedPeers {
    /// Sets the names of the configured peers; `*.example.com` stands for every name with one
    /// more label than `example.com`. Of equally good matches the first counts.
    pub fn set_known<'a>(&self, known: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let known = known.into_iter().map(|(name, of)| (name.to_ascii_lowercase().into(), of.into()));
        self.0.write().unwrap_or_else(PoisonError::into_inner).known = known.collect();
    }

    /// The configured peer whose certificate was presented on this connection, if any.
    pub fn peer(&self, flow: &Flow) -> Option<Arc<str>> {
        self.of(flow.id.0)
    }

    pub(super) fn of(&self, connection: u64) -> Option<Arc<str>> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let names = table.names.get(&connection)?;
        let fits = |(known, of): &(Box<str>, Arc<str>)| {
            Some((names.iter().filter_map(|shown| fit(known, shown)).max()?, of.clone()))
        };
        let best =
            table.known.iter().filter_map(fits).reduce(|best, it| if it.0 > best.0 { it } else { best });
        best.map(|(_, of)| of)
    }

    pub(super) fn add(&self, connection: u64, names: Vec<String>) {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        table.names.insert(connection, names.into());
    }

    pub(super) fn remove(&self, connection: u64) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).names.remove(&connection);
    }

    pub(super) fn clear(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).names.clear();
    }
}

/// How well a certificate name matches a configured one; larger is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// The certificate has a wildcard (which RFC 5922 §7.2 forbids but large providers use).
    ByItsWildcard,
    /// The configuration has a wildcard.
    ByOurs,
    Same,
}

fn fit(known: &str, shown: &str) -> Option<Fit> {
    if known == shown {
        Some(Fit::Same)
    } else if covers(known, shown) {
        Some(Fit::ByOurs)
    } else {
        covers(shown, known).then_some(Fit::ByItsWildcard)
    }
}

/// Whether `*.example.com` matches a name: the star stands for one label (RFC 6125 §6.4.3).
pub(super) fn covers(wildcard: &str, name: &str) -> bool {
    let parts = wildcard.strip_prefix("*.").zip(name.split_once('.'));
    parts.is_some_and(|(domain, (label, rest))| domain == rest && !label.is_empty() && label != "*")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::{FlowId, Transport};

    fn flow(id: u64) -> Flow {
        let any = "192.0.2.1:5061".parse().expect("an address");
        Flow { transport: Transport::Tls, local: any, remote: any, id: FlowId(id) }
    }

    #[test]
    fn the_nearest_name_counts_and_a_wildcard_is_one_label() {
        let peers = CertifiedPeers::default();
        let known = [
            ("*.hub.example", "hubs"),
            ("one.hub.example", "one"),
            ("Two.other.example", "two"),
            ("x.example", "x"),
        ];
        peers.set_known(known);
        let mut id = 0;
        let mut whose = |names: &[&str]| {
            id += 1;
            peers.add(id, names.iter().map(|name| (*name).to_owned()).collect());
            peers.clone().peer(&flow(id)).map(|name| name.to_string()).unwrap_or_default()
        };
        assert_eq!(whose(&["one.hub.example"]), "one");
        assert_eq!(whose(&["three.hub.example"]), "hubs");
        assert_eq!(whose(&["nobody.example", "*.hub.example"]), "hubs");
        assert_eq!(whose(&["*.other.example"]), "two");
        for other in
            ["hub.example", "a.b.hub.example", "one.hub.example.evil", "*.example.org", "*", "*.", ""]
        {
            assert_eq!(whose(&[other]), "", "{other:?}");
        }
        assert_eq!(whose(&["*.example"]), "x", "one label, not two");
        assert_eq!(whose(&[]), "");
    }

    #[test]
    fn a_certificate_counts_for_its_connection_and_as_long_as_that_is_up() {
        let peers = CertifiedPeers::default();
        peers.set_known([("sip.example", "carrier")]);
        peers.add(7, vec!["sip.example".to_owned()]);
        assert_eq!(peers.peer(&flow(7)).as_deref(), Some("carrier"));
        assert_eq!(peers.peer(&flow(8)), None);
        peers.set_known([("sip.example", "other")]);
        assert_eq!(peers.peer(&flow(7)).as_deref(), Some("other"), "as the configuration says now");
        peers.remove(7);
        assert_eq!(peers.peer(&flow(7)), None);
    }
}
