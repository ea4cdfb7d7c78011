//! Runs session timers (RFC 4028): agreed in the 2xx of either side, refreshed by UPDATE or
//! by our user, and ended by BYE without a refresh.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::dialog::request::{Draft, SessionFields};
use crate::dialog::session_timer::{
    self, Action, Agreement, Event, Refresher, SessionExpires, SessionTimer, TooSmall,
};
use crate::dialog::usage::Phase;
use crate::endpoint::sending::send::User;
use crate::endpoint::{CommandError, Endpoint, SessionRefresher, Termination, UsageEvent, UsageId};
use crate::msg::{Headers, Method, Name, Request, Response, ResponseWriter};
use crate::transaction::client::Outcome;

/// Delay after a failed refresh until the next attempt.
const TRY_LATER: Duration = Duration::from_secs(10);

impl Endpoint {
    /// The session timer fields for our initial INVITE.
    pub(in crate::endpoint) fn session_wanted(&self, refresher: SessionRefresher) -> Option<SessionFields> {
        let wanted = self.config.session_timers?;
        let refresher = refresher.is_us().map(|we_refresh| Refresher::of(we_refresh, true));
        let expires = SessionExpires { seconds: wanted.expires, refresher };
        Some(SessionFields { expires, min_se: if wanted.min_se > 90 { wanted.min_se } else { 0 } })
    }

    /// The session timer fields for our re-INVITE or UPDATE, as agreed (§7.4).
    pub(in crate::endpoint) fn session_kept(&self, usage: UsageId) -> Option<SessionFields> {
        let timer = self.usages.get(usage)?.timer.as_deref()?;
        let refresher = Some(Refresher::of(timer.we_refresh, true));
        let expires = SessionExpires { seconds: timer.seconds.max(timer.min_se), refresher };
        Some(SessionFields { expires, min_se: timer.min_se })
    }

    /// The agreement for our 2xx to an INVITE or UPDATE.
    pub(in crate::endpoint) fn session_agreed(
        &self,
        usage: Option<UsageId>,
        request: &Request,
    ) -> Result<Option<Agreement>, TooSmall> {
        let Some(mut wanted) = self.config.session_timers else { return Ok(None) };
        let usage = usage.and_then(|usage| self.usages.get(usage));
        if usage.is_some_and(|it| it.refresher == SessionRefresher::Nobody) {
            return Ok(None);
        }
        let timer = usage.and_then(|it| it.timer.as_deref());
        if let Some(timer) = timer {
            // An agreed interval stays valid, whatever the configuration for new calls.
            wanted.expires = wanted.expires.max(timer.seconds);
            wanted.min_se = wanted.min_se.min(timer.seconds);
        }
        let we_refresh = timer.map(|timer| timer.we_refresh);
        let we_refresh = we_refresh.or_else(|| usage.and_then(|it| it.refresher.is_us()));
        session_timer::agree(&wanted, request, we_refresh)
    }

    /// Sets which side is to refresh the session if the peer does not say: the equivalent of
    /// [`crate::endpoint::Invite::refresher`] for incoming calls.
    ///
    /// # Errors
    /// There is no such call.
    pub fn set_refresher(&mut self, usage: UsageId, refresher: SessionRefresher) -> Result<(), CommandError> {
        let it = self.usages.get_mut(usage).filter(|it| !it.is_over()).ok_or(CommandError::Gone)?;
        it.refresher = refresher;
        Ok(())
    }

    /// Min-SE for a 422 if the interval of a request is too short for us.
    pub(in crate::endpoint) fn session_too_small(
        &self,
        usage: Option<UsageId>,
        request: &Request,
    ) -> Option<String> {
        self.session_agreed(usage, request).is_err().then(|| {
            let wanted = self.config.session_timers.unwrap_or_default();
            wanted.min_se.to_string()
        })
    }

    /// The timer after our 2xx to this request; `Some(None)` ends it, `None` if session
    /// timers are off.
    pub(in crate::endpoint) fn session_confirmed(
        &self,
        now: Instant,
        usage: UsageId,
        request: &Request,
    ) -> Option<Option<SessionTimer>> {
        self.config.session_timers?;
        let agreement = self.session_agreed(Some(usage), request).ok().flatten();
        let by_update = self.takes_update(usage, request);
        Some(agreement.map(|it| {
            let we_refresh = it.expires.refresher == Some(Refresher::Uas);
            SessionTimer::start(now, it.expires.seconds, we_refresh, by_update)
        }))
    }

    /// Starts the timer that a 2xx to our request specifies.
    pub(in crate::endpoint) fn session_answered(
        &mut self,
        now: Instant,
        usage: UsageId,
        response: &Response,
    ) {
        let refused =
            |usage| self.usages.get(usage).is_some_and(|it| it.refresher == SessionRefresher::Nobody);
        if self.config.session_timers.is_none() || refused(usage) {
            return;
        }
        let by_update = self.takes_update(usage, response);
        let timer = SessionTimer::of_response(now, response, by_update);
        self.set_timer(now, usage, timer);
    }

    /// Whether the peer supports UPDATE, according to its last Allow.
    fn takes_update(&self, usage: UsageId, message: &Headers) -> bool {
        let known = self.usages.get(usage).and_then(|it| it.timer.as_deref()).is_some_and(|it| it.by_update);
        match message.header(Name::Allow) {
            Some(_) => message.has_token(Name::Allow, "UPDATE"),
            None => known,
        }
    }

