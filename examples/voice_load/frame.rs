//! WebSocket frames (RFC 6455 §5.2) in buffers, without copies, so that the results measure the server.

use std::ops::Range;

/// Opcodes of frames.
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// A complete frame at the beginning of a buffer.
pub struct Frame {
    pub kind: u8,
    /// Position of its payload in the buffer; the next frame begins after it.
    pub payload: Range<usize>,
}

/// Parses a frame, and unmasks it in place. `None` if it is incomplete.
pub fn read(buffer: &mut [u8]) -> Option<Frame> {
    let (&kind, &len) = (buffer.first()?, buffer.get(1)?);
    let (len, masked) = (len & 0x7F, len & 0x80 != 0);
    let (len, head) = match len {
        126 => (usize::from(u16::from_be_bytes(buffer.get(2..4)?.try_into().ok()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(buffer.get(2..10)?.try_into().ok()?)).ok()?, 10),
        len => (usize::from(len), 2),
    };
    let from = head + if masked { 4 } else { 0 };
    let payload = from..from + len;
    if buffer.len() < payload.end {
        return None;
    }
    if masked {
        let (key, rest) = buffer[head..].split_at_mut(4);
        rest[..len].iter_mut().zip(key.iter().cycle()).for_each(|(octet, key)| *octet ^= key);
    }
    Some(Frame { kind: kind & 0x0F, payload })
}

/// The header of an unmasked frame.
pub fn head(kind: u8, len: usize) -> Vec<u8> {
    match u16::try_from(len) {
        Ok(len @ 0..=125) => vec![0x80 | kind, len as u8],
        Ok(len) => [&[0x80 | kind, 126][..], &len.to_be_bytes()].concat(),
        Err(_) => [&[0x80 | kind, 127][..], &(len as u64).to_be_bytes()].concat(),
    }
}

/// A client's frame, masked with a zero key.
pub fn of_client(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(kind, payload.len());
    frame[1] |= 0x80;
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// Collects the octets of a connection into whole frames.
#[derive(Default)]
pub struct Frames {
    octets: Vec<u8>,
}

impl Frames {
    /// Adds received octets; each whole frame is passed to `take` with the buffer up to the end of its
    /// payload.
    pub fn take(&mut self, octets: &[u8], mut take: impl FnMut(&Frame, &mut [u8])) {
        self.octets.extend_from_slice(octets);
        let mut done = 0;
        while let Some(frame) = read(&mut self.octets[done..]) {
            let end = done + frame.payload.end;
            take(&frame, &mut self.octets[done..end]);
            done = end;
        }
        self.octets.drain(..done);
    }
}
