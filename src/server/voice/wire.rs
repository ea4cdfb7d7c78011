//! What carries the messages of one client: a WebSocket, or a TCP connection with the frames of Asterisk's AudioSocket.
//! Both are streams and sinks of the same messages, so that a talk has one shape.
//!
//! A frame of AudioSocket is an octet with its kind, its length in two octets (big-endian), and so many octets
//! (docs.asterisk.org/Configuration/Channel-Drivers/AudioSocket). Here a binary message is a whole frame.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use futures_util::future::Either;
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

/// A byte stream in both directions.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A client's WebSocket.
pub type Socket = WebSocketStream<Box<dyn Io>>;

/// Octets before what a frame holds.
const HEAD: usize = 3;
/// The kind of the last frame, which is empty.
pub const HANG_UP: u8 = 0x00;
/// Octets read at once.
const READ_AHEAD: usize = 2 * 1_024;

/// See the module documentation.
pub type Wire = Either<Socket, AudioSocketStream>;

/// A TCP connection with frames.
pub struct AudioSocketStream {
    octets: Box<dyn Io>,
    read: BytesMut,
    unwritten: BytesMut,
    /// A ping was to be written. There is none, so it counts as answered once the peer has taken what came before.
    pinged: bool,
}

/// A frame.
pub fn frame(kind: u8, octets: &[u8]) -> Vec<u8> {
    let octets = &octets[..octets.len().min(usize::from(u16::MAX))];
    let mut frame = Vec::with_capacity(HEAD + octets.len());
    frame.push(kind);
    frame.extend((octets.len() as u16).to_be_bytes());
    frame.extend(octets);
    frame
}

/// The kind of a whole frame, and what it holds.
pub fn read_frame(frame: &[u8]) -> Option<(u8, &[u8])> {
    let (head, octets) = frame.split_first_chunk::<HEAD>()?;
    Some((head[0], octets))
}

impl AudioSocketStream {
    /// The frames of a connection.
    pub fn new(octets: Box<dyn Io>) -> AudioSocketStream {
        AudioSocketStream { octets, read: BytesMut::new(), unwritten: BytesMut::new(), pinged: false }
    }

    /// The first whole frame that has been read.
    fn whole(&mut self) -> Option<Message> {
        let length = HEAD + usize::from(u16::from_be_bytes([*self.read.get(1)?, *self.read.get(2)?]));
        (self.read.len() >= length).then(|| Message::Binary(self.read.split_to(length).freeze()))
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while !self.unwritten.is_empty() {
            let count = ready!(Pin::new(&mut self.octets).poll_write(context, &self.unwritten))?;
            if count == 0 {
                return Poll::Ready(Err(Error::ConnectionClosed));
            }
            self.unwritten.advance(count);
        }
        Poll::Ready(Ok(()))
    }
}

impl Stream for AudioSocketStream {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.unwritten.is_empty() && std::mem::take(&mut this.pinged) {
            return Poll::Ready(Some(Ok(Message::Pong(Default::default()))));
        }
        loop {
            if let Some(frame) = this.whole() {
                return Poll::Ready(Some(Ok(frame)));
            }
            let mut part = [0; READ_AHEAD];
            let mut buffer = ReadBuf::new(&mut part);
            ready!(Pin::new(&mut this.octets).poll_read(context, &mut buffer))?;
            match buffer.filled() {
                [] => return Poll::Ready(None),
                octets => this.read.extend_from_slice(octets),
            }
        }
    }
}

impl Sink<Message> for AudioSocketStream {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_write(context)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        match message {
            Message::Binary(frame) => self.unwritten.extend_from_slice(&frame),
            Message::Close(_) => self.unwritten.extend_from_slice(&frame(HANG_UP, &[])),
            Message::Ping(_) => self.pinged = true,
            Message::Text(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.poll_write(context))?;
        Pin::new(&mut self.octets).poll_flush(context).map_err(Error::from)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.poll_write(context))?;
        Pin::new(&mut self.octets).poll_shutdown(context).map_err(Error::from)
    }
}

/// The connection below, for its end.
pub trait Carried {
    fn octets(&mut self) -> &mut Box<dyn Io>;
}

impl Carried for Socket {
    fn octets(&mut self) -> &mut Box<dyn Io> {
        self.get_mut()
    }
}

impl Carried for Wire {
    fn octets(&mut self) -> &mut Box<dyn Io> {
        match self {
            Wire::Left(socket) => socket.get_mut(),
            Wire::Right(stream) => &mut stream.octets,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{SinkExt, StreamExt};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn frames_are_read_however_they_are_cut_and_a_ping_is_answered_by_the_connection() {
        let (ours, mut theirs) = tokio::io::duplex(4_096);
        let mut stream = AudioSocketStream::new(Box::new(ours));
        let all = [frame(0x10, &[1; 320]), frame(0x03, b"5"), frame(HANG_UP, &[])].concat();
        let writes = tokio::spawn(async move {
            for octet in all {
                theirs.write_all(&[octet]).await.unwrap();
            }
            theirs
        });
        for (kind, octets) in [(0x10, vec![1; 320]), (0x03, b"5".to_vec()), (HANG_UP, vec![])] {
            let Some(Ok(Message::Binary(frame))) = stream.next().await else { panic!("a frame") };
            assert_eq!(read_frame(&frame), Some((kind, &octets[..])));
        }
        let mut theirs = writes.await.unwrap();
        stream.send(Message::Binary(frame(0x10, &[7; 4]).into())).await.unwrap();
        stream.send(Message::Ping(Default::default())).await.unwrap();
        assert_eq!(stream.next().await.map(Result::unwrap), Some(Message::Pong(Default::default())));
        stream.send(Message::Close(None)).await.unwrap();
        let mut sent = [0; 10];
        theirs.read_exact(&mut sent).await.unwrap();
        assert_eq!(sent, [0x10, 0, 4, 7, 7, 7, 7, 0, 0, 0]);
        drop(theirs);
        assert!(stream.next().await.is_none());
    }
}
