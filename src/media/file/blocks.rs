//! Reads files of plain blocks: samples, or code words, one behind the other, which a header or the file's name
//! describes.

use std::io::{ErrorKind, SeekFrom};

use symphonia::core::audio::Channels;
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters};
use symphonia::core::errors::{Error, Result, SeekErrorKind};
use symphonia::core::formats::well_known::FORMAT_ID_WAVE;
use symphonia::core::formats::{FormatInfo, FormatReader, MediaInfo, SeekMode, SeekTo, SeekedTo, Track};
use symphonia::core::io::{MediaSourceStream, ReadBytes};
use symphonia::core::meta::{Metadata, MetadataLog};
use symphonia::core::packet::{Packet, PacketBuilder};
use symphonia::core::units::{Duration, Timestamp};

/// Frames of a packet, at least one block.
const PACKET_FRAMES: u64 = 1_024;

/// How a file's blocks are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockCoding {
    pub codec: AudioCodecId,
    pub rate_hz: u32,
    pub channels: u16,
    /// Octets of a block, at least 1.
    pub block: u32,
    /// Frames (samples of each channel) of a block, at least 1.
    pub block_frames: u32,
}

/// Where a file's blocks are, in octets from its start, and how they are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub coding: BlockCoding,
    pub start: u64,
    pub end: u64,
}

/// The reader of such a file.
pub(super) struct BlockReader<'s> {
    source: MediaSourceStream<'s>,
    layout: Layout,
    media: MediaInfo,
    tracks: [Track; 1],
    metadata: MetadataLog,
    frames: i64,
}

impl<'s> BlockReader<'s> {
    /// A reader of the blocks.
    ///
    /// # Errors
    /// The source cannot be positioned.
    pub fn new(mut source: MediaSourceStream<'s>, layout: Layout) -> std::io::Result<Self> {
        std::io::Seek::seek(&mut source, SeekFrom::Start(layout.start))?;
        let coding = &layout.coding;
        let frames = u64::from(coding.block_frames);
        let mut parameters = AudioCodecParameters::new();
        parameters
            .for_codec(coding.codec)
            .with_sample_rate(coding.rate_hz)
            .with_channels(Channels::Discrete(coding.channels))
            .with_frames_per_block(frames)
            .with_max_frames_per_packet(frames.max(PACKET_FRAMES));
        let mut track = Track::new(0);
        track.with_codec_params(CodecParameters::Audio(parameters));
        let media = MediaInfo::from_track(&track);
        Ok(BlockReader {
            source,
            layout,
            media,
            tracks: [track],
            metadata: MetadataLog::default(),
            frames: 0,
        })
    }
}

impl FormatReader for BlockReader<'_> {
    fn format_info(&self) -> &FormatInfo {
        const INFO: FormatInfo =
            FormatInfo { format: FORMAT_ID_WAVE, short_name: "blocks", long_name: "Blocks" };
        &INFO
    }

    fn media_info(&self) -> &MediaInfo {
        &self.media
    }

    fn metadata(&mut self) -> Metadata<'_> {
        self.metadata.metadata()
    }

    fn seek(&mut self, _: SeekMode, _: SeekTo) -> Result<SeekedTo> {
        Err(Error::SeekError(SeekErrorKind::Unseekable))
    }

    fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    fn next_packet(&mut self) -> Result<Option<Packet>> {
        let BlockCoding { block, block_frames, .. } = self.layout.coding;
        let (block, block_frames) = (u64::from(block), u64::from(block_frames));
        let there = self.layout.end.saturating_sub(self.source.pos()) / block;
        let blocks = there.min((PACKET_FRAMES / block_frames).max(1));
        let mut data = vec![0; (blocks * block) as usize];
        let mut read = 0;
        while read < data.len() {
            match self.source.read_buf(&mut data[read..]) {
                Ok(octets) => read += octets,
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error.into()),
            }
        }
        let blocks = read as u64 / block;
        if blocks == 0 {
            return Ok(None);
        }
        data.truncate((blocks * block) as usize);
        let frames = blocks * block_frames;
        let packet = PacketBuilder::new().track_id(0).pts(Timestamp::from(self.frames));
        self.frames += frames as i64;
        Ok(Some(packet.dur(Duration::from(frames)).data(data).build()))
    }

    fn into_inner<'s>(self: Box<Self>) -> MediaSourceStream<'s>
    where
        Self: 's,
    {
        self.source
    }
}
