//! What the outside asks of the calls' thread, with the way back for the answer.

use tokio::sync::oneshot;

use crate::call::bridge_fsm::BridgeMode;
use crate::call::lookup::{LookupError, LookupResult};
use crate::call::service::{CallEnd, CallError, DialError, DialRequest, Watched};
use crate::call::{BridgeId, CallId, LegId};

/// Where an answer goes. A receiver that is gone is no fault.
pub(in crate::call) type Reply<T> = oneshot::Sender<T>;

/// One command.
#[derive(Debug)]
pub(in crate::call) enum Command {
    Lookup {
        target: String,
        reply: Reply<Result<LookupResult, LookupError>>,
    },
    Adopt {
        leg: LegId,
        reply: Reply<Result<(), CallError>>,
    },
    Answer {
        leg: LegId,
        reply: Reply<Result<(), CallError>>,
    },
    Reject {
        leg: LegId,
        status: u16,
        reason: String,
        reply: Reply<Result<(), CallError>>,
    },
    Dial {
        request: Box<DialRequest>,
        /// Told at once which call it is.
        started: Option<Reply<CallId>>,
        reply: Reply<Result<LegId, DialError>>,
    },
    DialAndBridge {
        leg: LegId,
        request: Box<DialRequest>,
        reply: Reply<Result<BridgeId, DialError>>,
    },
    Bridge {
        a: LegId,
        b: LegId,
        mode: BridgeMode,
        auto_hangup: bool,
        reply: Reply<Result<BridgeId, CallError>>,
    },
    Transfer {
        leg: LegId,
        target: String,
        reply: Reply<Result<(), CallError>>,
    },
    Hangup {
        leg: LegId,
        reply: Reply<Result<(), CallError>>,
    },
    HangupCall {
        call: CallId,
        reply: Reply<Result<(), CallError>>,
    },
    SetVariable {
        of: Watched,
        name: String,
        value: String,
        reply: Reply<Result<(), CallError>>,
    },
    Variables {
        of: Watched,
        reply: Reply<Result<Vec<(String, String)>, CallError>>,
    },
    Watch {
        what: Watched,
        reply: Reply<Result<CallEnd, CallError>>,
    },
}
