//! Session timers (RFC 4028): negotiation, and the state table of one call's timer.

use std::fmt;
use std::time::{Duration, Instant};

use crate::msg::seconds::SESSION;
use crate::msg::{Headers, Name, Request, Response, chars, seconds};

/// Settings of session timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SessionTimers {
    /// The interval requested, and the longest accepted, in seconds.
    pub expires: u32,
    /// The shortest interval accepted, in seconds; at least 90 (§4).
    pub min_se: u32,
}

impl Default for SessionTimers {
    fn default() -> Self {
        SessionTimers { expires: 1_800, min_se: 90 }
    }
}

/// Which side is to send the refreshes, if the peer does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum SessionRefresher {
    /// The caller for incoming calls; for outgoing calls the peer decides.
    #[default]
    Either,
    /// We refresh.
    Us,
    /// The peer refreshes.
    Them,
    /// No session timer in this call, whatever the peer says.
    Nobody,
}

impl SessionRefresher {
    /// Whether we refresh; `None` if it is not determined.
    pub fn is_us(self) -> Option<bool> {
        match self {
            SessionRefresher::Either | SessionRefresher::Nobody => None,
            SessionRefresher::Us => Some(true),
            SessionRefresher::Them => Some(false),
        }
    }
}

/// Which side refreshes, by its role in the transaction that negotiates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Refresher {
    Uac,
    Uas,
}

impl Refresher {
    /// The role of the refreshing side, given whether that is us and whether we are the UAC.
    pub fn of(we_refresh: bool, we_are_uac: bool) -> Self {
        if we_refresh == we_are_uac { Refresher::Uac } else { Refresher::Uas }
    }
}

/// A Session-Expires value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SessionExpires {
    pub seconds: u32,
    pub refresher: Option<Refresher>,
}

impl SessionExpires {
    /// Parses the header field of a message; `None` if it is absent or malformed.
    pub fn of(message: &Headers) -> Option<SessionExpires> {
        let value = message.header(Name::SessionExpires)?;
        let (seconds, params) = value.split_at(memchr::memchr(b';', value).unwrap_or(value.len()));
        let refresher = params.split(|&byte| byte == b';').find_map(|param| {
            let (name, value) = param.split_at(memchr::memchr(b'=', param)?);
            let value = chars::trim(value.get(1..)?);
            match chars::trim(name).eq_ignore_ascii_case(b"refresher") {
                true if value.eq_ignore_ascii_case(b"uac") => Some(Refresher::Uac),
                true if value.eq_ignore_ascii_case(b"uas") => Some(Refresher::Uas),
                _ => None,
            }
        });
        let seconds = seconds::seconds(seconds)?;
        Some(SessionExpires { seconds, refresher })
    }
}

impl fmt::Display for SessionExpires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refresher = match self.refresher {
            None => "",
            Some(Refresher::Uac) => ";refresher=uac",
            Some(Refresher::Uas) => ";refresher=uas",
        };
        write!(f, "{}{refresher}", self.seconds)
    }
}

/// Min-SE of a message; 0 if absent.
pub fn min_se(message: &Headers) -> u32 {
    message.seconds(Name::MinSe).unwrap_or(0)
}

/// The session timer of a UAS's 2xx (§9): interval and refresher. `require` adds Require,
/// which obliges the peer to refresh, or to hang up if we do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreement {
    pub expires: SessionExpires,
    pub require: bool,
}

/// The interval in a request is too short: respond with 422.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooSmall;

/// The response of a UAS to an INVITE or UPDATE. `we_refresh` is the current or preferred
/// refresher; the request's own choice takes precedence (§9, table 2). If the request neither
/// asks for a timer nor supports it, there is none.
pub fn agree(
    wanted: &SessionTimers,
    request: &Request,
    we_refresh: Option<bool>,
) -> Result<Option<Agreement>, TooSmall> {
    let supports = request.has_token(Name::Supported, "timer") || request.has_token(Name::Require, "timer");
    let asked = SessionExpires::of(request);
    if asked.is_none() && !supports {
        return Ok(None);
    }
    if supports && asked.is_some_and(|asked| asked.seconds < wanted.min_se) {
        return Err(TooSmall);
    }
    let least = wanted.min_se.max(min_se(request));
    let seconds = asked.map_or(wanted.expires, |asked| asked.seconds.min(wanted.expires)).max(least);
    let so_far = we_refresh.map_or(Refresher::Uac, |ours| Refresher::of(ours, false));
    let refresher = match asked.and_then(|asked| asked.refresher) {
        _ if !supports => Refresher::Uas,
        Some(named) => named,
        None => so_far,
    };
    let expires = SessionExpires { seconds, refresher: Some(refresher) };
    Ok(Some(Agreement { expires, require: supports }))
}

