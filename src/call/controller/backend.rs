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

    /// What is asked for until [`MediaBackend::end_turn`] belongs together: it may be begun then.
    fn begin_turn(&self) {}

    /// See [`MediaBackend::begin_turn`].
    fn end_turn(&self) {}

    /// An endpoint where nobody asks for its address, which descriptions name. Who carries media in
    /// another program may give the name at once, and make the endpoint with the next request about
    /// it: that one is refused with the reason if there is none.
    ///
    /// # Errors
    /// As `allocate_endpoint`.
    fn open_endpoint(&self, spec: EndpointSpec) -> MediaFuture<EndpointId> {
        let name = |answer: Answer| answer.allocated().map(|(endpoint, _)| endpoint);
        self.request(Verb::Allocate { endpoint: None, spec: Box::new(spec) }).read(name)
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

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;
    use crate::controller::{
        MediaController, MediaError, Music, PairPolicy, Played, Prompt, RecordingId, RecordingSpec,
    };

    /// Answers whatever it is asked with this.
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
        let (done, played) = (Same::new(Answer::Done), Same::new(Answer::Played(Played::Complete)));
        let played: &dyn MediaController = &played;
        assert_eq!(now(played.play_prompt(A, &Prompt::default())), Ok(Played::Complete));
        assert_eq!(now(played.unbridge(A, A)), Err(MediaError::Stopped), "another answer");
        assert_eq!(now(done.play_prompt(A, &Prompt::default())), Err(MediaError::Stopped));
        assert_eq!(now(done.start_moh(A, "jazz")), Ok(()));
        assert_eq!(done.follow_recording(RecordingId(3), A, true), Ok(()));
        done.stop_moh(A);
        let asked = [
            Verb::Play { endpoint: A, prompt: Prompt::default() },
            Verb::StartMoh { endpoint: A, class: Music::Named("jazz".to_owned()) },
            Verb::FollowRecording { recording: RecordingId(3), endpoint: A, other_side: true },
            Verb::StopMoh { endpoint: A },
        ];
        assert_eq!(done.asked(), asked);
        let offered = now(done.pair_offer(A, EndpointId(2), "v=0".into(), &PairPolicy::default()));
        assert_eq!(offered, Err(MediaError::Stopped));
        assert!(matches!(done.asked()[..], [Verb::PairOffer { from: A, to: EndpointId(2), .. }]));
    }

    #[test]
    fn who_carries_media_says_the_name_of_what_is_made() {
        let begun = Same::new(Answer::Recording(RecordingId(7)));
        assert_eq!(now(begun.start_recording(A, &RecordingSpec::new("/r.wav"))), Ok(RecordingId(7)));
        assert!(matches!(begun.asked()[..], [Verb::Record { recording: None, .. }]));
        let rtp = ([192, 0, 2, 1], 4_000).into();
        let made = Same::new(Answer::Allocated { endpoint: Some(A), rtp });
        let spec = || EndpointSpec::new(crate::controller::AddressFamily::V4);
        assert_eq!(now(made.open_endpoint(spec())), Ok(A));
        assert_eq!(now(made.allocate_endpoint(spec())).map(|(id, local)| (id, local.rtp)), Ok((A, rtp)));
        // One without a name has none for who did not choose it.
        let nameless = Same::new(Answer::Allocated { endpoint: None, rtp });
        assert_eq!(now(nameless.open_endpoint(spec())), Err(MediaError::Stopped));
    }

    #[test]
    fn a_verb_is_small_enough_to_be_moved() {
        assert!(size_of::<Verb>() <= 200, "{}", size_of::<Verb>());
        assert!(size_of::<Answer>() <= 128, "{}", size_of::<Answer>());
    }
}
