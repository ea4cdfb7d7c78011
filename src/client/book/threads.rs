//! The client's threads, where audio is copied, and what may block.
//!
//! ```text
//!  the program's tasks and threads
//!    SipClient, Call, Incoming, Outgoing      handles: Send + Sync, cheap to clone
//!         │ commands (unbounded, answered)           ▲ events (bounded, oldest lost)
//!  sip-client         the signalling thread: SIP, registration, calls, timers
//!         │ commands (bounded)                       ▲ media events, counters
//!  media              one thread for the RTP of all calls, a tick every 20 ms
//!         │ rings of samples, no lock                ▲
//!  the program again: frames in and out
//! ```
//!
//! # Threads
//!
//! - **sip-client** owns the SIP stack on its own current-thread runtime. A method of
//!   [`SipClient`](crate::SipClient) or [`Call`](crate::Call) sends it a command and waits for the reply;
//!   dropping the future does not cancel the command.
//! - **media** carries the RTP of every call: receive, jitter buffer, decode, playout, encode, send. It takes
//!   no lock, does not allocate, and wakes no other thread per packet.
//! - **media-events** forwards the media thread's events to the signalling thread.
//! - Each playing file is decoded ahead by its own thread, and each recording is written by its own. A call
//!   with `ClientBuilder::processing` has one more. The devices have one thread per direction, for all calls.
//!
//! # Code on the media thread
//!
//! [`FrameSource`](crate::FrameSource)s, [`FrameSink`](crate::FrameSink)s and the processors of an
//! [`AudioPipeline`](crate::AudioPipeline) run on it. They must not allocate, lock, log or wait, and
//! together, over all calls, they have 20 ms. Slower work belongs on the other side of
//! [`Call::audio`](crate::Call::audio).
//!
//! # Buffers
//!
//! - **To the program**: the frame from the jitter buffer is copied once, into a pooled frame that travels
//!   through a ring. [`AudioFrame`](crate::AudioFrame) is that frame; dropping it returns it to the pool. The
//!   pool holds 50 frames (one second): a program that falls further behind loses frames, which
//!   [`overruns`](crate::Incoming::overruns) counts. At a rate other than the client's, a resampler runs on
//!   the program's side.
//! - **From the program**: a ring of one second. [`write`](crate::Outgoing::write) waits for room,
//!   [`try_write`](crate::Outgoing::try_write) accepts what fits. An empty ring sends silence, which counts
//!   as an underrun if the program has declared that it [`speaks`](crate::Outgoing::speaks).
//! - **Flush** moves a mark that the media thread checks before each packet: no sample written before the
//!   flush is sent after the packet currently being built.
//!
//! # Waking
//!
//! The media thread stores its progress. While a task waits for frames, room or marks, the signalling thread
//! checks it right after each tick and wakes the task. A task receives a frame about 2 ms after its playout
//! (500 frames on two busy cores: median 2.4 ms, 95th percentile 6 ms).
//!
//! # Components of delay
//!
//! A sample waits for its packet (20 ms), for the sender's next tick, and in the jitter buffer (`jitter_ms`,
//! 40). The receiver's tick adds nothing: the start of a stream is shifted by up to 20 ms to match it. A
//! source on the media thread is called exactly when its packet is due, which avoids the second part.
//! `scripts/bench-client.sh` measures both.
//!
//! # Backpressure and loss
//!
//! | resource | limit | when it is full |
//! |---|---|---|
//! | events of a subscriber | `event_buffer` (1,024) | the oldest are lost, `ClientEvent::Lost` counts them |
//! | incoming calls before `IncomingCalls::next` | 64 | refused with 486 |
//! | simultaneous calls | `max_calls` (1,000) | refused with 486 |
//! | received frames | 50 | lost, `Incoming::overruns` |
//! | samples to send | one second | `write` waits |
