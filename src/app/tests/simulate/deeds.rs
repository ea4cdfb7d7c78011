//! The actions of parties: how they ring and answer, what they do in calls, and how they react to requests of
//! the switch.

use b2b_call::controller::MediaEvent;
use b2b_call::service::ReferRequest;
use b2b_testkit::{
    B2B, Body, Event, InDialog, Invite, Method, Name, PartyId, Reply, Request, SESSION, UsageEvent, UsageId,
};

use crate::deaths::Deaths;
use crate::house::{number, uri};
use crate::plan::{APPS, ASKING, Command, Deed, MORTAL, Route, Says, Side, Then, address, any_phone, moved};
use crate::program::PLACES;
use crate::world::{Due, World};

/// An offer that no party accepts.
const STRANGE: &str = "v=0\r\no=party 1 2 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n\
                       m=audio 4000 RTP/AVP 96\r\na=rtpmap:96 STRANGE/8000\r\n";

fn session(direction: &str) -> Body {
    Body::sdp(format!("{SESSION}{direction}"))
}

/// The nonce of a party's challenge in this dialog.
fn nonce(request: &Request) -> String {
    let call_id = request.call_id().unwrap_or_default();
    format!("of-{}", String::from_utf8_lossy(call_id))
}

/// How a party refuses a request in this call.
fn refusal(usage: UsageId) -> u16 {
    let statuses = [488, 404, 410, 484, 488, 502, 604, 500];
    let seed = format!("{usage:?}").bytes().fold(7_usize, |sum, it| sum.wrapping_mul(31) + usize::from(it));
    statuses[seed % statuses.len()]
}

impl World {
    /// Lets the parties process what has arrived.
    pub fn react(&mut self) {
        self.trace();
        self.deaths.iter_mut().for_each(Deaths::follow);
        for index in 0..self.parties.len() {
            let party = self.parties[index];
            for event in self.harness.take(party) {
                match event {
                    Event::Incoming { usage, request, .. } => {
                        let uri = request.uri().ok();
                        let user = uri.and_then(|uri| uri.user).unwrap_or_default();
                        let user = String::from_utf8_lossy(user).into_owned();
                        if ASKING[0] == index && !self.proves(&request) {
                            self.asks_for_credentials(index, usage, &request);
                        } else {
                            self.comes_in(index, usage, &user);
                        }
                    }
                    Event::Usage { usage, event } => self.usage_event(index, usage, event),
                    _ => {}
                }
            }
        }
    }

    /// Whether a request has credentials for the current challenge.
    fn proves(&self, request: &Request) -> bool {
        let Some(credentials) = request.header(Name::ProxyAuthorization) else { return false };
        let (text, nonce) = (String::from_utf8_lossy(credentials), nonce(request));
        assert!(
            text.contains(&nonce) && text.contains("username=\"acme\""),
            "credentials for {nonce}: {text}"
        );
        true
    }

    fn asks_for_credentials(&mut self, index: usize, usage: UsageId, request: &Request) {
        let challenge = format!("Digest realm=\"carrier\", nonce=\"{}\", qop=\"auth\"", nonce(request));
        let headers = vec![("Proxy-Authenticate".into(), challenge.into())];
        let now = self.harness.now();
        let _ = self.harness.endpoint(self.parties[index]).reply(
            now,
            usage,
            Reply { headers, ..Reply::status(407) },
        );
    }

    fn comes_in(&mut self, index: usize, usage: UsageId, user: &str) {
        let of = number(user).filter(|(n, _)| *n < self.desk.plans.len());
        let planned = of.and_then(|(n, rest)| {
            let phone = rest.strip_prefix('p')?.parse::<usize>().ok()?;
            Some((n, self.desk.plans[n].phones.get(phone)?.clone()))
        });
        let (call, phone) = match planned {
            Some((n, phone)) => (Some(n), phone),
            None => {
                self.unplanned += 1;
                (None, any_phone(self.desk.seed, self.unplanned, index))
            }
        };
        if let Some((n, "p0")) = of
            && matches!(self.desk.plans[n].route, Route::Originated(_))
        {
            self.of_usage.insert((index, usage), n);
        }
        let ringing = self.ringing.len();
        let (rings, after) = (phone.rings, phone.after);
        self.ringing.push((self.parties[index], usage, phone, call));
        if let Some((ms, ..)) = rings {
            self.later(ms, Due::Ring(ringing));
        }
        self.later(rings.map_or(0, |(ms, ..)| ms) + after, Due::Decide(ringing));
    }

