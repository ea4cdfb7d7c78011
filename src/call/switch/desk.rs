//! The front desk: who may call, and who answers requests outside calls
//! (REGISTER, MESSAGE). It decides within the turn.

use std::pin::Pin;
use std::time::Instant;

use crate::call::lookup::Credentials;
use crate::sip::endpoint::{Flow, HeaderFields, Reply, RequestFailure, RequestId};
use crate::sip::msg::{Method, Request, Response};

/// What becomes of an INVITE.
#[derive(Debug)]
pub enum Admission {
    /// It goes to the handlers; `identity` is who the caller has proved to be.
    Accept { identity: Option<String> },
    /// It is refused: a challenge, 403.
    Refuse(Reply),
}

/// What becomes of a request outside any call.
pub enum Fate {
    /// Answered at once.
    Reply(Reply),
    /// Answered when this is ready: a store has to be asked.
    Later(Pin<Box<dyn Future<Output = Reply> + Send>>),
}

/// Decides on requests before they become calls.
pub trait FrontDesk: Send {
    /// An INVITE that starts a call.
    fn invite(&mut self, now: Instant, request: &Request, flow: &Flow) -> Admission;

    /// A request outside any call, of a method that the endpoint accepts.
    fn request(&mut self, now: Instant, request: &Request, flow: &Flow) -> Fate;

    /// What became of a request of ours outside any call.
    fn response(
        &mut self,
        _now: Instant,
        _request: RequestId,
        _result: Result<Response, RequestFailure>,
        _flow: Option<Flow>,
    ) {
    }

    /// The answer to a gateway's challenge to a request of this method; none: it is
    /// of no kind that is known.
    fn credentials(
        &mut self,
        _challenge: &Response,
        _method: &Method,
        _credentials: &Credentials,
        _target: &str,
    ) -> Option<HeaderFields> {
        None
    }
}

/// Takes every call and no other request: for tests, and where a handler decides.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenDesk;

impl FrontDesk for OpenDesk {
    fn invite(&mut self, _: Instant, _: &Request, _: &Flow) -> Admission {
        Admission::Accept { identity: None }
    }

    fn request(&mut self, _: Instant, _: &Request, _: &Flow) -> Fate {
        Fate::Reply(Reply::status(405))
    }
}