/// States of a call's session timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum State {
    Running,
    /// A refresh of ours is under way.
    Refreshing,
    Over,
}

/// Events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Half of the interval has passed, and we refresh.
    RefreshDue,
    /// Our refresh has failed; the call may still exist.
    RefreshFailed,
    /// The peer's dialog is gone.
    RefreshRefused,
    /// There was no refresh in time.
    Lapsed,
}

/// Actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    SendRefresh,
    /// Retry well before the expiry.
    TryLater,
    SendBye,
}

/// The state table. A 2xx of either side starts a new timer.
pub fn step(state: State, event: Event) -> (State, &'static [Action]) {
    use {Event as E, State as S};
    match (state, event) {
        (S::Running, E::RefreshDue) => (S::Refreshing, &[Action::SendRefresh]),
        (S::Refreshing, E::RefreshFailed) => (S::Running, &[Action::TryLater]),
        (S::Running | S::Refreshing, E::Lapsed | E::RefreshRefused) => (S::Over, &[Action::SendBye]),
        (state, _) => (state, &[]),
    }
}

/// The session timer of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SessionTimer {
    pub state: State,
    pub seconds: u32,
    /// The minimum that the peer required in a 422.
    pub min_se: u32,
    /// Whether we refresh.
    pub we_refresh: bool,
    /// Whether the peer supports UPDATE.
    pub by_update: bool,
    /// `None` if the peer refreshes, or our refresh is under way.
    #[serde(with = "b2b_base::ages::option")]
    pub refresh_at: Option<Instant>,
    #[serde(with = "b2b_base::ages")]
    pub lapse_at: Instant,
}

impl SessionTimer {
    /// Starts a timer now. The last third of a short interval, or the last 32 s of a long
    /// one, are reserved for the BYE (§10).
    pub fn start(now: Instant, seconds: u32, we_refresh: bool, by_update: bool) -> Self {
        let length = Duration::from_secs(seconds.into());
        SessionTimer {
            state: State::Running,
            seconds,
            min_se: 0,
            we_refresh,
            by_update,
            refresh_at: we_refresh.then(|| now + length / 2),
            lapse_at: now + length - (length / 3).min(Duration::from_secs(32)),
        }
    }

    /// The timer after a 2xx to our request; `None` if it ends the timer. The interval is never
    /// below the minimum of §4, and a refresh for a shorter one comes in time, but for a floor.
    pub fn of_response(now: Instant, response: &Response, by_update: bool) -> Option<Self> {
        let expires = SessionExpires::of(response).filter(|expires| expires.seconds > 0)?;
        let we_refresh = expires.refresher != Some(Refresher::Uas);
        let interval = expires.seconds.clamp(*SESSION.start(), *SESSION.end());
        let timer = SessionTimer::start(now, interval, we_refresh, by_update);
        let half = seconds::within(&seconds::SESSION_REFRESH, expires.seconds / 2);
        Some(SessionTimer { refresh_at: timer.refresh_at.map(|at| at.min(now + half)), ..timer })
    }

