//! One party's stage: which of all that could be played to it is, who waits for its end, and
//! who waits for digits.
//!
//! A prompt comes before a stream, a stream before music, and all before what the leg is joined to;
//! digits that are tones come before everything, comfort noise comes last.
//! What waits in a stream waits on while a prompt is played. Orders about
//! prompts and music have tickets that grow, since what is played has to be fetched first: one
//! that comes late, after a later order, is over before it has begun.

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
use crate::stream::{Inside, Spoken, StreamEnd};

/// The order of orders.
pub type Ticket = u64;

/// What a stage is told to do.
#[derive(Debug)]
pub enum Act {
    /// Plays this in the place of all else.
    Play { ticket: Ticket, program: Box<Program>, reply: Option<Reply<Result<Played, SoundError>>> },
    /// Ends what is played, and what was to be played by an earlier order.
    StopPrompt { ticket: Ticket },
    /// Collects digits; with a prompt its time runs from the prompt's end.
    Collect { plan: Box<DigitPlan>, prompt: Option<Ticket>, reply: Reply<Result<Collected, SoundError>> },
    /// The prompt of a collection cannot be played.
    FailCollect { prompt: Ticket, error: SoundError },
    /// Ends a collection.
    StopCollecting,
    /// A digit that came by signalling.
    Digit { digit: char },
    /// Plays music while no prompt is played.
    Music { ticket: Ticket, music: Box<Music>, reply: Option<Reply<Result<(), SoundError>>> },
    /// Ends the music.
    StopMusic { ticket: Ticket },
    /// Whether the party hears itself while nothing else is played to it.
    Echo { on: bool },
    /// A stream, in the place of one that there is. The machine's: a stage alone does nothing.
    Stream(Box<Inside>),
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
    /// It waits for the end of this prompt.
    prompt: Option<Ticket>,
    reply: Reply<Result<Collected, SoundError>>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Stage {
    /// Where on the machine's wheel it stands.
    pub phase: Option<u8>,
    /// Whether the leg's feeder was told to be quiet.
    pub has_encoder: bool,
    /// Where the next packet of ours stands, whoever of us makes it.
    line: Line,
    encoder: Option<Box<PromptEncoder>>,
    /// The room that the party is in, and what hears it there.
    pub room: Option<u32>,
    pub receiver: Option<Box<RoomReceiver>>,
    /// The party hears itself.
    pub echo: Option<Echo>,
    /// The last packet was one of the room's listeners'.
    shares: bool,
    prompt: Option<Prompt>,
    music: Option<Box<Music>>,
    stream: Option<Box<Streaming>>,
    keys: Option<Box<Keys>>,
    noise: Option<Noise>,
    collection: Option<Collection>,
    /// Prompts and music of orders up to these are over.
    prompts_over: Ticket,
    music_over: Ticket,
}

impl Stage {
    /// Obeys. `typed` is what was pressed and not taken.
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
            Act::Digit { digit } => self.digit(at, digit, typed),
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
            Act::Stream(_) => {}
        }
    }

    /// Whether something of ours is played to the party.
    pub fn is_playing(&self) -> bool {
        self.prompt.is_some()
            || self.music.is_some()
            || self.keys.is_some()
            || self.noise.is_some()
            || self.stream.as_ref().is_some_and(|it| it.speaks())
    }

    /// The party hears a digit as a tone, behind those that it hears already. `rate_hz`: samples a
    /// second that are worth playing to it.
    pub fn sound_digit(&mut self, digit: char, duration_ms: u32, rate_hz: u32) {
        self.keys.get_or_insert_default().push(digit, duration_ms, rate_hz);
    }

    /// The other party's silence is this loud from now on: the payload of a CN packet.
    pub fn hear_noise(&mut self, payload: &[u8]) {
        match &mut self.noise {
            Some(noise) => noise.set(payload),
            None => self.noise = Some(Noise::new(payload)),
        }
    }

    /// The other party is heard again. Whether there was noise.
    pub fn end_noise(&mut self) -> bool {
        self.noise.take().is_some()
    }

    /// Whether it is to be ticked.
    pub fn is_ticked(&self) -> bool {
        self.is_playing() || self.stream.is_some()
    }

    /// The stream, if there is one.
    pub fn stream(&mut self) -> Option<&mut Streaming> {
        self.stream.as_deref_mut()
    }

    /// Whether there is one.
    pub fn has_stream(&self) -> bool {
        self.stream.is_some()
    }

    /// Begins a stream.
    pub fn begin_stream(&mut self, stream: Streaming) {
        self.end_stream(StreamEnd::Replaced);
        self.stream = Some(Box::new(stream));
    }

    /// Ends the stream.
    pub fn end_stream(&mut self, why: StreamEnd) {
        if let Some(stream) = self.stream.take() {
            stream.end(why);
        }
    }

    /// The party hears somebody else from now on: ends a stream that speaks.
    pub fn leave_to_others(&mut self) {
        if self.stream.as_ref().is_some_and(|it| it.speaks()) {
            self.end_stream(StreamEnd::Joined);
        }
    }

    /// When [`Stage::time`] is due; 0: never.
    pub fn due(&self) -> u64 {
        self.collection.as_ref().map_or(0, |collection| collection.collector.due())
    }

    /// Time has passed.
    pub fn time(&mut self, at: u64, typed: &mut Typed) {
        if let Some(end) = self.collection.as_ref().and_then(|it| it.collector.time(at)) {
            self.finish(end, typed);
        }
    }

    /// A key went down: its digit comes when it goes up.
    pub fn key_down(&mut self, at: u64, typed: &mut Typed) {
        if self.collection.as_ref().is_some_and(|it| it.collector.barges_in()) {
            self.barge_in(at, typed);
        }
    }

    /// A digit was pressed.
    pub fn digit(&mut self, at: u64, digit: char, typed: &mut Typed) {
        self.key_down(at, typed);
        if let Some(stream) = &mut self.stream {
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

    /// The next 20 ms: what the party takes goes to `send`. `target`: what it gets now, none
    /// while it is held; time goes on all the same.
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
        let mut finished = false;
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
        if finished {
            self.end_stream(StreamEnd::Finished);
        }
        if self.keys.take_if(|keys| keys.is_over()).is_some() {
            self.rest();
        }
        self.prompt_at_its_end(at, typed);
    }

    /// What the party says in this tick goes to its stream, if it has one.
    pub fn overhear(&mut self, moment: std::time::Instant) {
        let Some(stream) = &mut self.stream else { return };
        stream.hear(moment);
        if stream.is_over() {
            self.end_stream(StreamEnd::Finished);
        }
    }

    /// A tick of its room is next, while nothing else is played to it.
    pub fn room_tick(&mut self, due: u64) {
        self.line.tick(due);
    }

    /// What the party alone hears of the room.
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

    /// What the party hears of a room with others.
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

    /// The party hears nothing of its room for now.
    pub fn say_nothing(&mut self) {
        self.line.interrupt();
    }

    /// What it needs to be spoken to is taken now.
    pub fn prepare(&mut self, target: &SendFormat, rate_hz: u32) {
        encoder(&mut self.encoder, target, rate_hz).prepare();
    }

    /// Packets of which a tick has no whole number stand elsewhere on the shared line than on its own.
    fn share(&mut self, shares: bool, target: &SendFormat) {
        let is_whole = TICK_MS.is_multiple_of(target.ptime_ms);
        if std::mem::replace(&mut self.shares, shares) != shares && !is_whole {
            self.line.interrupt();
        }
    }

    /// The party has gone.
    pub fn close(&mut self, at: u64) {
        let mut typed = Typed::default();
        self.finish(CollectEnd::Stopped, &mut typed);
        self.stop_prompt(at, &mut typed);
        self.music = None;
        self.echo = None;
        (self.keys, self.noise) = (None, None);
        self.end_stream(StreamEnd::Closed);
    }

    /// Nothing is played for the time being: the encoder's memory is given back.
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
            // What is too much stays in `typed` for the next one.
            self.digit(at, digit, typed);
        }
    }

    /// A press ends whatever prompt there is, and the one that a collection waits for.
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

    /// A collection that waits for the end of this prompt begins.
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

/// Answers, and lets who hears it take the program's memory away.
/// The encoder for this listener, in the place of one for another.
fn encoder<'a>(
    slot: &'a mut Option<Box<PromptEncoder>>,
    target: &SendFormat,
    rate_hz: u32,
) -> &'a mut PromptEncoder {
    slot.take_if(|encoder| !encoder.is_for(target, rate_hz));
    slot.get_or_insert_with(|| Box::new(PromptEncoder::new(target, rate_hz)))
}

fn give(reply: Option<Reply<Result<Played, SoundError>>>, played: Played, program: Box<Program>) {
    if let Some(reply) = reply {
        reply.give_with(Ok(played), program);
    }
}

/// Samples of a tick.
fn samples(rate_hz: u32) -> usize {
    (rate_hz as usize / 50).min(TICK_SAMPLES)
}
