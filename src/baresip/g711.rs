//! PCMU and PCMA (ITU-T G.711) as codecs of libbaresip, so that no module from a system directory is needed.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::null;

use super::border::guard;
use super::ffi::{self, AudioCodec, ListElement};
use b2b_ua::Codec;

/// The handlers' return value for an unsupported request.
const EINVAL: c_int = 22;

/// The sample of a µ-law byte: sign, three bits of segment, four bits of step; a bias of 33 in 14-bit values.
const fn decode_u(byte: u8) -> i16 {
    let byte = !byte;
    let magnitude = ((((byte & 0x0F) as i16) << 3) + 0x84) << ((byte >> 4) & 7);
    if byte & 0x80 != 0 { 0x84 - magnitude } else { magnitude - 0x84 }
}

/// The sample of an A-law byte: the even bits are inverted, the first segment is linear.
const fn decode_a(byte: u8) -> i16 {
    let byte = byte ^ 0x55;
    let step = ((byte & 0x0F) as i16) << 4;
    let magnitude = match (byte >> 4) & 7 {
        0 => step + 8,
        segment => (step + 0x108) << (segment - 1),
    };
    if byte & 0x80 != 0 { magnitude } else { -magnitude }
}

fn encode_u(sample: i16) -> u8 {
    let magnitude = i32::from(sample).abs().min(32_635) + 0x84;
    // The bias puts the highest bit between 7 and 14.
    let segment = (magnitude.ilog2() - 7) as u8;
    let step = ((magnitude >> (segment + 3)) & 0x0F) as u8;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | (segment << 4) | step)
}

fn encode_a(sample: i16) -> u8 {
    // 13 bits; negative values count from -1, as the standard's decision values require.
    let value = i32::from(sample) >> 3;
    let (sign, magnitude) = if value >= 0 { (0x80, value) } else { (0, -value - 1) };
    let magnitude = magnitude.min(0xFFF) as u16;
    let coded = match magnitude {
        0..32 => magnitude as u8 >> 1,
        _ => {
            let segment = (magnitude.ilog2() - 4) as u8;
            (segment << 4) | ((magnitude >> segment) & 0x0F) as u8
        }
    };
    (sign | coded) ^ 0x55
}

static DECODED_U: [i16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = decode_u(byte as u8);
        byte += 1;
    }
    table
};

static DECODED_A: [i16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = decode_a(byte as u8);
        byte += 1;
    }
    table
};

/// Encodes for the library.
///
/// # Safety
/// `samples` points to `count` samples of `fmt`, `buffer` to `*length` bytes.
unsafe fn encode(
    one: fn(i16) -> u8,
    buffer: *mut u8,
    length: *mut usize,
    fmt: c_int,
    samples: *const c_void,
    count: usize,
) -> c_int {
    if fmt != ffi::S16LE || buffer.is_null() || length.is_null() || samples.is_null() {
        return EINVAL;
    }
    // SAFETY: not null; the library passes a length of its own.
    let room = unsafe { *length };
    if room < count {
        return EINVAL;
    }
    // SAFETY: the caller's promise; samples of the library are allocated, so aligned.
    let (samples, bytes) = unsafe {
        (
            std::slice::from_raw_parts(samples.cast::<i16>(), count),
            std::slice::from_raw_parts_mut(buffer, count),
        )
    };
    for (byte, sample) in bytes.iter_mut().zip(samples) {
        *byte = one(*sample);
    }
    // SAFETY: see above.
    unsafe { *length = count };
    0
}

/// Decodes for the library.
///
/// # Safety
/// `buffer` points to `length` bytes, `samples` to room for `*count` samples of `fmt`.
unsafe fn decode(
    table: &[i16; 256],
    fmt: c_int,
    samples: *mut c_void,
    count: *mut usize,
    buffer: *const u8,
    length: usize,
) -> c_int {
    if fmt != ffi::S16LE || buffer.is_null() || count.is_null() || samples.is_null() {
        return EINVAL;
    }
    // SAFETY: not null; the library passes a count of its own.
    let room = unsafe { *count };
    if room < length {
        return EINVAL;
    }
    // SAFETY: the caller's promise; samples of the library are allocated, so aligned.
    let (samples, bytes) = unsafe {
        (
            std::slice::from_raw_parts_mut(samples.cast::<i16>(), length),
            std::slice::from_raw_parts(buffer, length),
        )
    };
    for (sample, byte) in samples.iter_mut().zip(bytes) {
        *sample = table[usize::from(*byte)];
    }
    // SAFETY: see above.
    unsafe { *count = length };
    0
}

macro_rules! handlers {
    ($encode:ident, $decode:ident, $one:expr, $table:expr) => {
        unsafe extern "C" fn $encode(
            _state: *mut c_void,
            _marker: *mut bool,
            buffer: *mut u8,
            length: *mut usize,
            fmt: c_int,
            samples: *const c_void,
            count: usize,
        ) -> c_int {
            // SAFETY: the library's own buffers, with their own sizes.
            guard(|| unsafe { encode($one, buffer, length, fmt, samples, count) })
        }

        unsafe extern "C" fn $decode(
            _state: *mut c_void,
            fmt: c_int,
            samples: *mut c_void,
            count: *mut usize,
            _marker: bool,
            buffer: *const u8,
            length: usize,
        ) -> c_int {
            // SAFETY: the library's own buffers, with their own sizes.
            guard(|| unsafe { decode($table, fmt, samples, count, buffer, length) })
        }
    };
}

