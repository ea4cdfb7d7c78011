//! Settings for the most common clients. A setting after a preset takes precedence.

use crate::{Audio, ClientBuilder, Codec, Devices};

impl ClientBuilder {
    /// For somebody at a machine with a loudspeaker and a microphone: the default devices, wide band, levels, and (feature `processing`) echo cancellation, noise suppression
    /// and gain control. Where there are no devices calls are silent on this side, which
    /// [`crate::ClientEvent::Device`] tells with the first call. Without the feature `processing` echo
    /// is not cancelled: a loudspeaker is heard by its own far end.
    pub fn softphone(self) -> Self {
        let softphone = self.at_devices();
        #[cfg(feature = "processing")]
        let softphone = softphone.processing(crate::Processing::ALL);
        softphone
    }

    /// For an agent of a call centre, with a headset: as `softphone`, but nothing is taken out as an
    /// echo, since a headset has none and cancellation costs a little of both voices.
    pub fn agent(self) -> Self {
        let agent = self.at_devices();
        #[cfg(feature = "processing")]
        let agent = agent.processing(crate::Processing { echo: false, ..crate::Processing::ALL });
        agent
    }

    /// For programs without ears, many calls at once and tests: no devices, no processing, no
    /// levels; G.711 before the rest and 8 kHz, which together cost least.
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
