//! Requests in calls that come by another flow than the connection of the call: whose they are. A phone that lost its
//! connection opens another one, and so do gateways; but whoever knows a dialog's tags could send the same.

use std::time::Instant;

use super::{ServerAdmission, Turned};
use crate::effective_source::EffectiveSource;
use crate::origin::Origin;
use b2b_call::handler::Party;
use b2b_call::switch::admission::Whose;
use b2b_sip::auth::Side;
use b2b_sip::endpoint::{Flow, Reply};
use b2b_sip::msg::Request;

impl ServerAdmission {
    /// Decides on a request in a call of `party`, whose connection is or was `lost`:
    ///
    /// | party | it is the party's if |
    /// |---|---|
    /// | behind a listed proxy | it comes through a listed proxy |
    /// | user | it is from a trusted address that the call came from, or answers a challenge as this user; a user who has registered by this very flow is not asked |
    /// | gateway | it has the gateway's certificate or address; without certificates also that of the lost connection |
    /// | trusted address, `sip:` target of a route | it is from that host, or from a trusted address |
    pub(super) fn whose(
        &mut self,
        now: Instant,
        party: &Party,
        lost: Option<&Flow>,
        request: &Request,
        flow: &Flow,
    ) -> Whose {
        self.follow(now);
        let settings = self.settings.clone();
        let (from, known) = (self.source(request, flow), self.known_by(request, flow));
        let is_proxy = |flow: &Flow| settings.origins.is_proxy(flow.remote.ip());
        if is_proxy(flow) && lost.is_some_and(is_proxy) {
            return Whose::Party;
        }
        let is_same = lost.is_some_and(|lost| host(lost) == host(flow));
        let sender = settings.sender(known.as_deref(), from.ip()).0;
        let (who, is_own, may) = match settings.party(party).0 {
            Origin::User(name) if is_same && sender == Origin::Trusted => (name.to_owned(), true, ""),
            Origin::User(name) => return self.is_user(now, name, request, from, flow),
            Origin::Gateway(name) => (
                format!("gateway/{name}"),
                sender == Origin::Gateway(name) || {
                    // Others may have the address of a gateway that is known by its certificate.
                    let certified =
                        settings.config.gateway(name).is_some_and(|it| !it.tls.clients.is_empty());
                    self.hops.is_own(Some(name), lost.filter(|_| !certified), flow)
                },
                "add its address to the gateway's `sources`, or the name in its certificate to `tls_client`",
            ),
            Origin::Trusted | Origin::Unknown => (
                party.address.map_or_else(|| party.number.clone(), |address| address.ip().to_string()),
                is_same || sender == Origin::Trusted || self.hops.is_own(None, lost, flow),
                "if that is one party, add its addresses to `server.trusted`, or make it a gateway",
            ),
        };
        if is_own {
            return Whose::Party;
        }
        let method = request.method().to_string();
        self.lines.write(now, || {
            format!(
                "{method} from {} in a call of {who}, by another connection, is not from there, and is refused \
                 with 403; {may}",
                from.address
            )
        });
        let reason = "Not From the Party of This Call".to_owned();
        Whose::refused(Reply { reason, ..Reply::status(403) }, false)
    }

    /// Whether the sender knows the user's password.
    fn is_user(
        &mut self,
        now: Instant,
        name: &str,
        request: &Request,
        from: EffectiveSource,
        flow: &Flow,
    ) -> Whose {
        match self.authenticate(now, request, from, Side::Proxy) {
            Ok(sender) if sender.user == name => {
                self.prove(flow);
                Whose::Party
            }
            Ok(sender) => {
                let method = request.method().to_string();
                self.lines.write(now, || {
                    format!(
                        "{method} from {} in a call of user/{name}, by another connection, has the password of \
                         user/{}, and is refused with 403",
                        from.address, sender.user
                    )
                });
                Whose::refused(Reply::status(403), true)
            }
            Err(Turned::Away(_, reply)) => Whose::refused(reply, true),
            Err(Turned::Once(reply)) => Whose::refused(reply, false),
            Err(Turned::Ignored) => Whose::Ignored,
        }
    }
}

fn host(flow: &Flow) -> std::net::IpAddr {
    flow.remote.ip().to_canonical()
}