    pub fn ring(&mut self, n: usize) {
        let (party, usage, phone, _) = self.ringing[n].clone();
        let Some((_, status, early, reliable)) = phone.rings else { return };
        let body = early.then(|| Body::sdp(SESSION));
        let now = self.harness.now();
        let reply = Reply { reliable, body, ..Reply::status(status) };
        let said = self.harness.endpoint(party).reply(now, usage, reply);
        // It says so again, without an answer that it has given.
        if said.is_ok() && reliable && self.deaths.is_some() {
            self.ringing[n].2.rings = Some((0, if status == 180 { 183 } else { 180 }, false, true));
            self.later(300, Due::Ring(n));
        }
    }

    pub fn decide(&mut self, n: usize) {
        let (party, usage, phone, call) = self.ringing[n].clone();
        let now = self.harness.now();
        if call.is_some_and(|call| self.desk.plans[call].crosses) {
            self.later(0, Due::GiveUp(call.unwrap_or_default()));
        }
        match phone.then {
            Then::Answer => {
                let answered = self.harness.endpoint(party).answer(now, usage, Some(Body::sdp(SESSION)));
                // An offer that was answered reliably needs no other answer.
                if answered.is_err() {
                    let _ = self.harness.endpoint(party).answer(now, usage, None);
                }
                if let Some(call) = call {
                    self.ends[call].callee = Some((party, usage));
                }
            }
            Then::Refuse(status) => drop(self.harness.endpoint(party).reject(now, usage, status, "")),
            Then::Redirect => {
                let to = uri(&self.desk.plans, call.unwrap_or_default(), 2);
                let headers = vec![("Contact".into(), format!("<{to}>").into())];
                let reply = Reply { headers, ..Reply::status(302) };
                let _ = self.harness.endpoint(party).reply(now, usage, reply);
            }
            Then::Nothing => {}
        }
    }

    fn usage_event(&mut self, index: usize, usage: UsageId, event: UsageEvent) {
        let (now, party) = (self.harness.now(), self.parties[index]);
        match event {
            UsageEvent::Provisional { response, prack_wanted: true } => {
                let _ = self.harness.endpoint(party).prack(now, usage, &response, Some(Body::sdp(SESSION)));
            }
            UsageEvent::Answered { ack_wanted, .. } => {
                if ack_wanted {
                    let _ = self.harness.endpoint(party).ack(now, usage, Some(Body::sdp(SESSION)));
                }
                self.is_up(index, usage);
            }
            // A call that the switch has made to this party.
            UsageEvent::Acknowledged { .. } => self.is_up(index, usage),
            UsageEvent::ReInviteAnswered { ack_wanted: true, .. } => {
                let _ = self.harness.endpoint(party).ack(now, usage, Some(Body::sdp(SESSION)));
            }
            UsageEvent::ReInvite { request } if ASKING.contains(&index) && !self.proves(&request) => {
                self.asks_for_credentials(index, usage, &request);
            }
            UsageEvent::ReInvite { .. } => {
                let endpoint = self.harness.endpoint(party);
                // Some refuse it with a status that ends a dialog (RFC 5057 §5.1).
                let _ = match index {
                    5 => endpoint.reject(now, usage, refusal(usage), ""),
                    _ => endpoint.answer(now, usage, Some(Body::sdp(SESSION))),
                };
            }
            UsageEvent::Update { transaction, request } => {
                let body = (!request.body().is_empty()).then(|| Body::sdp(SESSION));
                let reply = Reply { body, ..Reply::status(200) };
                let _ = self.harness.endpoint(party).respond(now, transaction, reply);
            }
            UsageEvent::Request { transaction, .. } => {
                let status = if index == 6 { refusal(usage) } else { 200 };
                let _ = self.harness.endpoint(party).respond(now, transaction, Reply::status(status));
            }
            UsageEvent::Refer { refer, .. } => {
                let endpoint = self.harness.endpoint(party);
                let status = if index.is_multiple_of(2) { 202 } else { 603 };
                let _ = endpoint.answer_refer(now, usage, refer, Reply::status(status));
                let _ = endpoint.notify_refer(
                    now,
                    usage,
                    refer,
                    if index.is_multiple_of(3) { 200 } else { 486 },
                    "",
                );
            }
            UsageEvent::RefreshWanted => {
                let _ = self.harness.endpoint(party).reinvite(now, usage, Some(Body::sdp(SESSION)));
            }
            _ => {}
        }
    }

