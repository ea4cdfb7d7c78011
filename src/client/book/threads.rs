//! Which threads there are, what is copied where, and what may block.
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
//! - **sip-client** owns the SIP stack on a current-thread runtime of its own. A method of
//!   [`SipClient`](crate::SipClient) or [`Call`](crate::Call) sends it a command
//!   and waits for the answer; dropping the future takes nothing back.
//! - **media** carries the RTP of every call: receive, jitter buffer, decode, play out, encode,
//!   send. It takes no lock, allocates nothing and wakes nobody per packet.
//! - **media-events** moves what the media thread has to say to the signalling thread.
//! - Files are read by a thread of their own ahead of time, recordings are written by one; a call
//!   with `ClientBuilder::processing` has one for that; the devices
//!   have one each way, for all calls.
//!
//! # Code on the media thread
//!
//! A [`FrameSource`](crate::FrameSource), a [`FrameSink`](crate::FrameSink) and
//! the processors of an [`AudioPipeline`](crate::AudioPipeline). They must not allocate,
//! lock, log or wait, and all of them together, over all calls, have 20 ms. What takes longer
//! belongs on the other side of [`Call::audio`](crate::Call::audio).
//!
//! # Buffers
//!
//! - **Towards the program**: the frame that the jitter buffer has filled is copied once, into a
//!   frame of a pool, which travels by a ring. [`AudioFrame`](crate::AudioFrame) is that
//!   frame; dropped, it goes back to the pool. The pool holds 50 (a second): a program that is
//!   further behind loses frames, which are counted
//!   ([`overruns`](crate::Incoming::overruns)). At another rate than the client's the
//!   samples pass a resampler on the program's side.
//! - **From the program**: a ring of one second. [`write`](crate::Outgoing::write) waits
//!   for room, [`try_write`](crate::Outgoing::try_write) takes what fits. An empty ring is
//!   silence, or an underrun where the program has said that it
//!   [`speaks`](crate::Outgoing::speaks).
//! - **Flush** moves a mark that the media thread compares before each packet: nothing that was
//!   written before it is sent after the packet that is being made.
//!
//! # Waking
//!
//! The media thread stores how far it is. While a task waits for frames, room or marks, the
//! signalling thread looks right after each tick and wakes it. So a frame is in the task's hands
//! about 2 ms after it is played out (500 frames on two busy cores: 2.4 ms in the middle, 6 ms at the
//! 95th percentile).
//!
//! # Components of delay
//!
//! A sample waits for its packet (20 ms), for the next tick of the sender, and in the jitter buffer
//! (`jitter_ms`, 40). The receiver's tick costs nothing: a stream's beginning gives way to it by up to
//! 20 ms. A source on the media thread is asked exactly when its packet is due and saves the
//! second part. `scripts/bench-client.sh` measures both.
//!
//! # Backpressure and loss
//!
//! | what | bound | when it is full |
//! |---|---|---|
//! | events of a subscriber | `event_buffer` (1,024) | its oldest are lost, `ClientEvent::Lost` counts them |
//! | calls that wait for `IncomingCalls::next` | 64 | refused with 486 |
//! | calls at once | `max_calls` (1,000) | refused with 486 |
//! | frames heard | 50 | lost, `Incoming::overruns` |
//! | samples to say | one second | `write` waits |
