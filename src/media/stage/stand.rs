//! One party's stage: which of the things to be played is played, and the requests that wait for
//! its end or for digits.
//!
//! A prompt has precedence over a stream, a stream over music, and all over what the leg is joined
//! to; digits as tones have the highest precedence, comfort noise the lowest. A stream pauses
//! during a prompt. Commands about prompts and music carry increasing tickets, since audio must be
//! loaded first: one that arrives after a later command is obsolete.

use super::collect::Collector;
use super::keys::Keys;
use super::noise::Noise;
use super::{
    CollectEnd, Collected, DigitPlan, Echo, Line, Music, Played, Program, PromptEncoder, Streaming, TICK_MS,
    TICK_SAMPLES, Typed,
};
use crate::codec::MAX_PAYLOAD;
use crate::forward::OutSpace;
use crate::relay::Reply;
use crate::remote::SendFormat;
use crate::room::{Payloads, RoomReceiver};
use crate::rtp::packet::HEADER_LEN;
use crate::sounds::SoundError;
use crate::stream::{Inside, Link, Spoken, StreamEnd};

/// The order of commands.
pub type Ticket = u64;

/// A command to a stage.
#[derive(Debug)]
pub enum Act {
    /// Plays this program in place of everything else.
    Play { ticket: Ticket, program: Box<Program>, reply: Option<Reply<Result<Played, SoundError>>> },
    /// Stops the current prompt, and any prompt of an earlier command.
    StopPrompt { ticket: Ticket },
    /// Collects digits; with a prompt the time runs from the prompt's end.
    Collect { plan: Box<DigitPlan>, prompt: Option<Ticket>, reply: Reply<Result<Collected, SoundError>> },
    /// Fails a collection whose prompt cannot be played.
    FailCollect { prompt: Ticket, error: SoundError },
    /// Stops a collection.
    StopCollecting,
    /// Plays music while no prompt is played.
    Music { ticket: Ticket, music: Box<Music>, reply: Option<Reply<Result<(), SoundError>>> },
    /// Stops the music.
    StopMusic { ticket: Ticket },
    /// Sets whether the party's audio is echoed to it while nothing else is played.
    Echo { on: bool },
    /// Begins a stream in place of an existing one. For the machine: a stage alone does nothing.
    Stream(Box<Inside>),
    /// Sets whether tones in the party's audio are digits. For the machine, too.
    HearTones { on: bool },
}

#[derive(Debug)]
struct Prompt {
    ticket: Ticket,
    program: Box<Program>,
    reply: Option<Reply<Result<Played, SoundError>>>,
}

#[derive(Debug)]
struct Collection {
    collector: Collector,
    /// The prompt for whose end the collection waits.
    prompt: Option<Ticket>,
    reply: Reply<Result<Collected, SoundError>>,
}

/// The stage of one party; see the module documentation.
#[derive(Debug, Default)]
pub struct Stage {
    /// Its phase on the machine's wheel, if it is on it.
    pub phase: Option<u8>,
    /// Whether our own audio replaces that of the leg's feeder.
    pub has_encoder: bool,
    /// The position of our next packet, whichever part produces it.
    line: Line,
    encoder: Option<Box<PromptEncoder>>,
    /// The room that the party is in, and its receiver there.
    pub room: Option<u32>,
    pub receiver: Option<Box<RoomReceiver>>,
    /// Set if the party's audio is echoed to it.
    pub echo: Option<Echo>,
    /// The last packet was one shared by listeners of the room.
    shares: bool,
    prompt: Option<Prompt>,
    music: Option<Box<Music>>,
    stream: Option<Box<Streaming>>,
    keys: Option<Box<Keys>>,
    noise: Option<Noise>,
    collection: Option<Collection>,
    /// Prompts and music of tickets up to these are obsolete.
    prompts_over: Ticket,
    music_over: Ticket,
}

