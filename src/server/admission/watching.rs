//! SUBSCRIBE at admission control: who may watch.

use super::{Origin, ServerAdmission, Turned, refusing};
use crate::notifier::Asking;
use crate::notifier::resource::Watcher;
use b2b_call::switch::Turn;
use b2b_call::switch::admission::Proof;
use b2b_sip::auth::Side;
use b2b_sip::endpoint::{Flow, Reply, ServerTransactionId};
use b2b_sip::msg::Request;

impl ServerAdmission {
    /// Answers a SUBSCRIBE outside any dialog.
    pub(super) fn subscribed(
        &mut self,
        t: &mut Turn<'_>,
        transaction: ServerTransactionId,
        request: &Request,
        flow: &Flow,
    ) {
        self.follow(t.now);
        let answered = match self.watch(t, transaction, request, flow) {
            Ok(()) => Ok(()),
            Err(Turned::Away(_, reply)) => t.sip.respond(t.now, transaction, reply),
            Err(Turned::Once(reply)) => t.sip.respond_once(t.now, transaction, reply),
            Err(Turned::Ignored) => {
                t.sip.ignore_request(transaction);
                Ok(())
            }
        };
        if let Err(error) = answered {
            tracing::debug!("a SUBSCRIBE: {error}");
        }
    }

    /// Any known party may watch; a gateway has nothing to watch here.
    fn watch(
        &mut self,
        t: &mut Turn<'_>,
        transaction: ServerTransactionId,
        request: &Request,
        flow: &Flow,
    ) -> Result<(), Turned> {
        let source = self.source(request, flow);
        let address = source.ip();
        let gateway = self.known_by(request, flow);
        let user = match self.settings.sender(gateway.as_deref(), address).0 {
            Origin::Unknown => match self.authenticate(t.now, request, source, Side::Server) {
                Ok(sender) => Some(sender.user),
                Err(turned) => return Err(self.turned(t.now, request, source, turned)),
            },
            Origin::Gateway(name) => {
                self.parts.notifier.count(|of| &mut of.refused);
                let (who, reply) = (format!("gateway/{name}"), Reply::status(403));
                self.tell_refused(t.now, request, (&who, source.address), &reply);
                return Err(Turned::Away(Proof::Configured, reply));
            }
            Origin::User(_) | Origin::Trusted => None,
        };
        if user.is_some() {
            self.prove(flow);
        }
        let proof = if user.is_some() { Proof::Password } else { Proof::Configured };
        let settings = self.settings.clone();
        let watcher = Watcher { user: user.as_deref(), address };
        let asking = Asking { settings: &settings, watcher };
        let hops = self.hops.of_caller(t.now, &settings, user.as_deref(), gateway.as_deref(), flow);
        self.notifier.subscribe(t, transaction, request, asking, hops).map_err(|reply| {
            let known = || refusing::words(settings.sender(gateway.as_deref(), address).0);
            let who = user.as_ref().map_or_else(known, |user| format!("user/{user}"));
            self.tell_refused(t.now, request, (&who, source.address), &reply);
            Turned::Away(proof, reply)
        })
    }

    /// Notifies watchers of changes, and of subscriptions that a reload ends.
    pub(super) fn work_of_notifier(&mut self, t: &mut Turn<'_>) {
        if std::mem::take(&mut self.reloaded) {
            self.notifier.follow(t, &self.settings);
        }
        self.notifier.work(t);
    }
}
