//! INVITE at admission control: who may call, and which channels the call holds.

use std::time::Instant;

use super::refusing::words;
use super::{ServerAdmission, Turned};
use crate::caller_policy;
use crate::effective_source::EffectiveSource;
use crate::emergency;
use crate::origin::Origin;
use b2b_call::channels::Channel;
use b2b_call::identity::CallerIdentity;
use b2b_call::switch::admission::{Caller, Proof};
use b2b_sip::auth::Side;
use b2b_sip::endpoint::{Flow, Reply};
use b2b_sip::msg::Request;

impl ServerAdmission {
    /// Identifies the caller, and derives the rules for the call.
    pub(super) fn caller(&mut self, now: Instant, request: &Request, flow: &Flow) -> Result<Caller, Turned> {
        let (from, gateway) = (self.source(request, flow), self.known_by(request, flow));
        let (identity, channels, redials) = self.admit(now, request, from, gateway.as_deref())?;
        if identity.is_some() {
            self.prove(flow);
        }
        let (user, known) = (identity.as_deref(), gateway.as_deref());
        let policy = self.settings.caller_policy(self.settings.caller(user, known, from.ip()).0);
        let trunk = match self.settings.caller(user, known, flow.remote.ip()).0 {
            Origin::Gateway(name) => self.settings.trunk(name).map(|(trunk, _)| trunk),
            Origin::User(_) | Origin::Trusted | Origin::Unknown => None,
        };
        let (tls, listener) = trunk.map(|it| (it.tls.clone(), it.listener.clone())).unwrap_or_default();
        let hops = self.hops.of_caller(now, &self.settings, user, known, flow);
        let gateway = gateway.filter(|_| identity.is_none());
        let source = from.address;
        Ok(Caller { identity, gateway, source, channels, redials, policy, hops, tls, listener })
    }

    /// The caller's user, if authenticated by password, the channels that the call holds, and whether it takes
    /// the place of an earlier emergency call.
    fn admit(
        &mut self,
        now: Instant,
        request: &Request,
        from: EffectiveSource,
        gateway: Option<&str>,
    ) -> Result<(Option<String>, Vec<Channel>, bool), Turned> {
        let settings = self.settings.clone();
        let service = request.uri().is_ok_and(|uri| uri.is_service());
        // RFC 3261 §8.2.2.1; this refusal needs no authentication.
        if service && emergency::dialled(&settings, request, Default::default()).is_none() {
            return Err(self.turned(now, request, from, Turned::Once(Reply::status(416))));
        }
        let source = from.ip();
        let identity = match settings.sender(gateway, source).0 {
            Origin::Unknown => match self.authenticate(now, request, from, Side::Proxy) {
                Ok(sender) => Some(sender.user),
                Err(turned) => return Err(self.turned(now, request, from, turned)),
            },
            _ => None,
        };
        let proof = if identity.is_some() { Proof::Password } else { Proof::Configured };
        let (origin, _) = settings.caller(identity.as_deref(), gateway, source);
        let urgent = emergency::asked(&settings, request, origin).zip(settings.config.emergency.as_ref());
        if service && urgent.is_none() {
            return Err(self.turned(now, request, from, Turned::Away(proof, Reply::status(416))));
        }
        let past_limits = urgent.and_then(|(_, shares)| {
            let reads = caller_policy::reads(&settings, identity.as_deref(), gateway, source);
            let number = CallerIdentity::read(request, &reads).number;
            self.channel_limits.enter_urgent(now, shares, (origin, source, &number))
        });
        let ordinary = || {
            let entered = self.channel_limits.enter(now, &settings.config, origin, source);
            entered.map(|channels| (channels, false))
        };
        let entered = past_limits.map_or_else(ordinary, Ok);
        match entered {
            Ok((channels, redials)) => Ok((identity, channels, redials)),
            Err(why) => {
                let (reply, who) = (self.no_entry(why), words(origin));
                self.tell_refused(now, request, (&who, from.address), &reply);
                Err(Turned::Away(proof, reply))
            }
        }
    }

    /// Whether an INVITE may be an emergency call: for an unknown sender, a password has to prove it.
    pub(super) fn may_be_urgent(&self, request: &Request, flow: &Flow) -> bool {
        let settings = self.parts.current.get();
        let (gateway, source) = (self.known_by(request, flow), self.source(request, flow));
        match settings.sender(gateway.as_deref(), source.ip()).0 {
            Origin::Unknown => emergency::dialled(&settings, request, Default::default()).is_some(),
            origin => emergency::asked(&settings, request, origin).is_some(),
        }
    }
}
