//! DNS for `locate`: a stub resolver with a cache that respects the TTL of records.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError as LookupFailure;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Hosts, TokioResolver};

use super::locate::{Naptr, Records, Srv};

/// Time limit for one query to one server.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A resolver with the system's configuration or a given server.
#[derive(Clone)]
pub(super) struct Dns {
    resolver: TokioResolver,
    hosts: Arc<Hosts>,
}

impl Dns {
    /// A resolver that queries `server`, or the system's servers.
    pub(super) fn new(server: Option<SocketAddr>) -> Result<Self, LookupFailure> {
        let mut builder = match server {
            Some(server) => {
                let over = |mut connection: ConnectionConfig| {
                    connection.port = server.port();
                    connection
                };
                let connections = vec![over(ConnectionConfig::udp()), over(ConnectionConfig::tcp())];
                let server = NameServerConfig::new(server.ip(), true, connections);
                let config = ResolverConfig::from_name_servers(vec![server]);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
                    .with_options(ResolverOpts::default())
            }
            None => TokioResolver::builder_tokio()?,
        };
        let options = builder.options_mut();
        options.timeout = options.timeout.min(TIMEOUT);
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        let hosts = Arc::new(Hosts::from_system().unwrap_or_default());
        Ok(Dns { resolver: builder.build()?, hosts })
    }

    /// Whether `/etc/hosts` has the name, so that no query is needed.
    pub(super) fn is_in_hosts_file(&self, name: &str) -> bool {
        let Some(name) = absolute(name) else { return false };
        let has = |kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind)).is_some();
        has(RecordType::A) || has(RecordType::AAAA)
    }

    /// The first address of this family.
    pub(super) async fn address(&self, name: &str, ipv4: bool) -> Option<IpAddr> {
        let kind = if ipv4 { RecordType::A } else { RecordType::AAAA };
        let answers = match self.hosts.lookup_static_host(&Query::query(absolute(name)?, kind)) {
            Some(known) => known.answers().iter().map(|record| record.data.clone()).collect(),
            None => self.answers(name, kind).await,
        };
        answers.into_iter().find_map(|data| match data {
            RData::A(address) => Some(address.0.into()),
            RData::AAAA(address) => Some(address.0.into()),
            _ => None,
        })
    }

    async fn answers(&self, name: &str, kind: RecordType) -> Vec<RData> {
        let Some(name) = absolute(name) else { return Vec::new() };
        match self.resolver.lookup(name.clone(), kind).await {
            Ok(found) => found.answers().iter().map(|record| record.data.clone()).collect(),
            Err(error) => {
                if !error.is_no_records_found() {
                    tracing::debug!("no {kind} of {name}: {error}");
                }
                Vec::new()
            }
        }
    }
}

/// The search list is not used: a URI has complete names.
fn absolute(name: &str) -> Option<Name> {
    let mut name = Name::from_ascii(name).ok()?;
    name.set_fqdn(true);
    Some(name)
}

impl Records for Dns {
    async fn naptr(&self, name: &str) -> Vec<Naptr> {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let answers = self.answers(name, RecordType::NAPTR).await.into_iter();
        let naptr = answers.filter_map(|data| match data {
            RData::NAPTR(it) => Some(Naptr {
                order: it.order,
                preference: it.preference,
                flags: text(&it.flags),
                services: text(&it.services),
                replacement: it.replacement.to_ascii(),
            }),
            _ => None,
        });
        naptr.collect()
    }

    async fn srv(&self, name: &str) -> Vec<Srv> {
        let answers = self.answers(name, RecordType::SRV).await.into_iter();
        let srv = answers.filter_map(|data| match data {
            RData::SRV(it) => Some(Srv {
                priority: it.priority,
                weight: it.weight,
                port: it.port,
                target: it.target.to_ascii(),
            }),
            _ => None,
        });
        srv.collect()
    }

    async fn addresses(&self, name: &str) -> Vec<IpAddr> {
        // Except for names without a dot, which use the system's search list.
        let name = match absolute(name) {
            Some(absolute) if name.contains('.') => absolute,
            _ => match Name::from_ascii(name) {
                Ok(name) => name,
                Err(_) => return Vec::new(),
            },
        };
        match self.resolver.lookup_ip(name.clone()).await {
            Ok(found) => found.iter().collect(),
            Err(error) => {
                tracing::debug!("no address of {name}: {error}");
                Vec::new()
            }
        }
    }

    fn random(&self, bound: u32) -> u32 {
        rand::random_range(0..bound)
    }
}
