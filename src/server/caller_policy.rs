//! Which caller identity is trusted and what gateways are sent of it, as configured.

use std::net::IpAddr;
use std::sync::Arc;

use super::in_force::Settings;
use super::origin::Origin;
use crate::config::{CalledFrom, Gateway, IdentityField, NumberFormat, Rewrite, User};
use b2b_call::identity::diversion::Diverted;
use b2b_call::identity::number::NumberFormat as Form;
use b2b_call::identity::outward::{Outward, Sends};
use b2b_call::identity::{Believed, CalledFrom as Where, Reads, UserNumbers};
use b2b_call::lookup::ResolvedContact;

/// How an INVITE from this source is read: from this user if it was authenticated, from this gateway if it
/// has shown its certificate.
pub fn reads<'a>(
    settings: &'a Settings,
    identity: Option<&str>,
    certified: Option<&str>,
    source: IpAddr,
) -> Reads<'a> {
    let unknown = Reads { ours: &*settings.directory, ..Reads::default() };
    if let Some(user) = identity.and_then(|name| settings.directory.user(name)) {
        return Reads { believed: Believed::User(numbers(user)), ..unknown };
    }
    let gateway = match settings.caller(None, certified, source).0 {
        Origin::Gateway(name) => settings.config.gateway(name),
        Origin::Trusted => return Reads { believed: Believed::Local, ..unknown },
        Origin::User(_) | Origin::Unknown => None,
    };
    let Some(gateway) = gateway else { return unknown };
    Reads {
        believed: if gateway.identity.trust { Believed::Asserted } else { Believed::From },
        gateway: true,
        called: called_from(&gateway.identity.called_from),
        ..unknown
    }
}

pub fn called_from(from: &CalledFrom) -> Where<'_> {
    match from {
        CalledFrom::RequestUri => Where::RequestUri,
        CalledFrom::To => Where::To,
        CalledFrom::Header(name) => Where::Header(name),
    }
}

fn numbers(user: &User) -> UserNumbers<'_> {
    UserNumbers {
        name: &user.name,
        display_name: user.display_name.as_deref(),
        aliases: &user.aliases,
        usual: user.caller_id.as_deref(),
        numbers: &user.numbers,
    }
}

/// A user's number: the claimed one if it is one of the user's own, else the default.
pub fn number_of(user: &User, told: &str) -> String {
    let chosen = user.numbers.iter().find(|number| *number == told);
    chosen.or(user.caller_id.as_ref()).unwrap_or(&user.name).clone()
}

/// How the caller is presented to a gateway.
pub fn outward(gateway: &Gateway) -> Arc<Outward> {
    let fields = &gateway.identity.sends;
    let has = |field: IdentityField| fields.contains(&field);
    let sends = Sends {
        asserted: has(IdentityField::Asserted),
        preferred: has(IdentityField::Preferred),
        remote_party: has(IdentityField::RemoteParty),
        diversion: has(IdentityField::Diversion),
        history: has(IdentityField::History),
        signed: has(IdentityField::Signed),
    };
    Arc::new(Outward {
        trusted: gateway.identity.trust,
        sends: (!fields.is_empty()).then_some(sends),
        params: gateway.identity.params.clone(),
        number: rewrite(gateway, &gateway.caller),
    })
}

/// A gateway's rewrite rules for a number, followed by its number format.
pub fn rewrite(gateway: &Gateway, rules: &[Rewrite]) -> b2b_call::identity::outward::Rewrite {
    let form = match gateway.identity.format {
        NumberFormat::AsIs => Form::AsIs,
        NumberFormat::E164 => Form::E164,
        NumberFormat::DoubleZero => Form::DoubleZero,
        NumberFormat::NoPlus => Form::NoPlus,
    };
    let (rules, country) = (rules.to_vec(), gateway.identity.country.clone());
    Arc::new(move |number| {
        let number = Rewrite::first(&rules, number).unwrap_or_else(|| number.to_string());
        form.write(country.as_deref(), &number)
    })
}

/// The forwarding party of a call that reaches a gateway after a user's phones, or from a group; for gateways
/// that are sent it.
pub struct Forwarding<'a> {
    settings: &'a Settings,
    called: &'a str,
    /// Number of the previous user, and the reason why that user does not answer, where known.
    by: Option<(String, &'static str)>,
}

impl<'a> Forwarding<'a> {
    /// For a call to this number.
    pub fn new(settings: &'a Settings, called: &'a str) -> Self {
        Forwarding { settings, called, by: None }
    }

    /// A target is unreachable.
    pub fn unreachable(&mut self, target: &str) {
        let user = target.strip_prefix("user/").and_then(|name| self.settings.directory.user(name));
        if let Some(user) = user {
            self.by = Some((number_of(user, ""), "unavailable"));
        }
    }

    /// The next contact of a target to be called, after those before it.
    pub fn passes(&mut self, target: &str, contact: &mut ResolvedContact) {
        let group = target.starts_with("group/");
        if let Some(user) = contact.user.as_deref().and_then(|name| self.settings.directory.user(name)) {
            let number = if group { self.called.to_owned() } else { number_of(user, "") };
            self.by = Some((number, ""));
            return;
        }
        if group && contact.gateway.is_some() {
            self.by.get_or_insert_with(|| (self.called.to_owned(), ""));
        }
        let sends = contact.told.as_ref().and_then(|told| told.outward.sends);
        let is_told = sends.is_some_and(|sends| sends.diversion || sends.history);
        if let Some((number, reason)) = self.by.as_ref().filter(|_| is_told && contact.diverted.is_none()) {
            let diverted = Diverted { number: number.clone(), reason, ..Diverted::default() };
            contact.diverted = Some(Arc::new(diverted));
        }
    }
}