handlers!(encode_pcmu, decode_pcmu, encode_u, &DECODED_U);
handlers!(encode_pcma, decode_pcma, encode_a, &DECODED_A);

/// The codecs while they are registered; the library links them by address.
pub(super) struct Codecs {
    registered: Vec<(Codec, Box<AudioCodec>)>,
}

impl Codecs {
    /// Registers codecs in this order, which is the order of our offers.
    ///
    /// # Safety
    /// On the reactor thread, after `baresip_init`.
    pub(super) unsafe fn register(codecs: &[Codec]) -> Codecs {
        let mut registered: Vec<_> =
            codecs.iter().filter_map(|codec| Some((*codec, described(*codec)?))).collect();
        for (_, codec) in &mut registered {
            // SAFETY: the caller's promise; the box stays until `unregister`.
            unsafe { ffi::aucodec_register(ffi::baresip_aucodecl(), &mut **codec) };
        }
        Codecs { registered }
    }

    /// Removes them from the library's list.
    ///
    /// # Safety
    /// On the reactor thread, when no call is left.
    pub(super) unsafe fn unregister(&mut self) {
        for (_, codec) in &mut self.registered {
            // SAFETY: it is in the list.
            unsafe { ffi::aucodec_unregister(&mut **codec) };
        }
    }

    /// The first codec of our offers.
    pub(super) fn first(&self) -> *const AudioCodec {
        self.registered.first().map_or(null(), |(_, codec)| &raw const **codec)
    }

    /// The codec with this address.
    pub(super) fn find(&self, codec: *const AudioCodec) -> Option<Codec> {
        let same = |(_, ours): &&(Codec, Box<AudioCodec>)| std::ptr::eq(&**ours, codec);
        self.registered.iter().find(same).map(|(codec, _)| *codec)
    }
}

/// `None`: it is not G.711, which is all that the roles of the lab speak.
fn described(codec: Codec) -> Option<Box<AudioCodec>> {
    let (pt, name, ench, dech): (&CStr, &CStr, ffi::EncodeHandler, ffi::DecodeHandler) = match codec {
        Codec::Pcmu => (c"0", c"PCMU", encode_pcmu, decode_pcmu),
        Codec::Pcma => (c"8", c"PCMA", encode_pcma, decode_pcma),
        Codec::G722 | Codec::Opus => return None,
    };
    let text = |text: &'static CStr| text.as_ptr().cast::<c_char>();
    Some(Box::new(AudioCodec {
        le: ListElement::unlinked(),
        pt: text(pt),
        name: text(name),
        srate: 8_000,
        crate_: 8_000,
        ch: 1,
        pch: 1,
        // The account sets it: if it were set here, a re-INVITE with another ptime would leave the library
        // with the packet size of one and the clock of the other.
        ptime: 0,
        fmtp: null(),
        encupdh: null(),
        ench: Some(ench),
        decupdh: null(),
        dech: Some(dech),
        plch: null(),
        fmtp_ench: null(),
        fmtp_cmph: null(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_the_standard() {
        // G.711 tables 1 and 2, scaled to 16 bits: the extremes and the smallest values.
        let u = [(0x80, 32_124), (0x00, -32_124), (0xFF, 0), (0x7F, 0), (0xFE, 8), (0x7E, -8)];
        assert!(u.iter().all(|&(byte, sample)| DECODED_U[byte] == sample), "{u:?}");
        let a = [(0xAA, 32_256), (0x2A, -32_256), (0xD5, 8), (0x55, -8), (0xD4, 24), (0x54, -24)];
        assert!(a.iter().all(|&(byte, sample)| DECODED_A[byte] == sample), "{a:?}");
    }

    #[test]
    fn every_byte_survives_and_no_sample_is_off_by_more_than_half_a_step() {
        for byte in 0..=255u8 {
            // µ-law has two zeros.
            let expected = if byte == 0x7F { 0xFF } else { byte };
            assert_eq!(encode_u(DECODED_U[usize::from(byte)]), expected);
            assert_eq!(encode_a(DECODED_A[usize::from(byte)]), byte);
        }
        for sample in (i16::MIN..=i16::MAX).step_by(7) {
            for (table, coded) in [(&DECODED_U, encode_u(sample)), (&DECODED_A, encode_a(sample))] {
                let distance = (i32::from(table[usize::from(coded)]) - i32::from(sample)).abs();
                // Half a step: a step is a sixteenth of its segment.
                let allowed = i32::from(sample).abs() / 32 + 8;
                assert!(distance <= allowed, "{sample}: off by {distance}");
            }
        }
    }

    #[test]
    fn a_handler_writes_as_many_bytes_as_samples_and_no_more_than_there_is_room() {
        let samples = [0i16, 1_000, -1_000];
        let mut bytes = [0u8; 4];
        let mut length = 4;
        let mut marker = false;
        let run = |bytes: &mut [u8; 4], length: &mut usize, marker: &mut bool| {
            // SAFETY: real buffers with their sizes.
            unsafe {
                encode_pcmu(
                    std::ptr::null_mut(),
                    marker,
                    bytes.as_mut_ptr(),
                    length,
                    ffi::S16LE,
                    samples.as_ptr().cast(),
                    3,
                )
            }
        };
        assert_eq!(run(&mut bytes, &mut length, &mut marker), 0);
        assert_eq!((length, bytes[0], bytes[3]), (3, 0xFF, 0));
        length = 2;
        assert_ne!(run(&mut bytes, &mut length, &mut marker), 0);
    }
}
