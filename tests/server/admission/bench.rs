//! A server around the test harness for calls.

use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use b2b::call::bus::EventBus;
use b2b::call::handler::ApplicationHandler;
use b2b::call::switch::SwitchConfig;
use b2b::server::admission::{AdmissionParts, ServerAdmission};
use b2b::server::board::GatewayBoard;
use b2b::server::calls::Routes;
use b2b::server::config::{ServerConfig, Store, parse_alone};
use b2b::server::counters::{AdmissionCounters, Counters};
use b2b::server::in_force::{Current, PartyTargets, Settings, SharedRegistrar};
use b2b::server::notifier::state::NotifierState;
use b2b::server::registrar::{LocationStore, MemoryStore, Registrar};
use b2b::server::settings;
use b2b::sip::auth::{Authorized, DigestClient};
use b2b::sip::endpoint::{Event, OutOfDialog, Reply, ServerTransactionId};
use b2b::sip::known::KnownSources;
use b2b::sip::msg::{Method, Request};
use b2b::sip::net::CertifiedPeers;
use b2b_testkit::{B2B, Harness, Network, PartyId};
use bytes::Bytes;

/// A server and its parties.
pub struct Bench {
    pub harness: Harness,
    pub parts: AdmissionParts,
}

/// A configuration for a test.
pub fn config(text: &str) -> ServerConfig {
    let mut config = parse_alone(text).unwrap_or_else(|error| panic!("{error}"));
    // Learned properties of gateways are stored next to the store: tests must not share them.
    config.server.store = Store::Memory;
    config
}

impl Bench {
    /// A server with this configuration, at the harness's address.
    pub fn new(text: &str) -> Bench {
        Bench::with_store(text, Box::new(MemoryStore::new()))
    }

    /// The same, with bindings in this store.
    pub fn with_store(text: &str, store: Box<dyn LocationStore>) -> Bench {
        let config = config(text);
        let now = Instant::now();
        let registrar: SharedRegistrar =
            Arc::new(Mutex::new(Registrar::new(settings::registrar(&config), store, now)));
        let board = GatewayBoard::default();
        let limits = config.limits.clone();
        let settings = Settings::new(config, registrar.clone(), board.clone()).expect("it fits together");
        let parts = AdmissionParts {
            current: Current::new(settings),
            registrar,
            bus: EventBus::new(1_024, 0),
            board,
            counters: Counters::default(),
            notifier: NotifierState::default(),
            known: KnownSources::default(),
            certified: CertifiedPeers::default(),
        };
        let admission = ServerAdmission::new(parts.clone(), [7; 32], now, SystemTime::UNIX_EPOCH);
        let handlers: Vec<Arc<dyn ApplicationHandler>> = vec![Arc::new(Routes(parts.current.clone()))];
        let resolver = Arc::new(PartyTargets(parts.current.clone()));
        let switch = SwitchConfig {
            max_calls: limits.calls,
            max_duration: limits.duration,
            ..SwitchConfig::default()
        };
        let harness = Harness::with(now, handlers, resolver, Box::new(admission), switch, Network::QUIET);
        Bench { harness, parts }
    }

    /// Counters of admission control.
    pub fn counted(&self) -> AdmissionCounters {
        self.parts.counters.get()
    }

    /// A party sends a request outside any call, and repeats it with its password if challenged; returns the
    /// last status.
    pub fn ask(&mut self, party: PartyId, request: OutOfDialog, user: &str, password: &str) -> u16 {
        let mut digest = DigestClient::new(user, password, [9; 32]);
        let mut sent = Authorized::default();
        let mut identity = self.harness.endpoint(party).identify();
        loop {
            let mut request = OutOfDialog { identity: Some(identity.clone()), ..request.clone() };
            request.headers.extend(sent.headers.clone());
            let now = self.harness.now();
            let id =
                self.harness.endpoint(party).request_outside(now, request.clone()).expect("it can be sent");
            self.harness.settle();
            let result = self.harness.take(party).into_iter().find_map(|event| match event {
                Event::Response { request, result, .. } if request == id => Some(result),
                _ => None,
            });
            let response = result.expect("an answer").expect("an answer");
            if !matches!(response.status(), 401 | 407) || digest.challenged(&response, &sent).is_err() {
                return response.status();
            }
            sent = digest.authorize(&request.method, &request.target);
            identity = identity.next();
        }
    }

    /// A party registers for `seconds`.
    pub fn register(&mut self, party: PartyId, user: &str, password: &str, seconds: u32) -> u16 {
        let of = Bytes::from(format!("<sip:{user}@{B2B}>"));
        let register = OutOfDialog {
            from: Some(of.clone()),
            to: Some(of),
            contact_user: Some(user.to_owned().into()),
            contact: Some(format!(";expires={seconds}").into()),
            ..OutOfDialog::new(Method::Register, format!("sip:{B2B}"))
        };
        self.ask(party, register, user, password)
    }

    /// Requests outside calls that a party has received since the previous call of this method.
    pub fn asked(&mut self, party: PartyId) -> Vec<(ServerTransactionId, Request)> {
        let events = self.harness.take(party).into_iter();
        let requests = events.filter_map(|event| match event {
            Event::Request { transaction, request, .. } => Some((transaction, request)),
            _ => None,
        });
        requests.collect()
    }

    /// A party answers a request outside calls.
    pub fn answer(&mut self, party: PartyId, transaction: ServerTransactionId, reply: Reply) {
        let now = self.harness.now();
        self.harness.endpoint(party).respond(now, transaction, reply).expect("it waits");
        self.harness.settle();
    }

    /// Puts another configuration in force.
    pub fn reload(&mut self, text: &str) {
        let (registrar, board) = (self.parts.registrar.clone(), self.parts.board.clone());
        self.parts.current.set(Settings::new(config(text), registrar, board).expect("it fits together"));
        self.harness.reconfigure();
    }

    /// Messages to this address that begin like this.
    pub fn sent_to(&self, address: &str, begins: &str) -> Vec<String> {
        let to = address.parse().expect("an address");
        let sent = self.harness.wire.iter().filter(|sent| sent.to == to);
        let text = sent.map(|sent| String::from_utf8_lossy(&sent.data).into_owned());
        text.filter(|text| text.starts_with(begins)).collect()
    }
}
