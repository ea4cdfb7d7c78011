//! Dialling: originating calls, and dialling for callers.

use tokio::sync::oneshot;

use super::{CallService, DialError, DialOptions, DialOrder, DialRequest};
use crate::lookup::{LookupError, ResolvedContact};
use crate::switch::command::Command;
use crate::{BridgeId, CallId, LegId};

impl CallService {
    /// Dials one contact after the other until one answers: a leg with media of our own, in a call of its
    /// own.
    ///
    /// # Errors
    /// No contact answers.
    pub async fn dial(&self, request: DialRequest) -> Result<LegId, DialError> {
        self.ask(|reply| Command::Dial { request: Box::new(request), started: None, reply })
            .await
            .unwrap_or(Err(DialError::Stopping))
    }

    /// As [`CallService::dial`], in two steps: returns the call that begins now, and a future of the leg that
    /// answers. Dropping the future ends the call. The legs that are being called are known before one of
    /// them answers: [`CallService::locate`] finds the first one from its INVITE on,
    /// [`CallService::wait_for_state`] waits for its ringing, and
    /// [`Event::LegCreated`](crate::event::Event::LegCreated) names each.
    ///
    /// # Errors
    /// No call begins: the maximum number of calls is up, or the service is stopping.
    pub async fn originate(
        &self,
        request: DialRequest,
    ) -> Result<(CallId, impl Future<Output = Result<LegId, DialError>> + Send + use<>), DialError> {
        let (started, call) = oneshot::channel();
        let (reply, answer) = oneshot::channel();
        let request = Box::new(request);
        let sent =
            self.commands.send(Command::Dial { request, started: Some(started.into()), reply: reply.into() });
        sent.map_err(|_| DialError::Stopping)?;
        let Ok(call) = call.await else {
            // No call begins; the answer says why.
            return Err(answer.await.ok().and_then(Result::err).unwrap_or(DialError::Stopping));
        };
        Ok((call, async move { answer.await.unwrap_or(Err(DialError::Stopping)) }))
    }

    /// As [`CallService::dial`], but contacts of equal priority ring in parallel; the first to answer wins,
    /// and the others are cancelled as answered elsewhere (RFC 3326). [`CallService::dial_targets`] does this
    /// for several targets.
    ///
    /// # Errors
    /// No contact answers.
    pub async fn dial_parallel(&self, mut request: DialRequest) -> Result<LegId, DialError> {
        request.options.order = DialOrder::Parallel;
        self.dial(request).await
    }

    /// Dials for a caller: the callee's offer and answer, and early media, are passed on, and both are
    /// bridged on answer. Takes the leg over as [`CallService::adopt_inbound_leg`] does. If no contact
    /// answers, the leg still waits for a decision.
    ///
    /// # Errors
    /// No contact answers, or the caller gives up.
    pub async fn dial_and_bridge(&self, leg: LegId, request: DialRequest) -> Result<BridgeId, DialError> {
        self.ask(|reply| Command::DialAndBridge { leg, request: Box::new(request), reply })
            .await
            .unwrap_or(Err(DialError::Stopping))
    }

    /// The contacts of several targets, looked up at once, for [`DialTo::Contacts`](super::DialTo::Contacts).
    /// With [`DialOrder::Parallel`] the contacts of first priority of all targets ring together, then those
    /// of the second; with [`DialOrder::Serial`] a target's contacts come after all those of the previous
    /// target. A contact of several targets is listed once, and a target without contacts is left out.
    ///
    /// # Errors
    /// No target has contacts: the error of the first one. `None`: no target is given.
    pub async fn lookup_all(
        &self,
        targets: &[impl AsRef<str>],
        order: DialOrder,
    ) -> Result<Vec<ResolvedContact>, Option<LookupError>> {
        let ask = |target: &str| {
            let (target, (reply, answer)) = (target.to_owned(), oneshot::channel());
            // A service that has stopped drops the reply.
            let _ = self.commands.send(Command::Lookup { target: target.clone(), reply: reply.into() });
            (target, answer)
        };
        let asked: Vec<_> = targets.iter().map(|target| ask(target.as_ref())).collect();
        let (mut contacts, mut first_error) = (Vec::<ResolvedContact>::new(), None);
        for (target, answer) in asked {
            let found = match answer.await {
                Ok(found) => found,
                Err(_) => Err(LookupError::Unavailable { target, why: "the service is stopping".to_owned() }),
            };
            match found {
                Ok(found) => add(&mut contacts, found.contacts, order),
                Err(error) => drop(first_error.get_or_insert(error)),
            }
        }
        if contacts.is_empty() { Err(first_error) } else { Ok(contacts) }
    }

    /// Dials several targets, in parallel or one after the other according to `options`: a leg with media of
    /// our own, in a call of its own, as [`CallService::dial`] does.
    ///
    /// ```no_run
    /// # use b2b_call::{LegId, service::{CallService, DialError, DialOptions, DialOrder}};
    /// # async fn whoever(service: CallService) -> Result<LegId, DialError> {
    /// // Both ring; the first to answer gets the call.
    /// let together = DialOptions { order: DialOrder::Parallel, ..DialOptions::default() };
    /// service.dial_targets(&["user/1001", "gateway/carrier/+4930123456"], together).await
    /// # }
    /// ```
    ///
    /// # Errors
    /// No contact answers, no target has contacts, or none is given.
    pub async fn dial_targets(
        &self,
        targets: &[impl AsRef<str>],
        options: DialOptions,
    ) -> Result<LegId, DialError> {
        let contacts = self.lookup_all(targets, options.order).await.map_err(|error| match error {
            Some(error) => DialError::Lookup(error),
            None => DialError::Invalid("no target is set".to_owned()),
        })?;
        self.dial(DialRequest { options, ..DialRequest::contacts(contacts) }).await
    }
}

/// Adds the contacts of another target.
fn add(all: &mut Vec<ResolvedContact>, more: Vec<ResolvedContact>, order: DialOrder) {
    let last = all.iter().map(|it| it.priority).max();
    let after = match order {
        DialOrder::Serial => last.map_or(0, |last| last.saturating_add(1)),
        DialOrder::Parallel => 0,
    };
    for mut contact in more {
        let same = |it: &ResolvedContact| {
            (&it.uri, &it.flow, &it.path) == (&contact.uri, &contact.flow, &contact.path)
        };
        if !all.iter().any(same) {
            contact.priority = contact.priority.saturating_add(after);
            all.push(contact);
        }
    }
    all.sort_by_key(|it| it.priority);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(order: DialOrder) -> Vec<(String, u16)> {
        let contact = |(uri, priority): (&str, u16)| ResolvedContact::new(format!("sip:{uri}"), priority);
        let mut all = Vec::new();
        for target in [&[("desk", 0), ("mobile", 3)][..], &[("desk", 0), ("home", 0), ("car", 1)]] {
            add(&mut all, target.iter().copied().map(contact).collect(), order);
        }
        all.into_iter().map(|it| (it.uri.trim_start_matches("sip:").to_owned(), it.priority)).collect()
    }

    #[test]
    fn targets_ring_together_by_priority_or_one_after_the_other_and_nobody_twice() {
        let words = |order| joined(order).iter().map(|(uri, at)| format!("{uri} {at}")).collect::<Vec<_>>();
        assert_eq!(words(DialOrder::Parallel), ["desk 0", "home 0", "car 1", "mobile 3"]);
        assert_eq!(words(DialOrder::Serial), ["desk 0", "mobile 3", "home 4", "car 5"]);
    }
}
