//! REGISTER and its responses (RFC 3261 §10.2), with credentials.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::outbound::{self, OutboundFlow};
use super::schedule::{Answer, Order, Registration};
use crate::auth::{Authorized, ChallengeError, DigestClient};
use crate::dialog::hop::Hop;
use crate::endpoint::{Endpoint, InviteError, OutOfDialog, RequestFailure, RequestIdentity};
use crate::msg::contact_token::ContactToken;
use crate::msg::seconds::{self, REGISTRATION};
use crate::msg::{Method, Name, NameAddr, Response, Uri, one_line};

/// Maximum number of REGISTERs in a row that responses ask for: challenges and 423.
const MOST_AGAIN: u8 = 8;
/// Maximum number of Service-Route values accepted; an IMS uses three.
const MOST_ROUTES: usize = 8;

/// A registrar: one of several alternatives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The Request-URI.
    pub registrar: String,
    /// Our address-of-record, for From and To: `<sip:alice@example.com>`.
    pub address: String,
    /// The URI of the next hop, if it is not that of the registrar.
    pub way: Option<String>,
    /// Route values (name-addrs): an outbound proxy.
    pub route: Vec<Bytes>,
}

/// The account to register.
pub struct Account {
    /// Credentials; without them a challenge is a failure.
    pub digest: Option<DigestClient>,
    /// The expiry requested, in seconds.
    pub expires: u32,
    /// User part of our Contact, escaped.
    pub user: String,
    /// The TLS settings for connections, as in [`OutOfDialog::tls`].
    pub tls: Option<Arc<str>>,
    /// The listener of ours that sends requests, as in [`OutOfDialog::listener`].
    pub listener: Option<Arc<str>>,
    /// The URN of this instance (RFC 5626 §4.1): asks the registrar to reach us by the flow
    /// of the REGISTER. `None` to not ask.
    pub outbound: Option<Arc<str>>,
    /// Token in the URI of our Contact, which identifies calls of this registration.
    pub token: Option<ContactToken>,
}

/// Why the registration has failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The challenge cannot be answered, or our credentials were refused.
    #[error(transparent)]
    Challenge(#[from] ChallengeError),
    /// The registrar asks for a password, and none is set.
    #[error("the registrar requires a password, and none is set")]
    NoCredentials,
    /// Any other final response except 2xx.
    #[error("{status} {reason}")]
    Response { status: u16, reason: String },
    /// There was no final response.
    #[error(transparent)]
    Request(#[from] RequestFailure),
    /// The request could not be built.
    #[error(transparent)]
    Unsent(#[from] InviteError),
    /// The registrar has granted no usable time: our contact is not among those in force, or
    /// for too few seconds.
    #[error(
        "the registrar grants {seconds} s, too little to be reached; check with its operator that the account may \
         register this contact"
    )]
    TooBrief { seconds: u32 },
}

/// The result of the last request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Last {
    /// Its status; `None` if there was no response.
    pub status: Option<u16>,
    /// Its reason phrase.
    pub reason: String,
    /// Why it failed; `None` on success.
    pub failure: Option<Failure>,
}

/// An active registration: its times, its requests, and the handling of responses.
pub struct Registrant {
    /// The state and times of the registration.
    pub schedule: Registration,
    account: Account,
    places: Vec<Place>,
    place: usize,
    /// The credentials of the outstanding request.
    sent: Authorized,
    identity: Option<RequestIdentity>,
    last: Option<Last>,
    granted: Option<Duration>,
    /// The Contact accepted last.
    contact: Option<String>,
    /// The previous Contact, if it was different: the registrar still has it.
    stale: Option<String>,
    /// Index of the registrar that granted the registration last.
    granted_by: usize,
    service_route: Vec<Bytes>,
    outbound: Option<OutboundFlow>,
    /// REGISTERs in a row that a response asked for.
    again: u8,
}

