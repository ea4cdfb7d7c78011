//! Outgoing calls: the channels that a contact's leg holds, and how long it waits.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use super::ServerAdmission;
use crate::gateway::OutOfUse;
use crate::gateway::ner::Ends;
use b2b_call::channels::{Channel, Holder};
use b2b_call::lookup::{Diverted, ResolvedContact};
use b2b_call::switch::admission::Outgoing;

/// The ends of a call to a gateway: the calling user, else the number that the gateway is sent; and the
/// called number.
fn ends(contact: &ResolvedContact, held: &[Channel]) -> Ends {
    let user = held.iter().find_map(|it| match it.holder() {
        Holder::User(name) => Some(&**name),
        _ => None,
    });
    let number = contact.told.as_ref().map(|told| told.number.as_str());
    let called = contact.uri.split_once('@').map_or(contact.uri.as_str(), |(user, _)| user);
    let number_of = |text: &str| {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        hasher.finish()
    };
    Ends { caller: number_of(user.or(number).unwrap_or_default()), called: number_of(called) }
}

impl ServerAdmission {
    /// The channels that a contact's leg is to hold, and how long its INVITE waits; an error counts as the
    /// contact's own response.
    pub(super) fn dialled(
        &mut self,
        now: Instant,
        contact: &ResolvedContact,
        held: &[Channel],
    ) -> Result<Outgoing, (u16, &'static str)> {
        let (mut channels, mut wait) = (Vec::new(), Duration::ZERO);
        // Both conditions: once transferred or redirected, it is an ordinary call.
        let urgent = contact.emergency.is_some() && held.iter().any(|it| *it.holder() == Holder::Emergency);
        if let Some(gateway) = &contact.gateway {
            let most = gateway.channels.filter(|_| !urgent);
            let channel = self.channel_limits.through(&gateway.name, most).map_err(|why| {
                self.count(why);
                (503, "All Channels In Use")
            });
            channels.push(channel?);
            let per_s = self.settings.config.gateway(&gateway.name).and_then(|it| it.calls_per_s);
            if let Some(per_s) = per_s.filter(|_| !urgent) {
                wait = self.channel_limits.wait(now, &gateway.name, per_s).map_err(|why| {
                    self.count(why);
                    (503, "Too Many Calls In This Second")
                })?;
            }
        }
        let user = contact.user.as_ref().and_then(|name| self.settings.directory.user(name));
        if let Some(user) = user {
            let channel = self.channel_limits.to_user(&user.name, user.max_calls, held).map_err(|why| {
                self.count(why);
                (486, "Busy Here")
            });
            channels.push(channel?);
        }
        // The redirecting user holds one more call for it.
        let diverted = contact.diverted.as_deref().into_iter().flat_map(Diverted::all);
        for name in diverted.filter_map(|it| it.user.as_deref()) {
            let Some(user) = self.settings.directory.user(name) else { continue };
            let held: Vec<Channel> = held.iter().chain(&channels).cloned().collect();
            let channel = self.channel_limits.to_user(&user.name, user.max_calls, &held).map_err(|why| {
                self.count(why);
                (486, "Busy Here")
            });
            channels.push(channel?);
        }
        let attempt = match &contact.gateway {
            Some(gateway) => {
                let attempt = self.gateways.attempt(&gateway.name, ends(contact, held), urgent);
                attempt.map_err(|OutOfUse| (503, "Gateway Out Of Use"))?
            }
            None => None,
        };
        Ok(Outgoing { channels, wait, attempt })
    }
}
