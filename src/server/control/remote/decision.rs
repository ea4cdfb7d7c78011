//! A program's decision on a call that it has, as a `HandlerAction`.

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;
use utoipa::ToSchema;

use std::collections::BTreeMap;

use super::super::dial::{RingOrder, Targets, looked_up, options};
use super::super::header_fields::{self, CommandHeaders};
use crate::control::Failure;
use crate::in_force::Settings;
use b2b_call::LegId;
use b2b_call::handler::HandlerAction;
use b2b_call::service::{CallService, DialOptions, DialRequest};

/// `{"decision": "handle", "leg": 9, "app": "queue/sales"}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoStaticStr)]
#[serde(tag = "decision", rename_all = "snake_case", deny_unknown_fields)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Decision {
    /// The program's part is done. A caller who is not in a conversation is refused or hung up.
    Complete {},
    /// Calls a target, and joins it with the caller.
    Dial {
        /// A target as in routes, or a list of them: the first to answer is joined.
        to: Targets,
        /// The order in which the targets of a list ring.
        #[serde(default, skip_serializing_if = "RingOrder::is_parallel")]
        order: RingOrder,
        /// The caller number to present; default: the caller's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caller: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ring_s: Option<u64>,
        /// Additional header fields of the INVITE: names and values. They replace b2b's own.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        headers: CommandHeaders,
    },
    /// Gives the caller to another application.
    Handle { app: String },
    /// Gives the caller to an application, or calls a target for the caller.
    TransferTo { to: String },
    /// Joins the caller with another call that this program has.
    Bridge {
        /// The other call's leg.
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
    /// Declines the caller, who goes where they would have gone without this program.
    Fallback {},
}

fn busy() -> u16 {
    486
}

impl Decision {
    /// The name of the decision in JSON.
    pub const fn word(&self) -> &'static str {
        self.into_str()
    }

    /// The targets that it leads the caller to.
    pub fn targets(&self) -> Vec<&str> {
        match self {
            Decision::Dial { to, .. } => to.all().iter().map(String::as_str).collect(),
            Decision::Handle { app: to } | Decision::TransferTo { to } => vec![to],
            _ => Vec::new(),
        }
    }

    /// The resulting action for the call; `None`: the fall-back. `has` tells whether the program has a leg.
    ///
    /// # Errors
    /// If it is impossible: the program still has the call, and may decide otherwise.
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
                let to = looked_up(service, &to, order).await?;
                let usual = options(settings, caller.as_deref(), "", ring_s, &headers);
                let shown = usual.caller.clone().filter(|_| caller.is_some());
                let options = DialOptions { caller: shown, ..usual };
                HandlerAction::Dial(Box::new(DialRequest { to, options }))
            }
        }))
    }
}
