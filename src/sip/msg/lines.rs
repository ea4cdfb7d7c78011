//! Splitting a header section into fields: line ends, folding, the colon.

use super::chars::{self, TOKEN};
use super::name;

/// One header field as offsets into the buffer it was found in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    /// First byte of the name, and of the field.
    pub start: usize,
    /// End of the name.
    pub name_end: usize,
    /// Id of the name, 0 if it is not a known one.
    pub id: u8,
    /// The value without surrounding white space, folds inside kept.
    pub value_start: usize,
    /// End of the value.
    pub value_end: usize,
    /// First byte behind the field's line end.
    pub end: usize,
}

/// What stands at an offset of the header section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// A field.
    Field(Field),
    /// Something that ends like a line but is no field: no colon, or no token
    /// before it. The next line begins at the offset.
    Bad(usize),
    /// The empty line; the body begins at the offset.
    Empty(usize),
    /// The buffer ends before a line end.
    Unterminated,
}

/// Offset behind the line end of the line (folds excluded) that begins at `at`.
pub(super) fn line_end(buffer: &[u8], at: usize) -> Option<usize> {
    memchr::memchr(b'\n', buffer.get(at..)?).map(|found| at + found + 1)
}

/// The line at `at`. Lines end with CRLF; a lone LF is taken as well, because a
/// value with an LF inside is worse than a lenient line end.
#[inline]
pub(super) fn line(buffer: &[u8], at: usize) -> Line {
    match buffer.get(at..) {
        Some([b'\r', b'\n', ..]) => return Line::Empty(at + 2),
        Some([b'\n', ..]) => return Line::Empty(at + 1),
        _ => {}
    }
    let Some(mut end) = line_end(buffer, at) else { return Line::Unterminated };
    while matches!(buffer.get(end), Some(b' ' | b'\t')) {
        match line_end(buffer, end) {
            Some(next) => end = next,
            None => return Line::Unterminated,
        }
    }
    let text = &buffer[at..end];
    // Names are short: a loop is there before `memchr` has begun.
    let Some(colon) = text.iter().position(|&byte| byte == b':') else { return Line::Bad(end) };
    let mut name = &text[..colon];
    while let [shorter @ .., b' ' | b'\t'] = name {
        name = shorter;
    }
    // A known name is a token.
    let id = name::identify(name);
    if id == 0 && !chars::all(name, TOKEN) {
        return Line::Bad(end);
    }
    let behind = &text[colon + 1..];
    let value = chars::trim_start(behind);
    let value_start = end - value.len();
    let value_end = value_start + chars::trim_end(value).len();
    Line::Field(Field { start: at, name_end: at + name.len(), id, value_start, value_end, end })
}