impl Stage {
    /// Executes a command. `typed` holds digits not collected yet.
    pub fn act(&mut self, at: u64, act: Act, typed: &mut Typed) {
        match act {
            Act::Play { ticket, program, reply } => {
                if ticket <= self.prompts_over {
                    give(reply, Played::Stopped, program);
                    return self.prompt_over(at, ticket, typed);
                }
                self.stop_prompt(at, typed);
                self.prompts_over = ticket - 1;
                self.prompt = Some(Prompt { ticket, program, reply });
                self.prompt_at_its_end(at, typed);
            }
            Act::StopPrompt { ticket } => {
                self.prompts_over = self.prompts_over.max(ticket);
                self.stop_prompt(at, typed);
            }
            Act::Collect { plan, prompt, reply } => self.collect(at, *plan, prompt, reply, typed),
            Act::FailCollect { prompt, error } => {
                if let Some(collection) = self.collection.take_if(|it| it.prompt == Some(prompt)) {
                    collection.reply.give(Err(error));
                }
            }
            Act::StopCollecting => self.finish(CollectEnd::Stopped, typed),
            Act::Music { ticket, music, reply } => {
                if ticket > self.music_over {
                    self.music_over = ticket - 1;
                    self.music = Some(music);
                }
                if let Some(reply) = reply {
                    reply.give(Ok(()));
                }
            }
            Act::StopMusic { ticket } => {
                self.music_over = self.music_over.max(ticket);
                self.music = None;
            }
            Act::Echo { on } => self.echo = on.then(Echo::default),
            Act::Stream(_) | Act::HearTones { .. } => {}
        }
    }

    /// Whether anything of ours is played to the party.
    pub fn is_playing(&self) -> bool {
        self.prompt.is_some()
            || self.music.is_some()
            || self.keys.is_some()
            || self.noise.is_some()
            || self.stream.as_ref().is_some_and(|it| it.speaks())
    }

    /// Plays a digit as a tone after those queued. `rate_hz` is the highest useful sampling rate.
    pub fn sound_digit(&mut self, digit: char, duration_ms: u32, rate_hz: u32) {
        self.keys.get_or_insert_default().push(digit, duration_ms, rate_hz);
    }

    /// Plays the other party's background noise at the level of this CN payload.
    pub fn hear_noise(&mut self, payload: &[u8]) {
        match &mut self.noise {
            Some(noise) => noise.set(payload),
            None => self.noise = Some(Noise::new(payload)),
        }
    }

    /// Ends comfort noise as the other party is heard again. Returns whether there was noise.
    pub fn end_noise(&mut self) -> bool {
        self.noise.take().is_some()
    }

    /// Whether it needs ticks.
    pub fn is_ticked(&self) -> bool {
        self.is_playing() || self.stream.is_some()
    }

    /// The stream, if there is one.
    pub fn stream(&mut self) -> Option<&mut Streaming> {
        self.stream.as_deref_mut()
    }

    /// Whether there is a stream.
    pub fn has_stream(&self) -> bool {
        self.stream.is_some()
    }

    /// Begins a stream in place of another one; who only listens takes nobody's place who speaks.
    pub fn begin_stream(&mut self, stream: Streaming) {
        if !stream.speaks() && self.stream.as_ref().is_some_and(|before| before.speaks()) {
            return Box::new(stream).end(StreamEnd::Replaced);
        }
        self.end_stream(StreamEnd::Replaced);
        self.stream = Some(Box::new(stream));
    }

    /// Ends the stream.
    pub fn end_stream(&mut self, why: StreamEnd) {
        if let Some(stream) = self.stream.take() {
            stream.end(why);
        }
    }

    /// Ends a stream that speaks, as the party hears others from now on.
    pub fn leave_to_others(&mut self) {
        if self.stream.as_ref().is_some_and(|it| it.speaks()) {
            self.end_stream(StreamEnd::Joined);
        }
    }

    /// When [`Stage::time`] is due; 0 for never.
    pub fn due(&self) -> u64 {
        self.collection.as_ref().map_or(0, |collection| collection.collector.due())
    }

    /// Checks the collection's timers.
    pub fn time(&mut self, at: u64, typed: &mut Typed) {
        if let Some(end) = self.collection.as_ref().and_then(|it| it.collector.time(at)) {
            self.finish(end, typed);
        }
    }

    /// A key was pressed; its digit follows when it is released.
    pub fn key_down(&mut self, at: u64, typed: &mut Typed) {
        if self.collection.as_ref().is_some_and(|it| it.collector.barges_in()) {
            self.barge_in(at, typed);
        }
        if let Some(collection) = &mut self.collection {
            collection.collector.key_down(at);
        }
    }

    /// Processes a digit.
    pub fn digit(&mut self, at: u64, digit: char, typed: &mut Typed) {
        self.key_down(at, typed);
        let is_secret = self.collection.as_ref().is_some_and(|it| it.collector.is_secret());
        if let Some(stream) = self.stream.as_mut().filter(|_| !is_secret) {
            stream.digit(digit);
        }
        let Some(collection) = &mut self.collection else {
            return if self.stream.is_none() {
                typed.push(digit)
            };
        };
        if let Some(end) = collection.collector.digit(at, digit) {
            self.finish(end, typed);
        }
    }

