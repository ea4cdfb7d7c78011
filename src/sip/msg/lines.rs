//! Splits a header section into fields: line ends, folding, the colon.

use super::chars::{self, TOKEN};
use super::name;

/// One header field, as offsets into its buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    /// First byte of the name and of the field.
    pub start: usize,
    /// End of the name.
    pub name_end: usize,
    /// Id of the name, 0 if it is unknown.
    pub id: u8,
    /// Start of the value, which has no surrounding white space but keeps its folds.
    pub value_start: usize,
    /// End of the value.
    pub value_end: usize,
    /// First byte after the field's line end.
    pub end: usize,
}

/// The kind of line at an offset of the header section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// A field.
    Field(Field),
    /// A line that is not a field: no colon, or no token before it. The next line begins at
    /// this offset.
    Bad(usize),
    /// The empty line; the body begins at this offset.
    Empty(usize),
    /// The buffer ends before the line does.
    Unterminated,
}

/// Offset after the end of the line (folds excluded) that begins at `at`.
pub(super) fn line_end(buffer: &[u8], at: usize) -> Option<usize> {
    memchr::memchr(b'\n', buffer.get(at..)?).map(|found| at + found + 1)
}

/// The line at `at`. Lines end with CRLF; a single LF is accepted too, because an LF inside a
/// value would be worse.
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
    // Names are short, so a loop is faster than `memchr`.
    let Some(colon) = text.iter().position(|&byte| byte == b':') else { return Line::Bad(end) };
    let mut name = &text[..colon];
    while let [shorter @ .., b' ' | b'\t'] = name {
        name = shorter;
    }
    // Known names are tokens.
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
