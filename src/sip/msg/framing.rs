//! Messages from a byte stream (RFC 3261 §18.3, keep-alives: RFC 5626 §4.4.1).

use bytes::Bytes;

use super::error::{ParseError, ParseErrorKind};
use super::lines::{self, Line};
use super::name::{self, Name};
use super::parse::{self, Framing};
use super::{Limits, Message};

/// An item of a stream.
#[derive(Debug, Clone)]
pub enum StreamItem {
    /// A message.
    Message(Message),
    /// CRLFCRLF between messages: respond with CRLF.
    Ping,
    /// A single CRLF, the response to our CRLFCRLF ([`StreamDecoder::awaits_pong`]).
    Pong,
    /// A message that could not be parsed but whose end is known: respond and continue.
    Malformed(ParseError),
    /// The start of the next message is unknown: respond, then close the connection. This is
    /// the last item.
    Broken(ParseError),
}

/// Splits a byte stream into messages.
///
/// Push the input, then take items until there are none. Memory is bounded by
/// `Limits::message` plus the largest piece pushed, provided that items are taken after every
/// push. Every byte is scanned once, however small the pieces.
#[derive(Debug)]
pub struct StreamDecoder {
    limits: Limits,
    buffer: Vec<u8>,
    /// First byte not consumed.
    start: usize,
    state: State,
    /// Whether the next single CRLF is a pong.
    pong: bool,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Between messages, after this number of line ends.
    Between { line_ends: u8 },
    /// In a header section; lines before `line` (relative to `start`) and the bytes up to
    /// `scanned` are already scanned.
    Head { line: usize, scanned: usize },
    /// The message is complete with this many bytes.
    Body { total: usize },
    /// The framing is lost.
    Broken,
}

impl StreamDecoder {
    /// A decoder at the beginning of a stream.
    pub fn new(limits: Limits) -> StreamDecoder {
        StreamDecoder {
            limits,
            buffer: Vec::new(),
            start: 0,
            state: State::Between { line_ends: 0 },
            pong: false,
        }
    }

    /// Adds input.
    pub fn push(&mut self, bytes: &[u8]) {
        if matches!(self.state, State::Broken) {
            return;
        }
        // Moves the rest only after at least as much was consumed, so every byte is moved a
        // constant number of times.
        if self.start > self.buffer.len() / 2 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Notes that a ping of ours is outstanding. Call it before pushing the possible
    /// response; line ends received earlier do not count.
    pub fn awaits_pong(&mut self) {
        self.pong = true;
        self.after_a_pause();
    }

    /// Notes that the next input does not belong to the last: a single CRLF before it, as which
    /// some peers send their keep-alives, is no half of a ping.
    pub fn after_a_pause(&mut self) {
        if self.buffered() == 0 && matches!(self.state, State::Between { .. }) {
            self.state = State::Between { line_ends: 0 };
        }
    }

    /// Number of bytes of an incomplete message.
    pub fn buffered(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Number of bytes that fit without reallocation.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// The next item; `None` until more input is pushed.
    pub fn next_item(&mut self) -> Option<StreamItem> {
        loop {
            let pending = self.buffer.get(self.start..).unwrap_or_default();
            match self.state {
                State::Broken => return None,
                State::Between { line_ends } => {
                    let taken = match pending {
                        [b'\r', b'\n', ..] => 2,
                        [b'\n', ..] => 1,
                        [] | [b'\r'] => return None,
                        _ => {
                            self.state = State::Head { line: 0, scanned: 0 };
                            continue;
                        }
                    };
                    // Two of them are a ping of the peer.
                    let is_alone = line_ends == 0 && !matches!(pending.get(taken), Some(b'\r' | b'\n'));
                    self.start += taken;
                    if is_alone && std::mem::take(&mut self.pong) {
                        return Some(StreamItem::Pong);
                    }
                    self.state = State::Between { line_ends: (line_ends + 1) % 2 };
                    if line_ends == 1 {
                        return Some(StreamItem::Ping);
                    }
                }
                State::Head { line, scanned } => match head_end(pending, line, scanned) {
                    Ok(head_end) => match self.message_len(head_end) {
                        Ok(total) => self.state = State::Body { total },
                        Err(kind) => return Some(self.broken(head_end, kind)),
                    },
                    Err(_) if pending.len() > self.limits.message => {
                        let kind = ParseErrorKind::Limit("the size of a message");
                        return Some(self.broken(self.limits.message, kind));
                    }
                    Err(line) => {
                        self.state = State::Head { line, scanned: pending.len() };
                        return None;
                    }
                },
                State::Body { total } => {
                    // Copied, so that a message kept for long does not keep the whole buffer.
                    let message = Bytes::copy_from_slice(pending.get(..total)?);
                    self.start += total;
                    self.state = State::Between { line_ends: 0 };
                    return Some(match parse::message(message, &self.limits, Framing::Stream) {
                        Ok(message) => StreamItem::Message(message),
                        Err(error) => StreamItem::Malformed(error),
                    });
                }
            }
        }
    }

    /// Length of the message whose header section ends at `head_end`.
    fn message_len(&self, head_end: usize) -> Result<usize, ParseErrorKind> {
        let head = &self.buffer[self.start..self.start + head_end];
        let mut at = lines::line_end(head, 0).unwrap_or(head.len());
        let fields = std::iter::from_fn(|| {
            loop {
                match lines::line(head, at) {
                    Line::Field(field) => {
                        at = field.end;
                        return Some(field);
                    }
                    Line::Bad(end) => at = end,
                    Line::Empty(_) | Line::Unterminated => return None,
                }
            }
        });
        let is_length = |text: &[u8]| name::identify(text) == Name::ContentLength.id();
        let values = fields
            .filter(|field| is_length(&head[field.start..field.name_end]))
            .map(|field| &head[field.value_start..field.value_end]);
        let length = parse::content_length(values)?;
        let length = length.ok_or(super::HeaderError::Missing(Name::ContentLength))?;
        match head_end.checked_add(length) {
            Some(total) if total <= self.limits.message => Ok(total),
            _ => Err(ParseErrorKind::Limit("the size of a message")),
        }
    }

    /// Gives up, with a response if the first `len` bytes allow one.
    fn broken(&mut self, len: usize, kind: ParseErrorKind) -> StreamItem {
        let pending = self.buffer.get(self.start..).unwrap_or_default();
        let head = Bytes::copy_from_slice(pending.get(..len).unwrap_or(pending));
        let partial = parse::partial(head, &self.limits);
        self.buffer = Vec::new();
        self.start = 0;
        self.state = State::Broken;
        StreamItem::Broken(ParseError { kind, partial })
    }
}

/// The start of the body, or `Err` with the start of the first incomplete line. Lines before
/// `line` and bytes before `scanned` are already scanned.
fn head_end(pending: &[u8], mut line: usize, scanned: usize) -> Result<usize, usize> {
    let mut from = scanned.max(line);
    while let Some(end) = lines::line_end(pending, from) {
        if matches!(&pending[line..end], b"\r\n" | b"\n") {
            return Ok(end);
        }
        line = end;
        from = end;
    }
    Err(line)
}