    /// A caller is answered: the planned actions of the call begin.
    fn is_up(&mut self, index: usize, usage: UsageId) {
        let Some(n) = self.of_usage.get(&(index, usage)).copied() else { return };
        if std::mem::replace(&mut self.ends[n].is_up, true) {
            return;
        }
        let plans = self.desk.plans.clone();
        for (deed, (ms, ..)) in plans[n].deeds.iter().enumerate() {
            self.later(*ms, Due::Deed(n, deed));
        }
        self.later(plans[n].ends.0, Due::End(n));
    }

    pub fn deed(&mut self, n: usize, deed: usize) {
        let Some((side, what)) = self.deed_of(n, deed) else { return };
        let ends = self.ends[n].clone();
        let who = if side == Side::Caller { ends.caller } else { ends.callee };
        if let Deed::Command(command) = what {
            return self.command(n, side, command);
        }
        let Some((party, usage)) = who.filter(|(party, usage)| self.harness.is_up(*party, *usage)) else {
            return;
        };
        let now = self.harness.now();
        // Actions that the dialog does not allow at the moment are skipped.
        match what {
            Deed::Reinvite(way) => drop(self.harness.endpoint(party).reinvite(now, usage, way.map(session))),
            Deed::Update(way) => drop(self.harness.endpoint(party).update(now, usage, session(way))),
            Deed::Info(digit) => {
                let data = format!("Signal={digit}\r\nDuration=160\r\n").into();
                let body = Body { content_type: "application/dtmf-relay".into(), data };
                self.request(party, usage, Method::Info, body);
            }
            Deed::Message => {
                self.request(
                    party,
                    usage,
                    Method::Message,
                    Body { content_type: "text/plain".into(), data: "hi".into() },
                );
            }
            Deed::ReferBlind => {
                self.refer(party, usage, format!("<{}>", uri(&self.desk.plans, n, 2)));
                // One of the original parties requests an offer at about the time the target answers.
                let phone = &self.desk.plans[n].phones[2];
                let answers = phone.rings.map_or(0, |(ms, ..)| ms) + phone.after;
                if n.is_multiple_of(3) {
                    self.later((answers + n as u64 % 80).saturating_sub(40), Due::WantOffer(n));
                }
            }
            Deed::ReferTo(app) => self.refer(party, usage, format!("<sip:a{app}@{B2B}>")),
            Deed::ReferAttended(early) => self.consult(n, (party, usage), early),
            Deed::Replace => self.replace(n, (party, usage)),
            Deed::Keys(keys) => self.keys(n, &keys),
            Deed::Silence => {
                let endpoint = self.legs_of(n).and_then(|(_, leg)| self.harness.endpoint_of(leg));
                if let Some(endpoint) = endpoint {
                    self.harness.media_event(MediaEvent::Timeout { endpoint });
                }
            }
            Deed::Kill => {
                self.is_dead = true;
                self.harness.kill(self.parties[MORTAL]);
            }
            Deed::Move(says) => {
                let Some(index) = self.parties.iter().position(|it| *it == party) else { return };
                self.moves[index] += 1;
                let to = moved(index, self.moves[index]);
                self.harness.moves(party, usage, &to);
                let endpoint = self.harness.endpoint(party);
                let _ = match says {
                    Says::ByReinvite => endpoint.reinvite(now, usage, Some(Body::sdp(SESSION))),
                    Says::ByUpdate => endpoint.update(now, usage, Body::sdp(SESSION)),
                    Says::InVain => endpoint.reinvite(now, usage, Some(Body::sdp(STRANGE))),
                };
            }
            Deed::Command(_) => {}
        }
    }

    pub fn want_offer(&mut self, n: usize) {
        let ends = &self.ends[n];
        let who = if n.is_multiple_of(2) { ends.caller } else { ends.callee };
        if let Some((party, usage)) = who {
            let now = self.harness.now();
            let _ = self.harness.endpoint(party).reinvite(now, usage, None);
        }
    }

    fn request(&mut self, party: PartyId, usage: UsageId, method: Method, body: Body) {
        let now = self.harness.now();
        let request = InDialog { method, headers: Vec::new(), body: Some(body) };
        let _ = self.harness.endpoint(party).request(now, usage, request);
    }

    fn refer(&mut self, party: PartyId, usage: UsageId, to: String) {
        let now = self.harness.now();
        let _ = self.harness.endpoint(party).refer(now, usage, to.into(), true, Vec::new());
    }

    fn keys(&mut self, n: usize, keys: &str) {
        for key in keys.chars() {
            let endpoint = self.legs_of(n).and_then(|(_, leg)| self.harness.endpoint_of(leg));
            if let Some(endpoint) = endpoint {
                self.harness.press(endpoint, &key.to_string());
            }
        }
    }

