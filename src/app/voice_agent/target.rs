//! Targets that agents name.

use b2b_call::handler::HandlerAction;
use b2b_call::service::DialRequest;

/// A target that an agent names for its caller.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Target {
    pub to: String,
    /// Header fields of the INVITE to it.
    pub headers: Vec<(String, String)>,
}

impl Target {
    /// The action that was decided on for it, with its header fields.
    pub(super) fn with_headers(self, action: HandlerAction) -> HandlerAction {
        let mut request = match action {
            HandlerAction::Dial(request) => request,
            HandlerAction::TransferTo(to) if !self.headers.is_empty() => Box::new(DialRequest::to(to)),
            action => return action,
        };
        request.options.headers.extend(self.headers);
        HandlerAction::Dial(request)
    }
}
