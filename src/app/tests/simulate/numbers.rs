//! Checks, as an observer of the wire, that numbers of the switch never go back, and that none is used twice: branches,
//! CSeq, RSeq, and versions of descriptions.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use b2b_testkit::Sent;

/// What the switch has used.
#[derive(Default)]
struct Used<'a> {
    /// Messages, since a retransmission uses nothing.
    sent: HashSet<&'a [u8]>,
    /// The message of each branch and method.
    branches: HashMap<(&'a str, &'a str), &'a str>,
    /// The CSeqs in a dialog: Call-ID, tags of ours and theirs.
    cseqs: HashMap<(&'a str, &'a str, &'a str), HashSet<u32>>,
    rseqs: HashMap<(&'a str, &'a str, &'a str), u32>,
    /// The last version, and the description with it: by Call-ID and tag, and the session's own number.
    versions: HashMap<(&'a str, &'a str, &'a str), (u64, &'a str)>,
}

fn field<'a>(head: &'a str, name: &str) -> &'a str {
    let mut lines = head.split("\r\n");
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default()
}

fn parameter<'a>(value: &'a str, name: &str) -> &'a str {
    let mut parameters = value.split(';').skip(1);
    parameters.find_map(|it| it.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
}

/// The first violation, and its explanation.
pub fn fault(wire: &[Sent], ours: SocketAddr) -> Option<String> {
    let mut used = Used::default();
    let own = wire.iter().filter(|sent| sent.from == ours);
    for sent in own {
        let Ok(text) = std::str::from_utf8(&sent.data) else { continue };
        if let Some(why) = used.takes(text) {
            return Some(format!("{:?} to {}: {why}\n{text}", sent.at, sent.to));
        }
    }
    None
}

impl<'a> Used<'a> {
    fn takes(&mut self, text: &'a str) -> Option<String> {
        if !self.sent.insert(text.as_bytes()) {
            return None;
        }
        let (head, body) = text.split_once("\r\n\r\n")?;
        let (line, call_id) = (head.split("\r\n").next()?, field(head, "Call-ID"));
        let (cseq, method) = field(head, "CSeq").split_once(' ')?;
        let (from, to) = (parameter(field(head, "From"), "tag"), parameter(field(head, "To"), "tag"));
        let is_response = line.starts_with("SIP/2.0 ");
        let tag = if is_response { to } else { from };
        let why = match is_response {
            true => self.response(head, (call_id, to), field(head, "CSeq")),
            false => self.request(text, head, method, (call_id, from, to), cseq.parse().ok()?),
        };
        why.or_else(|| self.description(body, (call_id, tag)))
    }

    fn request(
        &mut self,
        text: &'a str,
        head: &'a str,
        method: &'a str,
        dialog @ (call_id, from, _): (&'a str, &'a str, &'a str),
        cseq: u32,
    ) -> Option<String> {
        let branch = parameter(field(head, "Via"), "branch");
        if let Some(other) = self.branches.insert((branch, method), text) {
            return Some(format!("the branch of another message:\n{other}"));
        }
        if matches!(method, "ACK" | "CANCEL") {
            return None;
        }
        let shared = ["INVITE", "CANCEL", "ACK"]
            .iter()
            .any(|it| *it != method && self.branches.contains_key(&(branch, *it)));
        if shared {
            return Some("the branch of another transaction".to_owned());
        }
        let is_initial = self.cseqs.get(&(call_id, from, "")).is_some_and(|used| used.contains(&cseq));
        let used = self.cseqs.entry(dialog).or_default();
        let last = used.iter().max().copied().unwrap_or_default();
        // One that was to be sent when the server died, and is sent again, may come late.
        let is_new = used.insert(cseq) && !is_initial;
        (!is_new).then(|| format!("a CSeq again, behind {last}"))
    }

    fn response(
        &mut self,
        head: &'a str,
        (call_id, tag): (&'a str, &'a str),
        cseq: &'a str,
    ) -> Option<String> {
        let rseq = field(head, "RSeq").parse().ok()?;
        let last = self.rseqs.insert((call_id, tag, cseq), rseq)?;
        (rseq <= last).then(|| format!("an RSeq that is not behind {last}"))
    }

    fn description(&mut self, body: &'a str, (call_id, tag): (&'a str, &'a str)) -> Option<String> {
        let mut origin = body.split("\r\n").find_map(|line| line.strip_prefix("o="))?.split(' ').skip(1);
        let (session, version) = (origin.next()?, origin.next()?.parse().ok()?);
        let (last, before) = self.versions.insert((call_id, tag, session), (version, body))?;
        match version {
            _ if version < last => Some(format!("a description with a version before {last}")),
            _ if version == last && body != before => {
                Some(format!("another description with the version of\n{before}"))
            }
            _ => None,
        }
    }
}