    /// The caller of a call calls another party, and joins both a while later.
    fn consult(&mut self, n: usize, (party, usage): (PartyId, UsageId), early: bool) {
        let now = self.harness.now();
        match self.ends[n].consults {
            None => {
                let target = format!("sip:c{n}q@{B2B}").into();
                let invite = Invite { target, body: Some(Body::sdp(SESSION)), ..Invite::default() };
                let called = self.harness.endpoint(party).invite(now, invite);
                self.ends[n].consults = called.ok().map(|called| (party, called));
                let plans = self.desk.plans.clone();
                let phone = &plans[n].phones[3];
                let rings = phone.rings.map_or(0, |(ms, ..)| ms);
                let then = if early { rings + phone.after / 2 + 50 } else { rings + phone.after + 300 };
                if let Some(deed) =
                    plans[n].deeds.iter().position(|(_, _, it)| *it == Deed::ReferAttended(early))
                {
                    self.later(then, Due::Deed(n, deed));
                }
            }
            Some((party, consultation)) => {
                let Some(replaces) = self.harness.replaces(party, consultation) else { return };
                // A program may act on it, too.
                if let Some((call, _)) = self.legs_of(n).filter(|_| n.is_multiple_of(3)) {
                    let service = self.harness.service();
                    let says = async move { drop(service.enter(call, PLACES[3]).await) };
                    let _ = self.harness.service().spawn(says);
                }
                self.refer(party, usage, format!("<sip:c{n}q@{B2B}?{}>", replaces.embedded()));
            }
        }
    }

    /// Another phone replaces this party in its call.
    fn replace(&mut self, n: usize, (party, usage): (PartyId, UsageId)) {
        let Some(replaces) = self.harness.replaces(party, usage) else { return };
        let now = self.harness.now();
        let other = self.parties[(self.desk.plans[n].caller + 1) % crate::plan::CALLERS];
        let invite = Invite {
            target: format!("sip:c{n}q@{B2B}").into(),
            headers: vec![("Replaces".into(), replaces.to_string().into())],
            body: Some(Body::sdp(SESSION)),
            ..Invite::default()
        };
        let called = self.harness.endpoint(other).invite(now, invite);
        // Some give up before the other side has agreed.
        if let Ok(usage) = called
            && n.is_multiple_of(2)
        {
            self.newcomers.push((other, usage));
            self.later(n as u64 % 100, Due::Cancel(self.newcomers.len() - 1));
        }
    }

    /// An external program commands the caller's leg, or its other side.
    fn command(&mut self, n: usize, side: Side, command: Command) {
        let Some((call, leg)) = self.legs_of(n) else { return };
        let service = self.harness.service();
        let target = uri(&self.desk.plans, n, 2);
        let other = self.harness.snapshot().into_iter().find_map(|it| {
            let bridge = it.bridge?;
            (bridge.a == leg).then_some(bridge.b).or((bridge.b == leg).then_some(bridge.a))
        });
        let leg = if side == Side::Callee { other.unwrap_or(leg) } else { leg };
        let work = async move {
            match command {
                Command::Hold => drop(service.hold(leg, false).await),
                Command::Resume => drop(service.resume(leg).await),
                Command::Unbridge(kept) => drop(service.unbridge(leg, kept).await),
                Command::Transfer => drop(service.transfer(leg, &target).await),
                Command::HandOver(app) => drop(service.hand_over(leg, APPS[app], None).await),
                Command::LetGo(app) => {
                    let _ = service.let_go_of(leg).await;
                    let _ = service.enter(call, PLACES[app % PLACES.len()]).await;
                    let _ = service.sleep(std::time::Duration::from_secs(2)).await;
                    let _ = service.hand_over(leg, APPS[app], Some("77")).await;
                }
                Command::Refer(own) => {
                    let to = format!("sip:x@{}", address(0));
                    drop(service.refer(leg, ReferRequest { to, own, headers: Vec::new() }).await);
                }
                Command::Record => drop(service.record_call(call, None).await),
                Command::StopRecord => drop(service.stop_call_recording(call).await),
                Command::Wander(places) => {
                    for place in places {
                        let _ = match PLACES.get(place) {
                            Some(place) => service.enter(call, *place).await,
                            None => service.transfer(leg, &target).await,
                        };
                        let _ = service.sleep(std::time::Duration::from_millis(30)).await;
                    }
                }
                Command::HangUpLeg => drop(service.hangup(leg).await),
                Command::HangUpCall => drop(service.hangup_call(call).await),
            }
        };
        let _ = self.harness.service().spawn(work);
    }
}