impl Registrant {
    /// A registration that has not started. `places` must not be empty.
    pub fn new(schedule: Registration, account: Account, places: Vec<Place>) -> Self {
        Registrant {
            schedule,
            account,
            places,
            place: 0,
            sent: Authorized::default(),
            identity: None,
            last: None,
            granted: None,
            contact: None,
            stale: None,
            granted_by: 0,
            service_route: Vec::new(),
            outbound: None,
            again: 0,
        }
    }

    /// User part of our Contact.
    pub fn user(&self) -> &str {
        &self.account.user
    }

    /// Whether this is the token of our Contact and the registration is in force.
    pub fn is_token(&self, token: ContactToken) -> bool {
        self.account.token == Some(token) && self.schedule.state().is_in_force()
    }

    /// The current registrar.
    pub fn place(&self) -> Option<&Place> {
        self.places.get(self.place)
    }

    /// The result of the last request; `None` before the first.
    pub fn last(&self) -> Option<&Last> {
        self.last.as_ref()
    }

    /// The expiry granted last.
    pub fn granted(&self) -> Option<Duration> {
        self.granted
    }

    /// Index of the registrar that granted the registration in force, if any.
    pub fn granted_by(&self) -> Option<usize> {
        self.contact().map(|_| self.granted_by)
    }

    /// The Service-Route for requests outside dialogs (RFC 3608), as name-addrs in order.
    /// Empty if it is not a list of SIP URIs, or too long.
    pub fn service_route(&self) -> &[Bytes] {
        &self.service_route
    }

    /// The flow by which the registrar reaches us (RFC 5626); `None` without outbound
    /// support, or if nothing is in force.
    pub fn outbound(&self) -> Option<OutboundFlow> {
        self.outbound.filter(|_| self.schedule.state().is_in_force())
    }

    /// Our Contact at the registrar, or `None` if it has none as far as we know.
    pub fn contact(&self) -> Option<&str> {
        self.contact.as_deref().filter(|_| self.schedule.state().is_in_force())
    }

    /// The request for an order. All requests have the same Call-ID (§10.2.4).
    pub fn request(&mut self, order: Order, endpoint: &mut Endpoint) -> Option<OutOfDialog> {
        let expires = match order {
            Order::Nothing => return None,
            Order::Register { next_host } => {
                if next_host {
                    self.place = (self.place + 1) % self.places.len().max(1);
                }
                self.account.expires
            }
            Order::Unregister => 0,
        };
        let (request, sent) = self.build(expires, endpoint)?;
        self.sent = sent;
        Some(request)
    }

    /// The request that removes our previous Contact after our address has changed. Its
    /// response does not matter.
    pub fn remove_stale(&mut self, endpoint: &mut Endpoint) -> Option<OutOfDialog> {
        let stale = self.stale.take()?;
        let (request, _) = self.build(0, endpoint)?;
        Some(OutOfDialog { contact_uri: Some(stale.into()), contact: Some(Bytes::new()), ..request })
    }

    fn build(&mut self, expires: u32, endpoint: &mut Endpoint) -> Option<(OutOfDialog, Authorized)> {
        let place = self.places.get(self.place)?;
        let identity = match &self.identity {
            Some(identity) => identity.next(),
            None => endpoint.identify(),
        };
        self.identity = Some(identity.clone());
        let sent = match &mut self.account.digest {
            Some(digest) => digest.authorize(&Method::Register, place.registrar.as_bytes()),
            None => Authorized::default(),
        };
        let mut headers = sent.headers.clone();
        headers.push((Bytes::from_static(b"Expires"), Bytes::from(expires.to_string())));
        let mut contact = Bytes::new();
        if let Some(instance) = &self.account.outbound {
            let (supported, params) = outbound::asks(instance);
            headers.push(supported);
            contact = params;
        }
        let address = Bytes::from(place.address.clone());
        let request = OutOfDialog {
            from: Some(address.clone()),
            to: Some(address),
            identity: Some(identity),
            route: place.route.clone(),
            outbound: place.way.clone().map(Bytes::from),
            contact_user: Some(self.account.user.clone().into()),
            contact: Some(contact),
            uri_params: self.account.token.map(ContactToken::param).unwrap_or_default(),
            tls: self.account.tls.clone(),
            listener: self.account.listener.clone(),
            headers,
            ..OutOfDialog::new(Method::Register, place.registrar.clone())
        };
        Some((request, sent))
    }

