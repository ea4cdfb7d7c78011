//! Names a file's format by its first octets. The decoder detects formats itself; this is for
//! messages that tell users what their file is.

/// Octets that suffice for [`format_name`].
pub const SNIFF_LENGTH: usize = 512;

/// The name of the format that these first octets of a file indicate.
pub fn format_name(head: &[u8]) -> &'static str {
    let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    let holds = |magic: &[u8]| head.windows(magic.len()).any(|window| window == magic);
    match head {
        [] => "an empty file",
        _ if at(0, b"OggS") && holds(b"OpusHead") => "Ogg Opus",
        _ if at(0, b"OggS") && holds(b"\x01vorbis") => "Ogg Vorbis",
        _ if at(0, b"OggS") && holds(b"Speex   ") => "Ogg Speex",
        _ if at(0, b"OggS") && holds(b"\x7FFLAC") => "Ogg FLAC",
        _ if at(0, b"OggS") => "Ogg",
        _ if at(0, b"fLaC") => "FLAC",
        [b'R' | b'B', ..] if at(8, b"WAVE") => "WAV",
        _ if at(0, b"FORM") && (at(8, b"AIFF") || at(8, b"AIFC")) => "AIFF",
        _ if at(4, b"ftyp") => "MP4 (AAC or ALAC)",
        _ if at(0, b"\x1A\x45\xDF\xA3") => "Matroska or WebM",
        _ if at(0, b".snd") => "AU",
        _ if at(0, b"#!AMR") => "AMR",
        _ if at(0, b"MThd") => "MIDI",
        _ if at(0, b"ADIF") => "AAC",
        _ if at(0, b"ID3") => "MP3",
        // Frame sync; the layer bits are 00 in ADTS, which is AAC (ISO 13818-7).
        [0xFF, second, ..] if second & 0xF6 == 0xF0 => "AAC",
        [0xFF, second, ..] if second & 0xE6 == 0xE2 => "MP3",
        [0xFF, second, ..] if second & 0xE0 == 0xE0 => "MPEG audio",
        _ if head.iter().all(|&byte| byte >= 0x20 || byte.is_ascii_whitespace()) => "text",
        _ => "an unknown format",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_people_try_to_play() {
        let ogg = |head: &[u8]| [b"OggS\0\x02".as_slice(), &[0; 20], b"\x01\x13", head].concat();
        assert_eq!(format_name(&ogg(b"OpusHead\x01")), "Ogg Opus");
        assert_eq!(format_name(&ogg(b"\x01vorbis")), "Ogg Vorbis");
        assert_eq!(format_name(b"RIFF\x24\0\0\0WAVEfmt "), "WAV");
        assert_eq!(format_name(b"\0\0\0\x20ftypM4A "), "MP4 (AAC or ALAC)");
        assert_eq!(format_name(&[0xFF, 0xFB, 0x90, 0x00]), "MP3");
        assert_eq!(format_name(&[0xFF, 0xFD, 0x90, 0x00]), "MPEG audio");
        assert_eq!(format_name(&[0xFF, 0xF1, 0x50, 0x80]), "AAC");
        assert_eq!(format_name(b"hello, world\n"), "text");
        assert_eq!(format_name(&[0, 1, 2, 3]), "an unknown format");
        assert_eq!(format_name(b""), "an empty file");
    }
}
