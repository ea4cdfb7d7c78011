//! Transfers that programs command: dialled from here, or by the party itself (REFER).

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::dial::options;
use super::header_fields::{self, CommandHeaders};
use super::memory::Failure;
use super::run::{Done, Run};
use b2b_call::LegId;
use b2b_call::bus::Received;
use b2b_call::event::Event;
use b2b_call::service::{CallError, DialTo, ReferError, ReferRequest};

/// Who calls the target of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TransferBy {
    /// b2b calls the target, and joins both.
    #[default]
    Dial,
    /// The party itself: it is sent a REFER (RFC 3515), and both legs end here.
    Refer,
}

impl TransferBy {
    pub(super) fn is_dial(&self) -> bool {
        *self == TransferBy::Dial
    }

    /// Checks what the types do not enforce.
    pub(super) fn check(self, to: &str, is_of_refer: bool) -> Result<(), String> {
        match self {
            TransferBy::Dial if is_of_refer => Err("own and fallback go with by = \"refer\"".to_owned()),
            TransferBy::Refer
                if !(ReferRequest { to: to.to_owned(), ..ReferRequest::default() }.is_uri()) =>
            {
                Err("to: a sip:, sips: or tel: URI, with by = \"refer\"".to_owned())
            }
            _ => Ok(()),
        }
    }
}

impl From<ReferError> for Failure {
    fn from(error: ReferError) -> Self {
        let (reason, status) = match &error {
            ReferError::Gone => ("gone", None),
            ReferError::WrongState(_) => ("wrong_state", None),
            ReferError::BadTarget(_) | ReferError::BadHeader(_) => ("invalid", None),
            ReferError::Refused(status) | ReferError::Failed(status) => ("refused", Some(*status)),
            ReferError::Unknown => ("unknown", None),
            ReferError::Stopping => ("stopping", None),
        };
        Failure { reason: reason.into(), error: error.to_string(), status }
    }
}

impl Run<'_> {
    /// Calls a target, from here, for the partner of a leg.
    pub(super) async fn transfer(&self, leg: LegId, to: &str, headers: &CommandHeaders) -> Done {
        let mut events = self.parts.bus.subscribe();
        self.parts.service.transfer_with(leg, to, header_fields::rules(headers)).await?;
        while let Some(received) = events.recv().await {
            match received {
                Received::Event(it) => match it.event {
                    Event::TransferEnded { leg: left, status, .. } if left == leg => {
                        return match status {
                            200..=299 => Ok(json!({ "by": "dial" })),
                            _ => {
                                let error = format!("the target did not answer the call: {status}");
                                Err(Failure { reason: "refused".into(), error, status: Some(status) })
                            }
                        };
                    }
                    _ => {}
                },
                Received::Lagged(_) => {
                    return Err(Failure::new("unknown", "the result of the transfer is no longer known"));
                }
            }
        }
        Err(CallError::Stopping.into())
    }

    /// Refers the partner of a leg, or its own party, to a target. If that fails, the fall-back is called
    /// from here.
    pub(super) async fn refer(
        &self,
        leg: LegId,
        request: ReferRequest,
        fallback: Option<&str>,
        headers: &CommandHeaders,
    ) -> Done {
        let (service, own) = (&self.parts.service, request.own);
        let error = match service.refer(leg, request).await {
            Ok(outcome) => {
                return Ok(
                    json!({ "by": "refer", "status": outcome.status, "confirmed": outcome.confirmed }),
                );
            }
            Err(error) => error,
        };
        match (fallback, &error) {
            (Some(to), ReferError::Refused(_) | ReferError::Failed(_)) => {
                tracing::info!("leg {}: {error}; b2b calls {to} itself", leg.0);
                // For the party that was referred: if it has hung up, both fail.
                match own {
                    false => self.transfer(leg, to, headers).await,
                    true => {
                        let settings = self.parts.current.get();
                        let options = options(&settings, None, "", None, headers);
                        self.dial(leg, DialTo::Target(to.to_owned()), options, true).await
                    }
                }
            }
            _ => Err(error.into()),
        }
    }
}
