//! The trait that every media backend implements.

use std::sync::Arc;

use super::{
    Answer, AudioStream, Capabilities, Capability, Descriptions, EndpointId, EndpointSpec, MediaFuture,
    PacketTrace, StreamSpec, Verb,
};

/// Carries media. Events of endpoints that the caller does not know are to be ignored. Every operation is
/// started by the call itself, whether or not the future is polled, and in the order of the calls. A future
/// may be dropped: the operation is carried out anyway.
///
/// Every request that can be expressed as a value is a [`Verb`]; backends match verbs without a `_` arm, so
/// that a new verb does not compile until each backend handles it. Requests that hand over local resources
/// (packets, samples) or are answered from local state are methods.
pub trait MediaBackend: Send + Sync {
    /// The capabilities of this controller. They do not change.
    fn capabilities(&self) -> Capabilities;

    /// Starts a verb. A verb that is not supported is refused with [`Verb::capability`].
    ///
    /// # Errors
    /// Those that the verb names.
    fn request(&self, verb: Verb) -> MediaFuture<Answer>;

    /// Requests until [`MediaBackend::end_turn`] form a batch: their execution may be deferred until then.
    fn begin_turn(&self) {}

    /// Ends the batch of [`MediaBackend::begin_turn`].
    fn end_turn(&self) {}

    /// Allocates an endpoint whose address is needed only in descriptions. A remote backend may return the id
    /// at once and allocate the endpoint with the next request about it: that request is refused with the
    /// reason if the allocation fails.
    ///
    /// # Errors
    /// Those of [`Verb::Allocate`].
    fn open_endpoint(&self, spec: EndpointSpec) -> MediaFuture<EndpointId> {
        let name = |answer: Answer| answer.allocated().map(|(endpoint, _)| endpoint);
        self.request(Verb::Allocate { endpoint: None, spec: Box::new(spec) }).read(name)
    }

    /// Whether this description equals the party's last one to the octet: a session refresh without a change.
    fn repeats(&self, endpoint: EndpointId, description: &[u8]) -> bool;

    /// The current descriptions between an endpoint's party and b2b, for observers. `None` if there are none
    /// yet, or the controller does not provide them.
    fn descriptions(&self, endpoint: EndpointId) -> Option<Descriptions>;

    /// Whether the party of `endpoint` was told less than it and the party of `other` want now.
    fn is_behind(&self, endpoint: EndpointId, other: EndpointId) -> bool {
        let both = self.descriptions(endpoint).zip(self.descriptions(other));
        both.is_some_and(|(it, other)| it.wishes.exceed(&it.told, other.wishes))
    }

    /// Directs the party's packets in both directions, as they are on the wire, to this trace and to no
    /// other; `None` ends the trace. Ready once it is in effect.
    ///
    /// # Errors
    /// `Unsupported`, `NoSuchEndpoint`.
    fn capture(&self, endpoint: EndpointId, trace: Option<Arc<PacketTrace>>) -> MediaFuture<()> {
        let _ = (endpoint, trace);
        MediaFuture::unsupported(Capability::Capture)
    }

    /// Opens a stream of the party's audio, samples in both directions, until the returned end is dropped,
    /// another stream replaces it, or the endpoint is released. A stream that sends audio also ends when the
    /// party is joined with another one or enters a room.
    ///
    /// # Errors
    /// `Unsupported`, `NoSuchEndpoint`, `Streams`.
    fn open_stream(&self, endpoint: EndpointId, spec: StreamSpec) -> MediaFuture<AudioStream> {
        let _ = (endpoint, spec);
        MediaFuture::unsupported(Capability::Streams)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;
    use crate::controller::{MediaController, MediaError, Played, Prompt, RecordingId};

    /// Answers every request with this.
    struct Same(Answer, Mutex<Vec<Verb>>);

    impl Same {
        fn new(answer: Answer) -> Same {
            Same(answer, Mutex::default())
        }

        fn asked(&self) -> Vec<Verb> {
            std::mem::take(&mut self.1.lock().unwrap_or_else(PoisonError::into_inner))
        }
    }

    impl MediaBackend for Same {
        fn capabilities(&self) -> Capabilities {
            Capabilities::default()
        }

        fn request(&self, verb: Verb) -> MediaFuture<Answer> {
            self.1.lock().unwrap_or_else(PoisonError::into_inner).push(verb);
            MediaFuture::ready(Ok(self.0.clone()))
        }

        fn repeats(&self, _: EndpointId, _: &[u8]) -> bool {
            false
        }

        fn descriptions(&self, _: EndpointId) -> Option<Descriptions> {
            None
        }
    }

    const A: EndpointId = EndpointId(1);

    fn now<T: Unpin>(future: MediaFuture<T>) -> Result<T, MediaError> {
        future.now().unwrap_or_else(|_| panic!("it is there"))
    }

    #[test]
    fn methods_ask_by_their_verb_and_read_its_answer_and_no_other() {
        let done = Same::new(Answer::Done);
        assert_eq!(done.follow_recording(RecordingId(3), A, true), Ok(()));
        done.release_endpoint(A);
        assert_eq!(now(done.stats(A)), Err(MediaError::Stopped), "another answer");
        let asked = [
            Verb::FollowRecording { recording: RecordingId(3), endpoint: A, other_side: true },
            Verb::Release { endpoint: A },
            Verb::Stats { endpoint: A },
        ];
        assert_eq!(done.asked(), asked);
        let played = Same::new(Answer::Played(Played::Complete));
        let request = |media: &Same| {
            now(media.request(Verb::Play { endpoint: A, prompt: Prompt::default() }).read(Answer::played))
        };
        assert_eq!(request(&played), Ok(Played::Complete));
        assert_eq!(request(&done), Err(MediaError::Stopped));
    }

    #[test]
    fn who_carries_media_says_the_name_of_what_is_made() {
        let rtp = ([192, 0, 2, 1], 4_000).into();
        let made = Same::new(Answer::Allocated { endpoint: Some(A), rtp });
        let spec = || EndpointSpec::new(crate::controller::AddressFamily::V4);
        assert_eq!(now(made.open_endpoint(spec())), Ok(A));
        assert_eq!(now(made.allocate_endpoint(spec())).map(|(id, local)| (id, local.rtp)), Ok((A, rtp)));
        // An answer without an id has none for a caller that did not choose one.
        let nameless = Same::new(Answer::Allocated { endpoint: None, rtp });
        assert_eq!(now(nameless.open_endpoint(spec())), Err(MediaError::Stopped));
    }

    #[test]
    fn a_verb_is_small_enough_to_be_moved() {
        assert!(size_of::<Verb>() <= 200, "{}", size_of::<Verb>());
        assert!(size_of::<Answer>() <= 128, "{}", size_of::<Answer>());
    }
}
