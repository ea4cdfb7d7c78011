//! Dialling: originating calls, and dialling for callers.

use tokio::sync::oneshot;

use super::{CallService, DialError, DialOptions, DialOrder, DialRequest, DialStage, DialTo};
use crate::lookup::{LookupError, LookupResult};
use crate::service::command::Command;
use crate::{BridgeId, CallId, LegId};

/// A call that has begun, and what is told of its first leg with early media and of the one that answers.
type Begun = (CallId, oneshot::Receiver<LegId>, oneshot::Receiver<Result<LegId, DialError>>);

/// A call that may have begun; dropping it before it is known hangs it up.
struct Starting {
    service: CallService,
    call: oneshot::Receiver<CallId>,
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.call.close();
        if let Ok(call) = self.call.try_recv() {
            let service = self.service.clone();
            // A service that stops hangs up all.
            let _ = self.service.spawn(async move { drop(service.hangup_call(call).await) });
        }
    }
}

impl CallService {
    /// Dials until a contact answers: a leg with media of our own, in a call of its own. Contacts of equal
    /// priority ring in parallel, one priority after the other; the first to answer wins, and the others are
    /// cancelled as answered elsewhere (RFC 3326).
    ///
    /// # Errors
    /// No contact answers.
    pub async fn dial(&self, request: DialRequest) -> Result<LegId, DialError> {
        self.ask(|reply| Command::Dial { request: Box::new(request), started: None, early: None, reply })
            .await
            .unwrap_or_else(|_| Err(self.not_dialled(DialError::over())))
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
        let (call, _, answer) = self.begin(request).await?;
        let service = self.clone();
        Ok((
            call,
            async move { answer.await.unwrap_or_else(|_| Err(service.not_dialled(DialError::over()))) },
        ))
    }

    /// As [`CallService::originate`], with early media if [`DialOptions::early_media`] says so: the future between them
    /// gives the first leg that has it, once a stream that only listens can hear it; `None`: there is none before the
    /// answer.
    ///
    /// # Errors
    /// As [`CallService::originate`].
    pub async fn originate_early(
        &self,
        request: DialRequest,
    ) -> Result<
        (
            CallId,
            impl Future<Output = Option<LegId>> + Send + use<>,
            impl Future<Output = Result<LegId, DialError>> + Send + use<>,
        ),
        DialError,
    > {
        let (call, early, answer) = self.begin(request).await?;
        let service = self.clone();
        let answer =
            async move { answer.await.unwrap_or_else(|_| Err(service.not_dialled(DialError::over()))) };
        Ok((call, async move { early.await.ok() }, answer))
    }

    async fn begin(&self, request: DialRequest) -> Result<Begun, DialError> {
        let (started, call) = oneshot::channel();
        let mut starting = Starting { service: self.clone(), call };
        let ((reply, answer), (heard, early)) = (oneshot::channel(), oneshot::channel());
        let request = Box::new(request);
        let (started, heard) = (Some(started.into()), Some(heard.into()));
        let sent = self.commands.send(Command::Dial { request, started, early: heard, reply: reply.into() });
        sent.map_err(|_| DialError::Stopping)?;
        let Ok(call) = (&mut starting.call).await else {
            // No call begins; the answer says why.
            return Err(answer.await.ok().and_then(Result::err).unwrap_or(DialError::Stopping));
        };
        Ok((call, early, answer))
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
            .unwrap_or_else(|_| Err(self.not_dialled(DialError::CallerGone)))
    }

