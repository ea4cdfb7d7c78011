//! Requests built from the INVITE of a transaction: the ACK for a non-2xx (RFC 3261
//! §17.1.1.3) and the CANCEL (§9.1). Both have the INVITE's top Via, including its branch.

use bytes::Bytes;

use crate::msg::{Headers, Limits, Message, Method, Name, Request, RequestWriter, Response};

/// The ACK for a non-2xx response to `invite`, with the To of the response.
pub fn ack(invite: &Bytes, response: &Response) -> Option<Bytes> {
    from_invite(invite, Method::Ack, Some(response), &[])
}

/// The CANCEL for `invite`, with additional header fields.
pub fn cancel(invite: &Bytes, headers: &[(Bytes, Bytes)]) -> Option<Bytes> {
    from_invite(invite, Method::Cancel, None, headers)
}

fn from_invite(
    invite: &Bytes,
    method: Method,
    response: Option<&Response>,
    headers: &[(Bytes, Bytes)],
) -> Option<Bytes> {
    let Ok(Message::Request(invite)) = Message::parse(invite.clone(), &Limits::default()) else {
        return None;
    };
    let invite: &Request = &invite;
    let to: &Headers = match response {
        Some(response) => response,
        None => invite,
    };
    let mut writer = RequestWriter::new(&method, invite.uri_bytes())
        .header(Name::Via, invite.top_via().ok()?.raw)
        .header(Name::MaxForwards, "70")
        .copy(invite, Name::Route)
        .copy(invite, Name::From)
        .copy(to, Name::To)
        .copy(invite, Name::CallId)
        .header_fmt(Name::CSeq, format_args!("{} {method}", invite.cseq().ok()?.number));
    for (name, value) in headers {
        writer = writer.header(Name::parse(name), value);
    }
    writer.finish().ok()
}