    /// Plays the next 20 ms; packets go to `send`. `target` is the party's current format, `None`
    /// while it is on hold; playback time advances all the same.
    pub fn tick(
        &mut self,
        due: u64,
        at: u64,
        target: Option<&SendFormat>,
        space: &mut OutSpace,
        typed: &mut Typed,
        send: impl FnMut(&[u8]),
    ) {
        if !self.is_playing() {
            return;
        }
        self.line.tick(due);
        let mut frame = [0; TICK_SAMPLES];
        let (mut finished, mut streams, before) = (false, false, space.sequence);
        let (rate_hz, last, place) = match (&mut self.prompt, &mut self.stream, &mut self.music) {
            _ if self.keys.is_some() => self.keys.as_mut().map_or((8_000, true, None), |keys| {
                let rate_hz = keys.rate_hz();
                keys.read(&mut frame[..samples(rate_hz)]);
                (rate_hz, keys.is_over(), None)
            }),
            (Some(prompt), _, _) => {
                let rate_hz = prompt.program.rate_hz();
                prompt.program.read(&mut frame[..samples(rate_hz)]);
                (rate_hz, prompt.program.is_over(), prompt.program.place())
            }
            (None, Some(stream), _) if stream.speaks() => {
                let rate_hz = stream.rate_hz();
                streams = true;
                finished = stream.speak(&mut frame[..samples(rate_hz)]) == Spoken::Last;
                if let Some(encoder) = self.encoder.as_mut().filter(|_| stream.is_cut()) {
                    encoder.hush();
                }
                (rate_hz, finished, None)
            }
            (None, _, Some(music)) => {
                let rate_hz = music.rate_hz();
                music.read(due, &mut frame[..samples(rate_hz)]);
                (rate_hz, false, music.place())
            }
            (None, _, None) => match &mut self.noise {
                Some(noise) => {
                    let rate_hz = 8_000;
                    noise.read(&mut frame[..samples(rate_hz)]);
                    (rate_hz, false, None)
                }
                None => return,
            },
        };
        match target {
            Some(target) => {
                let encoder = encoder(&mut self.encoder, target, rate_hz);
                let said = (&frame[..samples(rate_hz)], place);
                encoder.say(said, last, at, &mut self.line, space, send);
            }
            None => self.line.interrupt(),
        }
        if let Some(stream) = self.stream.as_mut().filter(|_| streams && space.sequence != before) {
            stream.sent(at, space.sequence);
        }
        if finished {
            self.end_stream(StreamEnd::Finished);
        }
        if self.keys.take_if(|keys| keys.is_over()).is_some() {
            self.rest();
        }
        self.prompt_at_its_end(at, typed);
    }

    /// Passes the party's audio of the tick due at `due`, which is `moment`, to its stream, if there is one.
    pub fn overhear(&mut self, due: u64, moment: std::time::Instant, link: impl FnOnce() -> Link) {
        let Some(stream) = &mut self.stream else { return };
        stream.hear(due, moment, link);
        if stream.is_over() {
            self.end_stream(StreamEnd::Finished);
        }
    }

    /// Starts a tick of its room, while nothing else is played to it.
    pub fn room_tick(&mut self, due: u64) {
        self.line.tick(due);
    }

    /// Plays the party's individual mix of the room.
    pub fn say_room(
        &mut self,
        target: &SendFormat,
        rate_hz: u32,
        frame: &[i16],
        at: u64,
        space: &mut OutSpace,
        send: impl FnMut(&[u8]),
    ) {
        self.share(false, target);
        let encoder = encoder(&mut self.encoder, target, rate_hz);
        encoder.say((frame, None), false, at, &mut self.line, space, send);
    }

    /// Plays the mix of the room that the party shares with others.
    pub fn say_shared(
        &mut self,
        target: &SendFormat,
        payloads: &Payloads<'_>,
        at: u64,
        space: &mut OutSpace,
        mut send: impl FnMut(&[u8]),
    ) {
        self.share(true, target);
        if self.line.is_broken(space) {
            self.line.resume(at, target.codec.clock_rate(), space);
        }
        let mut packet = [0; HEADER_LEN + MAX_PAYLOAD];
        for payload in payloads.iter() {
            let len = HEADER_LEN + payload.len();
            self.line.write(&mut packet, target.payload_type, payloads.ticks, payload.len(), at, space);
            packet[HEADER_LEN..len].copy_from_slice(payload);
            send(&packet[..len]);
        }
    }

