//! Lines from an untrusted stream: a line has a length limit, and the rest of a longer one is
//! discarded as it is read, so a line without an end takes no more memory than a short one.

use std::io::{self, BufReader, Read};

/// One line, without its line feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawLine {
    /// At most `limit` bytes.
    pub bytes: Vec<u8>,
    /// Number of bytes discarded after them.
    pub cut: u64,
}

/// Reads bounded lines.
#[derive(Debug)]
pub struct LineReader<R> {
    input: BufReader<R>,
    limit: usize,
}

impl<R: Read> LineReader<R> {
    /// A reader whose lines have at most `limit` bytes.
    pub fn new(input: R, limit: usize) -> Self {
        LineReader { input: BufReader::with_capacity(8 * 1024, input), limit }
    }

    /// The next line; `None` at the end. A last line without a line feed counts.
    ///
    /// # Errors
    /// Errors of the stream.
    pub fn next_line(&mut self) -> io::Result<Option<RawLine>> {
        use std::io::BufRead;
        let mut line = RawLine { bytes: Vec::new(), cut: 0 };
        let mut started = false;
        loop {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if chunk.is_empty() {
                return Ok(started.then_some(line));
            }
            started = true;
            let end = memchr::memchr(b'\n', chunk);
            let part = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or(chunk);
            let room = self.limit.saturating_sub(line.bytes.len()).min(part.len());
            let (kept, rest) = part.split_at(room);
            line.bytes.extend_from_slice(kept);
            line.cut += rest.len() as u64;
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() {
                if line.cut == 0 && line.bytes.last() == Some(&b'\r') {
                    line.bytes.pop();
                }
                return Ok(Some(line));
            }
        }
    }
}

impl RawLine {
    /// The line as text that is safe to display: bytes that are not UTF-8 become U+FFFD,
    /// control characters and direction overrides are escaped, and a cut is marked.
    pub fn visible(&self) -> String {
        let mut text = visible(&String::from_utf8_lossy(&self.bytes));
        if self.cut > 0 {
            text.push_str(&format!(" [… {} bytes cut]", self.cut));
        }
        text
    }
}

/// Text without anything that a terminal interprets; tabs stay.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '\t' && is_unsafe(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    out
}

/// The same for text of several lines, whose ends stay as they are.
pub fn visible_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let end = if line.ends_with("\r\n") { 2 } else { usize::from(line.ends_with('\n')) };
        let (text, end) = line.split_at(line.len() - end);
        out.push_str(&visible(text));
        out.push_str(end);
    }
    out
}

/// The same for a line of JSON, which stays one.
pub fn visible_json(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    for c in line.chars() {
        if is_unsafe(c) { out.push_str(&format!("\\u{:04x}", u32::from(c))) } else { out.push(c) }
    }
    out
}

/// Control characters (C0, DEL, C1), and characters that reorder or break lines on screen.
pub fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8], limit: usize) -> Vec<RawLine> {
        let mut reader = LineReader::new(input, limit);
        std::iter::from_fn(|| reader.next_line().unwrap()).collect()
    }

    fn whole(text: &str) -> RawLine {
        RawLine { bytes: text.into(), cut: 0 }
    }

    #[test]
    fn splits_at_line_feeds_and_keeps_the_last_line() {
        assert_eq!(lines(b"a\r\n\nbc", 10), [whole("a"), whole(""), whole("bc")]);
        assert_eq!(lines(b"", 10), []);
    }

    #[test]
    fn a_line_without_an_end_costs_no_more_than_the_limit() {
        struct Endless(u64);
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let count = self.0.min(buffer.len() as u64);
                buffer[..count as usize].fill(b'x');
                self.0 -= count;
                Ok(count as usize)
            }
        }
        let mut reader = LineReader::new(Endless(10_000_000), 100);
        let line = reader.next_line().unwrap().unwrap();
        assert_eq!((line.bytes.len(), line.cut), (100, 9_999_900));
        assert!(line.bytes.capacity() < 1_000);
        assert!(line.visible().ends_with("[… 9999900 bytes cut]"));
        assert_eq!(reader.next_line().unwrap(), None);
    }

    #[test]
    fn the_line_after_a_long_one_is_whole() {
        assert_eq!(lines(b"0123456789\nab\n", 4), [RawLine { bytes: b"0123".to_vec(), cut: 6 }, whole("ab")]);
    }

    #[test]
    fn nothing_that_a_terminal_acts_on_stays() {
        let line = RawLine { bytes: b"a\x1b[31mb\xff\x07\tc\xc2\x9b".to_vec(), cut: 0 };
        assert_eq!(line.visible(), "a\\u{1b}[31mb\u{fffd}\\u{7}\tc\\u{9b}");
        assert_eq!(visible("x\u{202e}y"), "x\\u{202e}y");
        assert_eq!(visible_lines("a\x07\r\nb\rc\n\u{2028}"), "a\\u{7}\r\nb\\u{d}c\n\\u{2028}");
        assert_eq!(visible_json("{\"a\":\"\u{9b}\u{202e}\"}"), r#"{"a":"\u009b\u202e"}"#);
    }
}
