//! Responses of ours to the requests of a dialog, or outside one.

use crate::msg::body::{ACCEPT, Body};
use crate::msg::{HeaderFields, Method, Name, ResponseWriter};

/// A response for `respond` or `reply`.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct Reply {
    /// 200 to 699; for `reply` 101 to 699.
    pub status: u16,
    /// The reason phrase; empty for the standard one.
    pub reason: String,
    /// Additional header fields.
    pub headers: HeaderFields,
    /// The body; `None` for Content-Length 0.
    pub body: Option<Body>,
    /// Send a provisional response to an INVITE reliably (RFC 3262) if the peer supports it.
    /// If the peer requires reliable responses, they always are.
    pub reliable: bool,
}

impl Reply {
    /// Whether it carries a session.
    pub(crate) fn has_session(&self) -> bool {
        self.body.as_ref().is_some_and(Body::has_session)
    }

    /// Writes the header fields and the body of the response to a request of this method. `allow`: the
    /// methods that are allowed there.
    pub(crate) fn write(&self, method: &Method, allow: &str, mut writer: ResponseWriter) -> ResponseWriter {
        let missing = match self.status {
            // §21.4.6
            405 => Some((Name::Allow, allow)),
            // §21.4.13
            415 if matches!(method, Method::Invite | Method::Update | Method::Prack) => {
                Some((Name::Accept, ACCEPT))
            }
            _ => None,
        };
        if let Some((name, value)) =
            missing.filter(|(name, _)| !self.headers.iter().any(|it| Name::parse(&it.0) == *name))
        {
            writer = writer.header(name, value);
        }
        for (name, value) in &self.headers {
            writer = writer.header(Name::parse(name), value);
        }
        match &self.body {
            Some(body) => writer.body(body.content_type(), &body.data),
            None => writer,
        }
    }

    /// A response without additional header fields or body.
    pub fn status(status: u16) -> Self {
        Reply { status, ..Reply::default() }
    }
}