    /// The next deadline.
    pub fn deadline(&self) -> Option<Instant> {
        if self.state == State::Over {
            return None;
        }
        Some(self.refresh_at.map_or(self.lapse_at, |at| at.min(self.lapse_at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msg::{Limits, Message};

    const WANTED: SessionTimers = SessionTimers { expires: 1_800, min_se: 120 };

    fn invite(headers: &str) -> Request {
        let text = format!(
            "INVITE sip:b@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
             From: <sip:a@192.0.2.1>;tag=1\r\nTo: <sip:b@192.0.2.2>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:a@192.0.2.1>\r\n{headers}\r\n"
        );
        match Message::parse(text.into(), &Limits::default()) {
            Ok(Message::Request(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    fn agreed(headers: &str, we_refresh: Option<bool>) -> Result<Option<(String, bool)>, TooSmall> {
        let agreement = agree(&WANTED, &invite(headers), we_refresh)?;
        Ok(agreement.map(|it| (it.expires.to_string(), it.require)))
    }

    fn says(text: &str, require: bool) -> Result<Option<(String, bool)>, TooSmall> {
        Ok(Some((text.to_owned(), require)))
    }

    #[test]
    fn the_uas_agrees_as_table_2_of_the_rfc_says() {
        assert_eq!(agreed("", None), Ok(None));
        assert_eq!(agreed("Supported: timer\r\n", None), says("1800;refresher=uac", true));
        let short = "Supported: timer\r\nx: 600\r\n";
        assert_eq!(agreed(short, None), says("600;refresher=uac", true));
        assert_eq!(agreed(short, Some(true)), says("600;refresher=uas", true), "it stays with who does it");
        assert_eq!(agreed("k: timer\r\nx: 600;refresher=uas\r\n", None), says("600;refresher=uas", true));
        assert_eq!(
            agreed("k: timer\r\nx: 9000; refresher = UAC\r\n", None),
            says("1800;refresher=uac", true)
        );
        assert_eq!(agreed("k: timer\r\nx: 90\r\n", None), Err(TooSmall));
        assert_eq!(
            agreed("k: timer\r\nx: 9000\r\nMin-SE: 3600;a\r\n", None),
            says("3600;refresher=uac", true)
        );
        // A proxy asks for a timer that the caller does not support, so 422 is not possible.
        assert_eq!(agreed("Session-Expires: 90\r\n", None), says("120;refresher=uas", false));
        assert_eq!(agreed("Session-Expires: 600;refresher=uac\r\n", None), says("600;refresher=uas", false));
    }

    #[test]
    fn refresh_is_at_half_and_the_bye_before_the_end() {
        let now = Instant::now();
        let at = |seconds: u64| now + Duration::from_secs(seconds);
        let long = SessionTimer::start(now, 1_800, true, true);
        assert_eq!((long.refresh_at, long.lapse_at), (Some(at(900)), at(1_768)));
        let short = SessionTimer::start(now, 90, false, true);
        assert_eq!((short.refresh_at, short.lapse_at), (None, at(60)));
        assert_eq!(short.deadline(), Some(at(60)));
    }

    #[test]
    fn an_interval_of_a_peer_has_a_floor_and_a_ceiling() {
        for (value, refresh, lapse) in [
            ("2;refresher=uac", Some(10), 60),
            ("2;refresher=uas", None, 60),
            ("60;refresher=uac", Some(30), 60),
            ("90;refresher=uac", Some(45), 60),
            ("1800", Some(900), 1_768),
            ("4294967295;refresher=uac", Some(43_200), 86_368),
            ("99999999999999999999;refresher=uas", None, 86_368),
        ] {
            let text = format!(
                "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
                 To: <sip:a@b>;tag=2\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nSession-Expires: {value}\r\n\r\n"
            );
            let Ok(Message::Response(response)) = Message::parse(text.into(), &Limits::default()) else {
                panic!("{value}")
            };
            let now = Instant::now();
            let timer = SessionTimer::of_response(now, &response, true).unwrap();
            let after = |at: Instant| (at - now).as_secs();
            assert_eq!((timer.refresh_at.map(after), after(timer.lapse_at)), (refresh, lapse), "{value}");
        }
    }

    #[test]
    fn the_call_ends_once_whatever_happens_to_its_timer() {
        let events = [Event::RefreshDue, Event::RefreshFailed, Event::RefreshRefused, Event::Lapsed];
        for walk in 0..events.len().pow(5) {
            let (mut state, mut byes, mut under_way, mut rest) = (State::Running, 0, false, walk);
            for _ in 0..5 {
                let event = events[rest % events.len()];
                rest /= events.len();
                let (next, actions) = step(state, event);
                for action in actions {
                    match action {
                        Action::SendRefresh => assert!(!std::mem::replace(&mut under_way, true), "{walk}"),
                        Action::TryLater => under_way = false,
                        Action::SendBye => byes += 1,
                    }
                }
                assert_eq!(byes, i32::from(next == State::Over), "{walk}: {state:?} {event:?}");
                state = next;
            }
        }
    }
}
