//! XML out of what SIPp reads and XML does not allow: escapes with a backslash in attributes, attributes without
//! a space between them, with something behind their value, or twice (the first counts), `<` and `&` in attributes, `--` in comments, a
//! declaration without a version, a `<scenario>` without an end. Lines stay where they are.

use std::collections::HashSet;

/// Maximum octets of an attribute's name.
const NAME: usize = 64;

/// The text as XML.
pub fn well_formed(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let until = |end: &str| rest.find(end).map_or(rest.len(), |at| at + end.len());
        let hidden = [("<!--", "-->"), ("<?", "?>")].into_iter().find(|(begin, _)| rest.starts_with(begin));
        let length = if let Some((_, end)) = hidden {
            let length = until(end);
            out.extend(rest[..length].chars().filter(|it| *it == '\n'));
            length
        } else if rest.starts_with("<![CDATA[") {
            let length = until("]]>");
            out.push_str(&rest[..length]);
            length
        } else if rest.starts_with("<!") {
            out.push_str(&rest[..1]);
            1
        } else {
            tag(rest, &mut out)
        };
        rest = &rest[length..];
    }
    out.push_str(rest);
    if out.contains("<scenario") && !out.contains("</scenario") {
        out.push_str("</scenario>");
    }
    out
}

/// Writes a tag; returns its length.
fn tag(text: &str, out: &mut String) -> usize {
    let (mut quote, mut names, mut doubled) = (None, HashSet::new(), None);
    let mut octets = text.char_indices().peekable();
    while let Some((at, octet)) = octets.next() {
        match (quote, octet) {
            (None, '>') => {
                out.push('>');
                return at + 1;
            }
            (None, '=') => {
                let written = out.trim_end();
                let is_name =
                    |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'_' | b'-' | b':');
                let length = written.bytes().rev().take(NAME).take_while(is_name).count();
                let begin = written.len() - length;
                doubled = (length > 0 && !names.insert(written[begin..].to_owned())).then_some(begin);
                out.push(octet);
            }
            (None, '"' | '\'') => {
                quote = Some(octet);
                out.push(octet);
            }
            (Some(end), _) if octet == end => {
                quote = None;
                out.push(octet);
                if let Some(begin) = doubled.take() {
                    out.truncate(begin);
                }
                match octets.peek() {
                    Some((_, next)) if next.is_ascii_alphabetic() => out.push(' '),
                    Some((_, ',' | ':' | ';')) => {
                        let ends = |octet: char| octet.is_whitespace() || matches!(octet, '/' | '>');
                        while octets.next_if(|(_, octet)| !ends(*octet)).is_some() {}
                    }
                    _ => {}
                }
            }
            (Some(_), '\\') => {
                let escaped = match octets.peek() {
                    Some((_, '\\')) => "\\",
                    Some((_, '"')) => "&quot;",
                    Some((_, 'n')) => "&#10;",
                    Some((_, 't')) => "&#9;",
                    Some((_, 'r')) => "&#13;",
                    _ => {
                        out.push('\\');
                        continue;
                    }
                };
                out.push_str(escaped);
                octets.next();
            }
            (Some(_), '<') => out.push_str("&lt;"),
            (Some(_), '&') if !is_entity(&text[at..]) => out.push_str("&amp;"),
            _ => out.push(octet),
        }
    }
    text.len()
}

/// Whether `text` begins with an entity or a character reference.
fn is_entity(text: &str) -> bool {
    let name = text[1..].split_once(';').map_or("", |(name, _)| name);
    matches!(name, "lt" | "gt" | "amp" | "quot" | "apos") || name.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sipp_reads_becomes_xml_and_lines_stay() {
        for (text, expected) in [
            (
                "<a b=\"\\\"x\\\" <sip:&y&amp;\\.\\\\.\"/>",
                "<a b=\"&quot;x&quot; &lt;sip:&amp;y&amp;\\.\\.\"/>",
            ),
            ("<a b=\"\\r\\n\\t\" c='\"'/>", "<a b=\"&#13;&#10;&#9;\" c='\"'/>"),
            ("<a b=\"1\"c=\"2\"/>", "<a b=\"1\" c=\"2\"/>"),
            ("<a b=\"1\" b =\"2\" c=\"3\"/>", "<a b=\"1\"  c=\"3\"/>"),
            ("<a b=\"1\",\"N\",\"O\" c=\"2\": />", "<a b=\"1\" c=\"2\" />"),
            ("<?xml encoding=\"UTF-8\"\n?>\n<a/>", "\n\n<a/>"),
            ("<!-- a -- b\n<c> -->\n<a/>", "\n\n<a/>"),
            ("<a><![CDATA[\"\\\" <b> -- & ]]></a>", "<a><![CDATA[\"\\\" <b> -- & ]]></a>"),
            ("<scenario name=\"a\"><a/>", "<scenario name=\"a\"><a/></scenario>"),
            ("<a b=\"", "<a b=\""),
            ("<a b=\"\\", "<a b=\"\\"),
            ("<!-- ", ""),
            ("a & <", "a & <"),
        ] {
            assert_eq!(well_formed(text), expected);
        }
    }
}
