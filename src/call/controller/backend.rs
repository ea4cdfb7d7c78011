//! What is written for each who carries media.

use std::sync::Arc;

use super::{
    Answer, AudioStream, Capabilities, Capability, Descriptions, EndpointId, EndpointSpec, MediaFuture,
    PacketTrace, StreamSpec, Verb,
};

/// Carries media. Events of endpoints that the caller does not know are none of its
/// concern. Every operation is started by the call itself, whether or not the
/// future is polled, and in the order of the calls. A future may be dropped: the
/// operation still happens.
///
/// All that can be said as a value is a [`Verb`]; a backend matches them without a `_`, so that a new one
/// does not compile until somebody has decided what it is there. What leads into this process (packets,
/// samples), or is answered from what is known here, are methods.
pub trait MediaBackend: Send + Sync {
    /// What this controller can do. Does not change.
    fn capabilities(&self) -> Capabilities;

    /// Begins to carry a verb out. What cannot be done is refused with [`Verb::capability`].
    ///
    /// # Errors
    /// Those of the method of [`MediaController`](super::MediaController) that asks for it.
    fn request(&self, verb: Verb) -> MediaFuture<Answer>;

    /// An endpoint where nobody asks for its address, which descriptions name. Who carries media in
    /// another program may give the name at once, and make the endpoint with the next request about
    /// it: that one is refused with the reason if there is none.
    ///
    /// # Errors
    /// As `allocate_endpoint`.
    fn open_endpoint(&self, spec: EndpointSpec) -> MediaFuture<EndpointId> {
        let name = |answer: Answer| answer.allocated().map(|(endpoint, _)| endpoint);
        self.request(Verb::Allocate { endpoint: None, spec }).read(name)
    }

    /// Whether the party says, to the octet, what it has said last: it refreshes, and wants
    /// no change.
    fn repeats(&self, endpoint: EndpointId, description: &[u8]) -> bool;

    /// What was described between an endpoint's party and us, for those who observe.
    /// None: nothing yet, or the controller does not tell.
    fn descriptions(&self, endpoint: EndpointId) -> Option<Descriptions>;

    /// The party's packets go into this trace from now on as they are on the wire, both
    /// ways, and into no other one; with none, into none. Ready once it is so.
    ///
    /// # Errors
    /// `Unsupported`, `NoSuchEndpoint`.
    fn capture(&self, endpoint: EndpointId, trace: Option<Arc<PacketTrace>>) -> MediaFuture<()> {
        let _ = (endpoint, trace);
        MediaFuture::unsupported(Capability::Capture)
    }

    /// The party's sound to and from the caller of this, samples both ways, until its end is
    /// dropped, another stream takes its place, or the endpoint is released. One that speaks ends
    /// when the party is joined with another one, too, or enters a room.
    ///
    /// # Errors
    /// `Unsupported`, `NoSuchEndpoint`, `Streams`.
    fn open_stream(&self, endpoint: EndpointId, spec: StreamSpec) -> MediaFuture<AudioStream> {
        let _ = (endpoint, spec);
        MediaFuture::unsupported(Capability::Streams)
    }
}