    pub(in crate::endpoint) fn set_timer(
        &mut self,
        now: Instant,
        usage: UsageId,
        timer: Option<SessionTimer>,
    ) {
        let Some(it) = self.usages.get_mut(usage) else { return };
        match (timer, it.timer.as_deref_mut()) {
            (Some(timer), Some(known)) => *known = SessionTimer { min_se: known.min_se, ..timer },
            (timer, _) => it.timer = timer.map(Box::new),
        }
        self.usages.arm(now, usage);
    }

    /// Handles a 422 that requires a longer interval. `false` if it gives none.
    pub(in crate::endpoint) fn session_longer(&mut self, usage: UsageId, response: &Response) -> bool {
        let least = session_timer::min_se(response);
        let timer = self.usages.get_mut(usage).and_then(|it| it.timer.as_deref_mut());
        match timer {
            Some(timer) if response.status() == 422 && least > timer.seconds.max(timer.min_se) => {
                timer.min_se = least;
                true
            }
            _ => false,
        }
    }

    /// Handles the timer's deadline. `false` if none was due.
    pub(in crate::endpoint) fn session_deadline(&mut self, now: Instant, usage: UsageId) -> bool {
        let Some(it) = self.usages.get_mut(usage) else { return false };
        let Some(timer) =
            it.timer.as_deref_mut().filter(|timer| timer.deadline().is_some_and(|at| at <= now))
        else {
            return false;
        };
        if timer.lapse_at <= now {
            self.timer_event(now, usage, Event::Lapsed);
        } else {
            timer.refresh_at = None;
            self.timer_event(now, usage, Event::RefreshDue);
        }
        true
    }

    fn timer_event(&mut self, now: Instant, usage: UsageId, event: Event) {
        let Some(it) = self.usages.get_mut(usage) else { return };
        let phase = it.phase;
        let Some(timer) = it.timer.as_deref_mut() else { return };
        let (next, actions) = session_timer::step(timer.state, event);
        timer.state = next;
        for action in actions {
            match action {
                Action::SendRefresh => self.send_refresh(now, usage),
                Action::TryLater => {
                    if let Some(timer) = self.usages.get_mut(usage).and_then(|it| it.timer.as_deref_mut()) {
                        timer.refresh_at = Some(now + TRY_LATER);
                    }
                    self.usages.arm(now, usage);
                }
                Action::SendBye if phase == Phase::Established => {
                    let reason = Bytes::from_static(b"SIP;cause=408;text=\"Session timer expired\"");
                    self.part_with(usage, vec![(Bytes::from_static(b"Reason"), reason)]);
                    self.hang_up_for(now, usage, User::Nobody(usage));
                    self.terminate(now, usage, Termination::SessionExpired);
                }
                // A hang-up is under way already.
                Action::SendBye => {}
            }
        }
    }

    /// Sends an UPDATE without a body, or asks the user to send a re-INVITE.
    fn send_refresh(&mut self, now: Instant, usage: UsageId) {
        let session = self.session_kept(usage);
        let Some(it) = self.usages.get_mut(usage) else { return };
        let by_update = it.timer.as_deref().is_some_and(|timer| timer.by_update);
        let Some(dialog) = it.dialogs.first_mut().filter(|_| it.phase == Phase::Established) else {
            return self.timer_event(now, usage, Event::RefreshFailed);
        };
        if !by_update {
            self.usage_event(usage, UsageEvent::RefreshWanted);
            return self.timer_event(now, usage, Event::RefreshFailed);
        }
        dialog.local_cseq += 1;
        let (dialog, cseq) = (dialog.clone(), dialog.local_cseq);
        let draft = Draft { session, ..Draft::new(Method::Update, cseq, None) };
        self.dispatch(now, dialog, draft, User::Refresh(usage));
    }

    /// Handles the outcome of our refresh (§10).
    pub(in crate::endpoint) fn refresh_outcome(
        &mut self,
        now: Instant,
        usage: UsageId,
        outcome: &Outcome<User>,
        response: Option<Response>,
    ) {
        let Some(result) = crate::endpoint::in_dialog::requests::result(outcome, response) else { return };
        let event = match result {
            Ok(response) if response.status() < 300 => {
                if let Some(dialog) = self.usages.get_mut(usage).and_then(|it| it.dialogs.first_mut()) {
                    dialog.refresh_target(&response);
                }
                return self.session_answered(now, usage, &response);
            }
            Ok(response) => match response.status() {
                408 | 481 => Event::RefreshRefused,
                422 if self.session_longer(usage, &response) => return self.send_refresh(now, usage),
                491 | 500 | 503 | 504 => Event::RefreshFailed,
                // UPDATE fails with this peer, whatever the reason.
                _ => {
                    if let Some(timer) = self.usages.get_mut(usage).and_then(|it| it.timer.as_deref_mut()) {
                        timer.by_update = false;
                    }
                    return self.send_refresh(now, usage);
                }
            },
            Err(_) => Event::RefreshRefused,
        };
        self.timer_event(now, usage, event);
    }
}

/// Adds Session-Expires to a 2xx, and Require if the peer supports session timers.
pub(in crate::endpoint) fn write_agreement(
    writer: ResponseWriter,
    agreement: Option<Agreement>,
) -> ResponseWriter {
    let Some(Agreement { expires, require }) = agreement else { return writer };
    let writer = writer.header_fmt(Name::SessionExpires, format_args!("{expires}"));
    if require { writer.header(Name::Require, "timer") } else { writer }
}
