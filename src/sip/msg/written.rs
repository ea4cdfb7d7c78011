//! Messages in written values: their octets, and where they came from.

use std::net::SocketAddr;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Limits, Message, Request, Response};

#[derive(Serialize, Deserialize)]
struct Written {
    octets: Bytes,
    source: Option<SocketAddr>,
}

/// A message that was taken before is within any limits.
const NO_LIMITS: Limits = Limits { message: usize::MAX, headers: usize::MAX, header_line: usize::MAX };

impl Written {
    fn parse<E: de::Error>(self) -> Result<(Message, Option<SocketAddr>), E> {
        let message = Message::parse(self.octets, &NO_LIMITS);
        Ok((message.map_err(|_| E::custom("not a SIP message"))?, self.source))
    }
}

impl Serialize for Request {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Written { octets: self.as_bytes().clone(), source: self.source() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Request {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (Message::Request(mut request), source) = Written::deserialize(deserializer)?.parse()? else {
            return Err(de::Error::custom("a response, not a request"));
        };
        source.into_iter().for_each(|source| request.set_source(source));
        Ok(request)
    }
}

impl Serialize for Response {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Written { octets: self.as_bytes().clone(), source: self.source() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Response {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (Message::Response(mut response), source) = Written::deserialize(deserializer)?.parse()? else {
            return Err(de::Error::custom("a request, not a response"));
        };
        source.into_iter().for_each(|source| response.set_source(source));
        Ok(response)
    }
}
