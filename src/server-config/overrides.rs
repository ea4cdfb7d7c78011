//! Settings that flags change.

use std::net::SocketAddr;

use super::{Action, Listener, Pattern, Policy, Route, ServerConfig, Target, Template};
use b2b_sip::msg::{Method, Transport};

impl ServerConfig {
    /// Listens here over UDP and TCP only.
    pub fn listen_at(&mut self, bind: SocketAddr) {
        self.server.listen =
            [Transport::Udp, Transport::Tcp].map(|transport| Listener { transport, bind }).to_vec();
    }

    /// Sends every call to this SIP URI, by a route before all others.
    ///
    /// # Errors
    /// What is wrong with the URI.
    pub fn send_all_to(&mut self, uri: &str) -> Result<(), String> {
        self.route_first("--target", None, uri)
    }

    /// Sends calls to this number to this SIP URI, by a route before all others.
    ///
    /// # Errors
    /// What is wrong with the URI.
    pub fn send_number_to(&mut self, number: &str, uri: &str) -> Result<(), String> {
        self.route_first("--route", Some(Pattern::new(&regex::escape(number))?), uri)
    }

    fn route_first(&mut self, name: &str, called: Option<Pattern>, uri: &str) -> Result<(), String> {
        let uri = Template::new(&uri.replace('$', "$$"), None)?;
        let route = Route {
            name: name.to_string(),
            called,
            caller: None,
            classes: Vec::new(),
            sources: Vec::new(),
            verstat: Vec::new(),
            methods: vec![Method::Invite],
            action: Action::Dial { targets: vec![Target::Uri(uri)], policy: Box::new(Policy::default()) },
            line: 0,
        };
        self.routes.insert(0, route);
        Ok(())
    }
}
