//! Packets from a media thread, which never waits, to a thread that polls: octets in a ring, with a
//! head of fixed length before each packet.

use rtrb::{Consumer, Producer, RingBuffer};

/// Octets of a ring for both directions of a leg: 3 s of packets with 20 ms of G.711 each.
pub const RING: usize = 64 * 1_024;
/// Maximum octets of a packet; we have no longer ones.
pub const LONGEST: usize = 2_048;
/// Octets of a packet's length field, which comes before its head.
const LENGTH: usize = 2;

/// The outcome of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// The packet is in the ring.
    Taken,
    /// There was no room for the packet, or it is too long.
    Missed,
    /// The reader is gone.
    Abandoned,
}

/// The writing end, on a media thread.
#[derive(Debug)]
pub struct PacketWriter<const HEAD: usize>(Producer<u8>);

/// The reading end.
#[derive(Debug)]
pub struct PacketReader<const HEAD: usize> {
    ring: Consumer<u8>,
    packet: Box<[u8; LONGEST]>,
}

/// Both ends of a ring of so many octets.
pub fn packet_ring<const HEAD: usize>(octets: usize) -> (PacketWriter<HEAD>, PacketReader<HEAD>) {
    let (ring, read) = RingBuffer::new(octets);
    (PacketWriter(ring), PacketReader { ring: read, packet: Box::new([0; LONGEST]) })
}

impl<const HEAD: usize> PacketWriter<HEAD> {
    /// Copies a packet.
    pub fn push(&mut self, head: &[u8; HEAD], packet: &[u8]) -> Pushed {
        if self.0.is_abandoned() {
            return Pushed::Abandoned;
        }
        if packet.len() > LONGEST || self.0.slots() < LENGTH + HEAD + packet.len() {
            return Pushed::Missed;
        }
        let length = (packet.len() as u16).to_le_bytes();
        for part in [&length, &head[..], packet] {
            // There is room for all three, and the reader waits for a complete packet.
            let _ = self.0.push_entire_slice(part);
        }
        Pushed::Taken
    }

    /// Whether the reader is gone.
    pub fn is_abandoned(&self) -> bool {
        self.0.is_abandoned()
    }
}

impl<const HEAD: usize> PacketReader<HEAD> {
    /// Passes pending packets with their heads to `each` until that returns `false`. Returns
    /// whether more may come.
    pub fn drain(&mut self, mut each: impl FnMut(&[u8; HEAD], &[u8]) -> bool) -> bool {
        // Checked before the ring is emptied, so that everything pushed before the writer left is read.
        let left = self.ring.is_abandoned();
        loop {
            let slots = self.ring.slots();
            let Ok(chunk) = self.ring.read_chunk(slots) else { break };
            let (first, second) = chunk.as_slices();
            // A packet may wrap around the ring's end.
            let read = |at: usize, to: &mut [u8]| {
                let (begin, rest) = (at.min(first.len()), at.saturating_sub(first.len()));
                let from_first = (first.len() - begin).min(to.len());
                let (one, two) = to.split_at_mut(from_first);
                one.copy_from_slice(&first[begin..begin + from_first]);
                two.copy_from_slice(&second[rest..rest + two.len()]);
            };
            let (mut taken, mut wanted) = (0, true);
            while wanted && slots - taken >= LENGTH + HEAD {
                let (mut length, mut head) = ([0; LENGTH], [0; HEAD]);
                read(taken, &mut length);
                read(taken + LENGTH, &mut head);
                let length = usize::from(u16::from_le_bytes(length));
                let whole = LENGTH + HEAD + length;
                let Some(packet) = self.packet.get_mut(..length).filter(|_| slots - taken >= whole) else {
                    break;
                };
                read(taken + LENGTH + HEAD, packet);
                wanted = each(&head, packet);
                taken += whole;
            }
            chunk.commit(taken);
            if !wanted {
                return false;
            }
            if taken == 0 {
                break;
            }
        }
        !left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_out_as_they_went_in_around_the_end_of_the_ring() {
        let (mut writer, mut reader) = packet_ring::<3>(RING);
        let mut seen = 0u32;
        let look = |reader: &mut PacketReader<3>, seen: &mut u32| {
            reader.drain(|head, packet| {
                assert_eq!(head[..], seen.to_le_bytes()[..3]);
                assert_eq!(packet, vec![*seen as u8; 100 + *seen as usize % 85]);
                *seen += 1;
                true
            })
        };
        for n in 0..3_000u32 {
            let [a, b, c, _] = n.to_le_bytes();
            let packet = vec![n as u8; 100 + n as usize % 85];
            assert_eq!(writer.push(&[a, b, c], &packet), Pushed::Taken);
            if n.is_multiple_of(70) {
                assert!(look(&mut reader, &mut seen));
            }
        }
        drop(writer);
        assert!(!look(&mut reader, &mut seen), "nothing comes any more");
        assert_eq!(seen, 3_000);
    }

    #[test]
    fn what_finds_no_room_is_missed_and_a_ring_that_nobody_reads_says_so() {
        let (mut writer, reader) = packet_ring::<11>(RING);
        assert_eq!(writer.push(&[0; 11], &[1; LONGEST + 1]), Pushed::Missed);
        let pushed = (0..1_000).filter(|_| writer.push(&[0; 11], &[1; 172]) == Pushed::Taken).count();
        assert_eq!(pushed, RING / (172 + 11 + LENGTH));
        drop(reader);
        assert_eq!(writer.push(&[0; 11], &[1; 172]), Pushed::Abandoned);
        assert!(writer.is_abandoned());
    }

    #[test]
    fn who_wants_no_more_gets_no_more() {
        let (mut writer, mut reader) = packet_ring::<1>(RING);
        (0..5).for_each(|n| assert_eq!(writer.push(&[n], &[]), Pushed::Taken));
        let mut seen = Vec::new();
        assert!(!reader.drain(|head, _| {
            seen.push(head[0]);
            seen.len() < 2
        }));
        assert_eq!(seen, [0, 1]);
    }
}
