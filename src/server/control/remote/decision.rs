//! What a program decides on a call that it has: the words of `HandlerAction`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use std::collections::BTreeMap;

use super::super::dial::{RingOrder, Targets, contacts, options};
use super::super::header_fields::{self, CommandHeaders};
use crate::control::Failure;
use crate::in_force::Settings;
use b2b_call::LegId;
use b2b_call::handler::HandlerAction;
use b2b_call::service::{CallService, DialOptions, DialRequest, DialTo};

/// `{"decision": "handle", "leg": 9, "app": "queue/sales"}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "decision", rename_all = "snake_case", deny_unknown_fields)]
pub enum Decision {
    /// Its part is done. Who is not in a conversation is refused or hung up.
    Complete {},
    /// Calls a target, and joins it with the caller.
    Dial {
        /// A target as routes have it, or a list of them: who answers first is joined.
        to: Targets,
        /// In which order the targets of a list ring.
        #[serde(default, skip_serializing_if = "RingOrder::is_parallel")]
        order: RingOrder,
        /// The number that is shown; without it the caller's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caller: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ring_s: Option<u64>,
        /// More header fields of the INVITE: names and values. They stand in the place of b2b's own.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        headers: CommandHeaders,
    },
    /// Gives the caller to another application.
    Handle { app: String },
    /// Gives the caller to an application, or calls a target for them.
    TransferTo { to: String },
    /// Joins the caller with another call that this program has.
    Bridge {
        /// Its leg.
        with: u64,
    },
    /// Refuses the caller, or hangs up.
    Reject {
        #[serde(default = "busy")]
        status: u16,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// Hangs up.
    Disconnect {},
    /// Does not want the caller: they go where they would go without this program.
    Fallback {},
}

fn busy() -> u16 {
    486
}

impl Decision {
    /// As JSON has it.
    pub const fn word(&self) -> &'static str {
        match self {
            Decision::Complete {} => "complete",
            Decision::Dial { .. } => "dial",
            Decision::Handle { .. } => "handle",
            Decision::TransferTo { .. } => "transfer_to",
            Decision::Bridge { .. } => "bridge",
            Decision::Reject { .. } => "reject",
            Decision::Disconnect {} => "disconnect",
            Decision::Fallback {} => "fallback",
        }
    }

    /// What becomes of the call; none: the fall-back. `has` says which legs the program has.
    ///
    /// # Errors
    /// It cannot be: the program still has the call, and may decide otherwise.
    pub async fn action(
        self,
        settings: &Settings,
        service: &CallService,
        has: impl Fn(LegId) -> bool,
    ) -> Result<Option<HandlerAction>, Failure> {
        Ok(Some(match self {
            Decision::Complete {} => HandlerAction::Complete,
            Decision::Disconnect {} => HandlerAction::Disconnect,
            Decision::Fallback {} => return Ok(None),
            Decision::Reject { status, reason } => {
                let good =
                    (300..700).contains(&status) && reason.len() <= 128 && !reason.contains(char::is_control);
                match good {
                    true => HandlerAction::Reject { status, reason },
                    false => return Err(Failure::new("invalid", "status: 300 to 699; reason: plain text")),
                }
            }
            Decision::Handle { app } => match service.knows_application(&app).await? {
                true => HandlerAction::Handle(app),
                false => return Err(Failure::new("unknown", format!("there is no application {app:?}"))),
            },
            Decision::TransferTo { to } => HandlerAction::TransferTo(to),
            Decision::Bridge { with } if has(LegId(with)) && service.is_up(LegId(with)).await => {
                HandlerAction::Bridge(LegId(with))
            }
            Decision::Bridge { .. } => {
                return Err(Failure::new("unknown", "use the leg of another answered call of yours"));
            }
            Decision::Dial { to, order, caller, ring_s, headers } => {
                if ring_s.is_some_and(|seconds| !(1..=3_600).contains(&seconds)) {
                    return Err(Failure::new("invalid", "ring_s: 1 to 3600"));
                }
                header_fields::check(&headers).map_err(|why| Failure::new("invalid", why))?;
                to.check().map_err(|why| Failure::new("invalid", format!("to: {why}")))?;
                let found = contacts(service, &to, order).await?;
                let usual = options(settings, caller.as_deref(), "", ring_s, &headers, order);
                let shown = usual.caller.clone().filter(|_| caller.is_some());
                let options = DialOptions { caller: shown, ..usual };
                HandlerAction::Dial(Box::new(DialRequest { to: DialTo::Contacts(found), options }))
            }
        }))
    }
}
