//! Offers and answers of the embedded controller: those that pass from one party to the other, and our own.

use std::net::SocketAddr;

use bytes::Bytes;

use super::embedded::EmbeddedController;
use super::{EndpointId, MediaError, PairPolicy};
use crate::negotiate::pair;

impl EmbeddedController {
    pub(super) fn offer_across(
        &self,
        from: EndpointId,
        to: EndpointId,
        offer: &[u8],
        policy: &PairPolicy,
    ) -> Result<Bytes, MediaError> {
        let mut state = self.state();
        let (from, to) = state.two(from, to)?;
        Ok(octets(pair::offer(&mut from.side, &mut to.side, offer, policy)?))
    }

    pub(super) fn answer_across(
        &self,
        from: EndpointId,
        to: EndpointId,
        answer: &[u8],
    ) -> Result<Bytes, MediaError> {
        let mut state = self.state();
        let (one, other) = state.two(from, to)?;
        let answer = octets(pair::answer(&mut one.side, &mut other.side, answer)?);
        let both = [from, to];
        for id in both {
            self.describe(&mut state, id)?;
        }
        let together = state.get(from)?.joined == Some(to);
        for id in if together { &both[..1] } else { &both[..] } {
            self.rejoin(&mut state, *id)?;
        }
        Ok(answer)
    }

    pub(super) fn own_offer(
        &self,
        endpoint: EndpointId,
        like: Option<EndpointId>,
        policy: &PairPolicy,
    ) -> Result<Bytes, MediaError> {
        let mut state = self.state();
        Ok(octets(match like.filter(|like| *like != endpoint) {
            Some(like) => {
                let (to, like) = state.two(endpoint, like)?;
                pair::local_offer(&mut to.side, Some(&like.side), policy)?
            }
            None => pair::local_offer(&mut state.get(endpoint)?.side, None, policy)?,
        }))
    }

    pub(super) fn take_answer(&self, endpoint: EndpointId, answer: &[u8]) -> Result<(), MediaError> {
        let mut state = self.state();
        pair::apply(&mut state.get(endpoint)?.side, answer)?;
        self.describe(&mut state, endpoint)?;
        self.rejoin(&mut state, endpoint)
    }

    pub(super) fn own_answer(
        &self,
        endpoint: EndpointId,
        offer: &[u8],
        policy: &PairPolicy,
    ) -> Result<Bytes, MediaError> {
        let mut state = self.state();
        let answer = pair::local_answer(&mut state.get(endpoint)?.side, offer, policy)?;
        self.describe(&mut state, endpoint)?;
        self.rejoin(&mut state, endpoint)?;
        Ok(octets(answer))
    }

    pub(super) fn same_offer(&self, endpoint: EndpointId) -> Result<Bytes, MediaError> {
        Ok(octets(pair::repeat(&mut self.state().get(endpoint)?.side)?))
    }

    pub(super) fn offer_past(
        &self,
        from: EndpointId,
        to: EndpointId,
        heard: SocketAddr,
        policy: &PairPolicy,
    ) -> Result<Bytes, MediaError> {
        let mut state = self.state();
        let (from, to) = state.two(from, to)?;
        if from.interface != to.interface {
            return Err(MediaError::NotDirect("they are in different networks".to_owned()));
        }
        Ok(octets(pair::direct(&from.side, &mut to.side, heard, policy)?))
    }

    pub(super) fn offer_back(&self, endpoint: EndpointId, policy: &PairPolicy) -> Result<Bytes, MediaError> {
        Ok(octets(pair::back(&mut self.state().get(endpoint)?.side, policy)?))
    }
}

fn octets(description: Box<[u8]>) -> Bytes {
    description.into_vec().into()
}
