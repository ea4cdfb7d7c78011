//! Matching of requests to server transactions (RFC 3261 §17.2.3).

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::msg::{Method, Request, Via};

/// Writes the key of the transaction of `request` as if its method were `method`, by which a
/// CANCEL finds its INVITE (§9.2). An ACK has the key of its INVITE. `None` if a required
/// header field is missing.
///
/// Call-ID, From tag and CSeq number keep clients with the same branch apart, and the requests
/// of a client that uses a branch twice. The sent-by does not count: behind a NAT it may change
/// between INVITE and CANCEL. An RFC 2543 client has no branch: its Via and URI count. The To tag
/// is omitted: only the ACK has one that its INVITE lacks.
pub fn server_key(key: &mut Vec<u8>, request: &Request, via: &Via<'_>, method: &Method) -> Option<()> {
    key.clear();
    match via.rfc3261_branch() {
        Some(branch) => {
            key.push(b'3');
            key.extend_from_slice(branch);
        }
        None => {
            key.push(b'2');
            key.extend_from_slice(request.uri_bytes());
            key.push(0);
            key.extend_from_slice(via.raw);
        }
    }
    key.push(0);
    key.extend_from_slice(request.call_id().ok()?);
    key.push(0);
    key.extend_from_slice(request.from_tag().unwrap_or_default());
    key.push(0);
    key.extend_from_slice(&request.cseq().ok()?.number.to_be_bytes());
    key.push(0);
    match method {
        Method::Invite | Method::Ack => key.extend_from_slice(b"INVITE"),
        method => key.extend_from_slice(method.as_bytes()),
    }
    Some(())
}

/// The common parts of a request that arrives by several paths (§8.2.2.2), hashed with a
/// secret, so that collisions cannot be provoked. A request for another URI is another branch of
/// a fork, or the next target of a proxy that hunts. `None` for requests in a dialog, and for
/// methods that cannot be merged.
pub fn merge_key(request: &Request, secret: [u64; 2]) -> Option<u64> {
    if matches!(request.method(), Method::Ack | Method::Cancel) || request.to_tag().is_some() {
        return None;
    }
    let [secret, other_secret] = secret;
    let (cseq, call_id, tag) = (request.cseq().ok()?.number, request.call_id().ok()?, request.from_tag());
    let (uri, tag_length) = (request.uri_bytes(), tag.map_or(u64::MAX, |tag| tag.len() as u64));
    let mut hasher = DefaultHasher::new();
    // The lengths say where one part ends. Few writes, since each costs as much as a dozen octets.
    let numbers = [secret, other_secret, cseq.into(), call_id.len() as u64, tag_length, uri.len() as u64];
    numbers.hash(&mut hasher);
    for part in [call_id, tag.unwrap_or_default(), uri, request.method().as_bytes()] {
        hasher.write(part);
    }
    Some(hasher.finish())
}
