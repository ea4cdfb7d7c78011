//! Outgoing calls: the channels that a contact's leg holds, and how long it waits.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Instant;

use super::ServerAdmission;
use super::refusing::words;
use crate::channel_limits::NoEntry;
use crate::gateway::OutOfUse;
use crate::gateway::ner::Ends;
use crate::origin::Origin;
use b2b_call::channels::{Channel, Holder};
use b2b_call::identity::diversion::Diverted;
use b2b_call::lookup::ResolvedContact;
use b2b_call::switch::admission::{Dialled, Led, Outgoing};

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
        dialled: Dialled<'_>,
    ) -> Result<Outgoing, (u16, &'static str)> {
        let Dialled { contact, held, .. } = dialled;
        let settings = self.settings.clone();
        // Both conditions: once transferred or redirected, it is an ordinary call.
        let urgent =
            contact.emergency.is_some() && held.iter().any(|it| matches!(it.holder(), Holder::Emergency(_)));
        let by = diverted_by(contact).map(Origin::User).or_else(|| Some(settings.party(dialled.by?).0));
        let counted = match (by, dialled.token) {
            _ if urgent => Ok(()),
            (None, Some(token)) => self.counted_for_token(now, token, &dialled),
            (by, _) => by.map_or(Ok(()), |by| self.counted(now, by, &dialled)),
        };
        counted.map_err(|why| self.refused_for(why))?;
        let mut outgoing = Outgoing::default();
        if let Some(gateway) = &contact.gateway {
            let most = gateway.channels.filter(|_| !urgent);
            if let (Some(most), Some(Origin::User(name))) = (most, by)
                && contact.emergency.is_none()
                && settings.config.user(name).is_none_or(|user| user.max_calls.is_none())
            {
                let share = self.channel_limits.share(now, &gateway.name, most, name);
                outgoing.channels.push(share.map_err(|why| self.refused_for(why))?);
            }
            let channel = self.channel_limits.through(&gateway.name, most);
            outgoing.channels.push(channel.map_err(|why| self.refused_for(why))?);
        }
        // The redirecting user holds one more call for it.
        let diverted = contact.diverted.as_deref().into_iter().flat_map(Diverted::all);
        let users = contact.user.iter().chain(diverted.filter_map(|it| it.user.as_ref()));
        for user in users.filter_map(|name| settings.directory.user(name)) {
            let held: Vec<Channel> = held.iter().chain(&outgoing.channels).cloned().collect();
            let channel = self.channel_limits.to_user(&user.name, user.max_calls, &held).map_err(|why| {
                self.refused_for(why);
                (486, "Busy Here")
            });
            outgoing.channels.push(channel?);
        }
        let Some(gateway) = &contact.gateway else { return Ok(outgoing) };
        let attempt = self.gateways.attempt(&gateway.name, ends(contact, held), urgent);
        outgoing.attempt = attempt.map_err(|OutOfUse| (503, "Gateway Out Of Use"))?;
        let per_s = settings.config.gateway(&gateway.name).and_then(|it| it.calls_per_s);
        if let Some(per_s) = per_s.filter(|_| !urgent) {
            let who = by.map(words).unwrap_or_default();
            match self.channel_limits.wait(now, &gateway.name, per_s, &who) {
                Ok((wait, place)) => (outgoing.wait, outgoing.place) = (wait, place),
                Err(why) => {
                    if let Some(attempt) = outgoing.attempt {
                        self.gateways.decided(now, &gateway.name, attempt, None);
                    }
                    return Err(self.refused_for(why));
                }
            }
        }
        Ok(outgoing)
    }

    /// Counts a contact that a program has asked for, unless it is one more phone of the same call.
    fn counted_for_token(&mut self, now: Instant, token: &str, dialled: &Dialled<'_>) -> Result<(), NoEntry> {
        match dialled.led {
            Led::Beside if dialled.contact.gateway.is_none() => Ok(()),
            Led::Called | Led::Beside | Led::Again => self.channel_limits.count_token(now, token),
        }
    }

    /// Counts a contact among the calls per second of whom the call counts for. Its INVITE has been counted, and
    /// each further user or gateway that the routes lead to delays the caller's next call; everything else is one
    /// more call.
    fn counted(&mut self, now: Instant, by: Origin<'_>, dialled: &Dialled<'_>) -> Result<(), NoEntry> {
        let Dialled { contact, held, .. } = dialled;
        let own = |name: &Arc<str>| held.iter().any(|it| *it.holder() == Holder::User(name.clone()));
        match dialled.led {
            Led::Called => Ok(()),
            Led::Beside if contact.diverted.is_none() => {
                if let Origin::User(name) = by
                    && (contact.gateway.is_some() || contact.user.as_ref().is_some_and(|user| !own(user)))
                {
                    self.channel_limits.charge(now, name);
                }
                Ok(())
            }
            Led::Beside | Led::Again => {
                let source = dialled.by.filter(|_| diverted_by(contact).is_none()).and_then(|by| by.address);
                self.channel_limits.count(now, by, source.map(|it| it.ip()))
            }
        }
    }
}

/// The user who redirected the call to a contact.
fn diverted_by(contact: &ResolvedContact) -> Option<&str> {
    contact.diverted.as_deref().and_then(|it| it.user.as_deref())
}
