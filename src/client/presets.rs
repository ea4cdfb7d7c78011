//! Settings for the most common clients. A setting after a preset takes precedence.

use crate::{Audio, ClientBuilder, Codec, Devices};

impl ClientBuilder {
    /// For a person at a machine with a loudspeaker and a microphone: default devices, wideband audio, levels
    /// and, with the feature `processing`, echo cancellation, noise suppression and gain control. Without
    /// devices, calls are silent on this side, which [`crate::ClientEvent::Device`] reports with the first
    /// call. Without the feature `processing` there is no echo cancellation: the far end hears itself through
    /// the loudspeaker.
    pub fn softphone(self) -> Self {
        let softphone = self.at_devices();
        #[cfg(feature = "processing")]
        let softphone = softphone.processing(crate::Processing::ALL);
        softphone
    }

    /// For a call-centre agent with a headset: like `softphone`, but without echo cancellation, which a
    /// headset does not need and which degrades both voices slightly.
    pub fn agent(self) -> Self {
        let agent = self.at_devices();
        #[cfg(feature = "processing")]
        let agent = agent.processing(crate::Processing { echo: false, ..crate::Processing::ALL });
        agent
    }

    /// For programs, many simultaneous calls and tests: no devices, no processing, no levels; G.711 preferred
    /// and 8 kHz, which together cost least.
    pub fn headless(self) -> Self {
        let headless = self.audio(Audio::None).levels(false);
        let headless = headless.codecs([Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus]).rate_hz(8_000);
        #[cfg(feature = "processing")]
        let headless = headless.processing(crate::Processing::NONE);
        headless
    }

    /// The settings of [`crate::SipClient::new`].
    pub(super) fn of_a_person(identity: impl Into<String>) -> Self {
        ClientBuilder::new().identity(identity).softphone().levels(false)
    }

    fn at_devices(self) -> Self {
        self.audio(Audio::Devices(Devices::of_system())).codecs(Codec::ALL).rate_hz(16_000).levels(true)
    }
}