    /// Plays nothing of its room for now.
    pub fn say_nothing(&mut self) {
        self.line.interrupt();
    }

    /// Allocates what is needed to play to the party.
    pub fn prepare(&mut self, target: &SendFormat, rate_hz: u32) {
        encoder(&mut self.encoder, target, rate_hz).prepare();
    }

    /// If a tick does not hold a whole number of packets, switching between the shared line and its
    /// own leaves a gap.
    fn share(&mut self, shares: bool, target: &SendFormat) {
        let is_whole = TICK_MS.is_multiple_of(target.ptime_ms);
        if std::mem::replace(&mut self.shares, shares) != shares && !is_whole {
            self.line.interrupt();
        }
    }

    /// Ends everything, as the party has gone.
    pub fn close(&mut self, at: u64) {
        let mut typed = Typed::default();
        self.finish(CollectEnd::Stopped, &mut typed);
        self.stop_prompt(at, &mut typed);
        self.music = None;
        self.echo = None;
        (self.keys, self.noise) = (None, None);
        self.end_stream(StreamEnd::Closed);
    }

    /// Frees the encoder while nothing is played.
    pub fn rest(&mut self) {
        if !self.is_playing() && self.room.is_none() {
            self.encoder = None;
        }
    }

    fn collect(
        &mut self,
        at: u64,
        plan: DigitPlan,
        prompt: Option<Ticket>,
        reply: Reply<Result<Collected, SoundError>>,
        typed: &mut Typed,
    ) {
        self.finish(CollectEnd::Stopped, typed);
        let mut ahead = std::mem::take(typed);
        if !plan.type_ahead {
            ahead.clear();
        }
        let collector = Collector::new(plan, prompt.is_some(), at);
        self.collection = Some(Collection { collector, prompt, reply });
        while let Some(digit) = ahead.pop() {
            // Excess digits stay in `typed` for the next collection.
            self.digit(at, digit, typed);
        }
    }

    /// Ends the current prompt, and the one that a collection waits for.
    fn barge_in(&mut self, at: u64, typed: &mut Typed) {
        let awaited = self.collection.as_ref().and_then(|collection| collection.prompt);
        if let Some(awaited) = awaited {
            self.prompts_over = self.prompts_over.max(awaited);
        }
        self.stop_prompt(at, typed);
        if let Some(awaited) = awaited {
            self.prompt_over(at, awaited, typed);
        }
    }

    fn stop_prompt(&mut self, at: u64, typed: &mut Typed) {
        if let Some(prompt) = self.prompt.take() {
            give(prompt.reply, Played::Stopped, prompt.program);
            self.prompt_over(at, prompt.ticket, typed);
        }
    }

    fn prompt_at_its_end(&mut self, at: u64, typed: &mut Typed) {
        if let Some(prompt) = self.prompt.take_if(|prompt| prompt.program.is_over()) {
            give(prompt.reply, Played::Complete, prompt.program);
            self.prompt_over(at, prompt.ticket, typed);
        }
    }

    /// Starts a collection that waits for the end of this prompt.
    fn prompt_over(&mut self, at: u64, ticket: Ticket, typed: &mut Typed) {
        let Some(collection) = self.collection.as_mut().filter(|it| it.prompt == Some(ticket)) else {
            return;
        };
        collection.prompt = None;
        if let Some(end) = collection.collector.prompt_over(at) {
            self.finish(end, typed);
        }
    }

    fn finish(&mut self, end: CollectEnd, typed: &mut Typed) {
        if let Some(Collection { collector, reply, .. }) = self.collection.take() {
            reply.give(Ok(collector.finish(end, typed)));
        }
    }
}

/// The encoder for this listener; replaces one for another listener.
fn encoder<'a>(
    slot: &'a mut Option<Box<PromptEncoder>>,
    target: &SendFormat,
    rate_hz: u32,
) -> &'a mut PromptEncoder {
    slot.take_if(|encoder| !encoder.is_for(target, rate_hz));
    slot.get_or_insert_with(|| Box::new(PromptEncoder::new(target, rate_hz)))
}

/// Answers, and lets the receiver free the program.
fn give(reply: Option<Reply<Result<Played, SoundError>>>, played: Played, program: Box<Program>) {
    if let Some(reply) = reply {
        reply.give_with(Ok(played), program);
    }
}

/// Samples per tick.
fn samples(rate_hz: u32) -> usize {
    (rate_hz as usize / 50).min(TICK_SAMPLES)
}