    /// Handles a request that could not be sent.
    pub fn unsent(&mut self, now: Instant, error: InviteError) -> Order {
        self.failed(None, error.into());
        self.schedule.answered(now, Answer::Failed { retry_after: None })
    }

    /// Handles the outcome of a request. `contact` is our Contact in it.
    pub fn answered(
        &mut self,
        now: Instant,
        result: &Result<Response, RequestFailure>,
        contact: Option<&str>,
    ) -> Order {
        let leaves = self.schedule.state() == super::State::Leaving;
        let answer = match result {
            Ok(response) => self.answer(response, contact, leaves),
            Err(failure) => {
                self.failed(None, Failure::Request(*failure));
                Answer::Failed { retry_after: None }
            }
        };
        let answer = match answer {
            Answer::Again if self.again + 1 == MOST_AGAIN => {
                let status = result.as_ref().map_or(0, |response| response.status());
                let reason = "the registrar asks for another REGISTER again and again".to_owned();
                self.failed(Some(status), Failure::Response { status, reason });
                Answer::Refused
            }
            answer => answer,
        };
        self.again = if answer == Answer::Again { self.again + 1 } else { 0 };
        if let (Answer::Accepted { .. }, Some(contact), false) = (answer, contact, leaves) {
            let old = self.contact.replace(contact.to_owned());
            // With the same instance and flow, the new binding replaces the old one (RFC 5626
            // §6): removing the old one would remove the new one.
            self.stale = old.filter(|old| old != contact && self.outbound.is_none());
        }
        self.schedule.answered(now, answer)
    }

    fn answer(&mut self, response: &Response, contact: Option<&str>, leaves: bool) -> Answer {
        let status = response.status();
        let reason = String::from_utf8_lossy(response.reason()).into_owned();
        let failure = Failure::Response { status, reason };
        match status {
            200..300 => {
                if let Some(digest) = &mut self.account.digest {
                    digest.accepted(&self.sent);
                }
                let granted = granted(response, contact).unwrap_or(self.account.expires);
                let least = *REGISTRATION.start().min(&self.account.expires);
                if granted < least && !leaves {
                    self.failed(Some(status), Failure::TooBrief { seconds: granted });
                    return Answer::TooBrief;
                }
                self.last = Some(Last { status: Some(status), reason: failure.to_string(), failure: None });
                let granted = seconds::within(&(least.max(1)..=*REGISTRATION.end()), granted);
                self.granted = Some(granted);
                self.granted_by = self.place;
                self.service_route = service_route(response);
                self.outbound = self.account.outbound.as_ref().and_then(|_| OutboundFlow::of(response));
                Answer::Accepted { granted }
            }
            401 | 407 => {
                let Some(digest) = &mut self.account.digest else {
                    self.failed(Some(status), Failure::NoCredentials);
                    return Answer::Refused;
                };
                match digest.challenged(response, &self.sent) {
                    Ok(()) => Answer::Again,
                    Err(error) => {
                        self.failed(Some(status), error.into());
                        Answer::Refused
                    }
                }
            }
            // First Hop Lacks Outbound Support (RFC 5626 §11.6).
            439 if self.account.outbound.take().is_some() => Answer::Again,
            423 => match response.seconds(Name::MinExpires) {
                Some(least) if least > self.account.expires && REGISTRATION.contains(&least) => {
                    self.account.expires = least;
                    Answer::Again
                }
                _ => {
                    self.failed(Some(status), failure);
                    Answer::Refused
                }
            },
            300..=399 | 408 | 429 | 480 | 500..=599 => {
                self.failed(Some(status), failure);
                let asked = response.seconds(Name::RetryAfter);
                Answer::Failed { retry_after: asked.map(|it| seconds::within(&seconds::RETRY_AFTER, it)) }
            }
            _ => {
                self.failed(Some(status), failure);
                Answer::Refused
            }
        }
    }

