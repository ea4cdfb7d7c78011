//! The offers of a call that are under way after its first ones: one at a time, from when it is asked for until its
//! answer is taken. Each has a number, by which what media answers late is known to be of an older one.

use super::Switch;
use super::follow::Follow;
use super::pending_offers::PendingOffer;
use super::table::{Asked, Exchange};
use crate::{CallId, LegId};

/// Names an exchange among those of its call; none has it again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ExchangeNo(u32);

/// Those of a call.
#[derive(Default)]
pub(super) struct Exchanges {
    pub under_way: Option<Box<Exchange>>,
    last: ExchangeNo,
    /// What waits for its end.
    pub pending: Vec<PendingOffer>,
}

impl Exchanges {
    /// One begins; none: another one is under way.
    pub fn begin(&mut self, from: LegId, to: LegId, asked: Asked) -> Option<ExchangeNo> {
        if self.under_way.is_some() {
            return None;
        }
        self.last.0 += 1;
        let (no, sent, agreed) = (self.last, false, false);
        self.under_way = Some(Box::new(Exchange { no, from, to, asked, sent, agreed }));
        Some(no)
    }

    /// This one, if it is still under way.
    pub fn of(&mut self, no: ExchangeNo) -> Option<&mut Exchange> {
        self.under_way.as_deref_mut().filter(|it| it.no == no)
    }

    /// This leg has answered with a 2xx.
    pub fn agree(&mut self, leg: LegId) -> Option<Exchange> {
        let it = self.under_way.as_deref_mut().filter(|it| it.to == leg && it.sent && !it.agreed)?;
        it.agreed = true;
        Some(*it)
    }
}

impl Switch {
    /// An exchange of a call, if it is still under way.
    pub(super) fn exchange(&mut self, call: CallId, no: ExchangeNo) -> Option<Exchange> {
        self.calls.get_mut(call)?.exchanges.of(no).copied()
    }

    /// The same, and it is over.
    pub(super) fn end_exchange(&mut self, call: CallId, no: ExchangeNo) -> Option<Exchange> {
        let exchange = self.calls.get_mut(call)?.exchanges.under_way.take_if(|it| it.no == no)?;
        Some(*exchange)
    }

    /// The same, and nothing has come of it: what had to wait for its end is done then.
    pub(super) fn give_up_exchange(&mut self, call: CallId, no: ExchangeNo) {
        if self.end_exchange(call, no).is_some() {
            self.follows.push(Follow::PendingOffers { call });
        }
    }

    /// Its request is on its way to who is to answer it.
    pub(super) fn exchange_sent(&mut self, call: CallId, no: ExchangeNo) {
        match self.calls.get_mut(call).and_then(|it| it.exchanges.of(no)) {
            Some(it) => it.sent = true,
            None => self.counters.late(),
        }
    }
}