    /// Several targets, looked up at once, for [`DialTo::Stages`]. With
    /// [`DialOrder::Parallel`] the first choices of all targets ring together, then the second ones, and a 6xx
    /// of one ends that one; with [`DialOrder::Serial`] one target rings after the other. A contact of several
    /// targets rings once, and a target without contacts is left out.
    ///
    /// # Errors
    /// No target has contacts: the error of the first one. `None`: no target is given.
    pub async fn lookup_all(
        &self,
        targets: &[impl AsRef<str>],
        order: DialOrder,
    ) -> Result<Vec<DialStage>, Option<LookupError>> {
        let ask = |target: &str| {
            let (target, (reply, answer)) = (target.to_owned(), oneshot::channel());
            // A service that has stopped drops the reply.
            let _ = self.commands.send(Command::Lookup { target: target.clone(), reply: reply.into() });
            (target, answer)
        };
        let asked: Vec<_> = targets.iter().map(|target| ask(target.as_ref())).collect();
        let (mut stages, mut first_error) = (Vec::<DialStage>::new(), None);
        for (target, answer) in asked {
            let found = match answer.await {
                Ok(found) => found,
                Err(_) => {
                    let why = "the service is stopping".to_owned();
                    Err(LookupError::Unavailable { target: target.clone(), why })
                }
            };
            match found {
                Ok(found) => add(&mut stages, &target, found, order),
                Err(error) => drop(first_error.get_or_insert(error)),
            }
        }
        match (order, stages.is_empty()) {
            (_, true) => Err(first_error),
            (DialOrder::Serial, _) => Ok(stages),
            (DialOrder::Parallel, _) => Ok(vec![DialStage::together(stages)]),
        }
    }

    /// Dials several targets, in parallel or one after the other: a leg with media of our own, in a call of its
    /// own, as [`CallService::dial`] does.
    ///
    /// ```no_run
    /// # use b2b_call::{LegId, service::{CallService, DialError, DialOptions, DialOrder}};
    /// # async fn whoever(service: CallService) -> Result<LegId, DialError> {
    /// // Both ring; the first to answer gets the call.
    /// let both = ["user/1001", "gateway/carrier/+4930123456"];
    /// service.dial_targets(&both, DialOrder::Parallel, DialOptions::default()).await
    /// # }
    /// ```
    ///
    /// # Errors
    /// No contact answers, no target has contacts, or none is given.
    pub async fn dial_targets(
        &self,
        targets: &[impl AsRef<str>],
        order: DialOrder,
        options: DialOptions,
    ) -> Result<LegId, DialError> {
        let stages = self.lookup_all(targets, order).await.map_err(|error| match error {
            Some(error) => DialError::Lookup(error),
            None => DialError::Invalid("no target is set".to_owned()),
        })?;
        self.dial(DialRequest { to: DialTo::Stages(stages), options }).await
    }
}

/// Adds another target.
fn add(stages: &mut Vec<DialStage>, target: &str, found: LookupResult, order: DialOrder) {
    let mut stage = DialStage::from(found);
    stage.contacts.retain(|it| !stages.iter().flat_map(|it| &it.contacts).any(|known| known.is_at(it)));
    if order == DialOrder::Parallel {
        for contact in &mut stage.contacts {
            contact.member.get_or_insert_with(|| target.into());
        }
    }
    if !stage.contacts.is_empty() {
        stages.push(stage);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::{LookupKind, ResolvedContact};

    fn joined(order: DialOrder) -> Vec<DialStage> {
        let contact = |(uri, priority): (&str, u16)| ResolvedContact::new(format!("sip:{uri}"), priority);
        let mut stages = Vec::new();
        for (target, contacts) in [
            ("user/ann", &[("desk", 0), ("mobile", 3)][..]),
            ("user/bob", &[("desk", 0), ("home", 0), ("car", 1)]),
        ] {
            let contacts = contacts.iter().copied().map(contact).collect();
            add(&mut stages, target, LookupResult::new(LookupKind::User, target, contacts), order);
        }
        stages
    }

    fn words(stages: &[DialStage]) -> Vec<String> {
        let contacts = stages.iter().flat_map(|it| &it.contacts);
        contacts.map(|it| format!("{} {}", it.uri.trim_start_matches("sip:"), it.priority)).collect()
    }

    #[test]
    fn targets_ring_together_by_choice_or_one_after_the_other_and_nobody_twice() {
        let together = DialStage::together(joined(DialOrder::Parallel));
        assert!(together.contacts.iter().all(|it| it.member.is_some()), "each declines for itself");
        assert_eq!(words(&[together]), ["desk 0", "home 0", "mobile 1", "car 1"]);
        let serial = joined(DialOrder::Serial);
        assert_eq!(serial.len(), 2);
        assert_eq!(words(&serial), ["desk 0", "mobile 3", "home 0", "car 1"]);
    }
}