    fn failed(&mut self, status: Option<u16>, failure: Failure) {
        self.last = Some(Last { status, reason: failure.to_string(), failure: Some(failure) });
    }
}

/// The Service-Route of a 2xx.
fn service_route(response: &Response) -> Vec<Bytes> {
    let values: Vec<&[u8]> = response.headers(Name::ServiceRoute).collect();
    let is_route =
        |value: &&[u8]| NameAddr::parse(value).is_some_and(|route| Hop::of(&route.uri) != Hop::Nowhere);
    let good = values.len() <= MOST_ROUTES && values.iter().all(is_route);
    if good { values.into_iter().map(one_line).collect() } else { Vec::new() }
}

/// The expiry granted (§10.2.4): that of our Contact, else of Expires. A registrar that rewrites
/// our Contact lists it in another form: then that of the contacts of our user counts, or of all. Which of
/// several is ours is not known, so the first to end counts: to refresh too early costs a request, too late
/// every call. `None`: the response names no time.
fn granted(response: &Response, contact: Option<&str>) -> Option<u32> {
    let ours = contact.and_then(|contact| Uri::parse(contact.as_bytes()).ok());
    let listed: Vec<_> = response.contacts().flatten().collect();
    let header = response.seconds(Name::Expires);
    let own = |it: &NameAddr<'_>| seconds::seconds(it.params.get("expires")?.unquoted().as_ref());
    let time = |it: &NameAddr<'_>| own(it).or(header);
    let is_ours = |uri: &Uri<'_>| ours.as_ref().is_some_and(|ours| uri.equivalent(ours));
    if let Some(found) = listed.iter().find(|it| is_ours(&it.uri)) {
        return time(found);
    }
    let same_user = |it: &&NameAddr<'_>| ours.as_ref().is_some_and(|ours| it.uri.user == ours.user);
    let first = |times: Vec<u32>| {
        let usable = times.iter().copied().filter(|time| seconds::REGISTRATION.contains(time)).min();
        usable.or_else(|| times.into_iter().max())
    };
    let of_user = first(listed.iter().filter(same_user).filter_map(time).collect());
    of_user.or_else(|| first(listed.iter().filter_map(time).collect())).or(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msg::{Limits, Message};
    use crate::registration::{Pace, State};

    const OURS: &str = "sip:line7@10.1.1.5:5062";

    fn response(status: &str, fields: &str) -> Result<Response, RequestFailure> {
        let text = format!(
            "SIP/2.0 {status}\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\n\
             Call-ID: 1\r\nCSeq: 1 REGISTER\r\n{fields}\r\n"
        );
        match Message::parse(text.into(), &Limits::default()) {
            Ok(Message::Response(response)) => Ok(response),
            other => panic!("{other:?}"),
        }
    }

    /// A REGISTER for this many seconds is under way.
    fn asking(now: Instant, expires: u32) -> Registrant {
        let account = Account {
            digest: None,
            expires,
            user: "line7".to_owned(),
            tls: None,
            listener: None,
            outbound: None,
            token: None,
        };
        let schedule = Registration::new(1, Pace::GATEWAY, [5; 32]);
        let mut it = Registrant::new(schedule, account, vec![Place::default()]);
        it.schedule.start(now);
        it
    }

    /// What a 200 grants to a REGISTER for an hour; `None`: nothing.
    fn granted(fields: &str) -> Option<u64> {
        let now = Instant::now();
        let mut it = asking(now, 3_600);
        it.answered(now, &response("200 OK", fields), Some(OURS));
        let failed = it.last().is_some_and(|last| last.failure.is_some());
        assert_eq!(failed, !it.schedule.state().is_in_force(), "{fields}");
        it.granted().filter(|_| !failed).map(|it| it.as_secs())
    }

    #[test]
    fn a_granted_time_is_found_wherever_the_registrar_writes_it() {
        for (fields, expected) in [
            ("", Some(3_600)),
            ("Expires: 900\r\n", Some(900)),
            ("Contact: <sip:line7@10.1.1.5:5062>;expires=120\r\nExpires: 900\r\n", Some(120)),
            ("Contact: <sip:line7@10.1.1.5:5062>\r\nExpires: 900\r\n", Some(900)),
            ("Contact: <sip:line7@10.1.1.5:5062>;expires=\"240\"\r\n", Some(240)),
            (
                "Contact: <sip:x@192.0.2.9>;expires=60\r\nm: <sip:line7@10.1.1.5:5062>;expires=1800\r\n",
                Some(1_800),
            ),
            // Rewritten, alone and beside those of others.
            ("Contact: <sip:line7@198.51.100.9:31000>;expires=300\r\n", Some(300)),
            (
                "Contact: <sip:x@192.0.2.9>;expires=3000, <sip:line7@198.51.100.9:31000>;expires=300\r\n",
                Some(300),
            ),
            ("Contact: <sip:x@192.0.2.9>;expires=50, <sip:y@198.51.100.9:31000>;expires=3500\r\n", Some(50)),
            ("m: <sip:line7@192.0.2.9>;expires=3540, <sip:line7@198.51.100.9:9>;expires=14\r\n", Some(14)),
            // The old one ends by itself.
            ("m: <sip:line7@192.0.2.9>;expires=4, <sip:line7@198.51.100.9:9>;expires=300\r\n", Some(300)),
            // More than can be counted.
            ("Expires: 4294967296\r\n", Some(604_800)),
            ("Contact: <sip:line7@10.1.1.5:5062>;expires=99999999999999999999\r\n", Some(604_800)),
            ("Contact: <sip:line7@10.1.1.5:5062>;expires=10\r\n", Some(10)),
            // Nothing that could be used.
            ("Contact: <sip:line7@10.1.1.5:5062>;expires=9\r\n", None),
            ("Contact: <sip:line7@10.1.1.5:5062>;expires=0, <sip:x@192.0.2.9>;expires=3000\r\n", None),
            ("Contact: <sip:line7@10.1.1.5:5062>\r\nExpires: 0\r\n", None),
            ("Contact: <sip:x@192.0.2.9>;expires=0\r\n", None),
            ("Expires: 0\r\n", None),
        ] {
            assert_eq!(granted(fields), expected, "{fields}");
        }
    }

    #[test]
    fn who_asks_for_less_than_the_least_is_content_with_it() {
        let now = Instant::now();
        let mut it = asking(now, 2);
        it.answered(now, &response("200 OK", "Expires: 2\r\n"), Some(OURS));
        assert!(it.schedule.state().is_in_force());
        it.answered(now, &response("200 OK", "Expires: 0\r\n"), Some(OURS));
    }

    #[test]
    fn a_removal_is_granted_no_time_and_succeeds() {
        let now = Instant::now();
        let mut it = asking(now, 3_600);
        it.answered(now, &response("200 OK", ""), Some(OURS));
        it.schedule.stop(now);
        it.answered(now, &response("200 OK", "Expires: 0\r\n"), Some(OURS));
        assert_eq!((it.schedule.state(), it.last().unwrap().failure.clone()), (State::Gone, None));
    }

    #[test]
    fn a_registrar_that_always_wants_more_is_not_asked_for_ever() {
        let now = Instant::now();
        let mut it = asking(now, 3_600);
        let mut asked = 0;
        for least in 3_601..3_700 {
            let too_brief = response("423 Interval Too Brief", &format!("Min-Expires: {least}\r\n"));
            if it.answered(now, &too_brief, Some(OURS)) == Order::Nothing {
                break;
            }
            asked += 1;
        }
        assert!((1..10).contains(&asked), "{asked}");
        assert!(it.schedule.next_timeout().is_some_and(|at| at >= now + Duration::from_secs(30)));
    }
}
