//! Checks, as an observer of the wire, that the switch complies with offer/answer (RFC 3264, RFC 6337), sends
//! to the party's address, and presents the required credentials.

use std::collections::{HashMap, HashSet};

use b2b_testkit::Sent;

/// The state of one Call-ID.
#[derive(Default)]
struct Dialog {
    /// INVITEs and UPDATEs by direction (whether the switch sent them) and CSeq, with the number of media
    /// lines in their offers.
    requests: HashMap<(bool, String), Option<usize>>,
    /// The pending offer of the switch.
    ours: Option<String>,
    /// Requests with a description in a provisional response.
    early: HashSet<(bool, String)>,
    /// INVITEs of the switch whose 2xx had an offer.
    offered_late: HashSet<String>,
    /// An ACK lacked the answer that it had to carry.
    bare_ack: bool,
    /// The number of 2xx to each INVITE of the switch, by CSeq; `acknowledged` has the acknowledged ones.
    accepted: HashMap<String, usize>,
    acknowledged: HashSet<String>,
    /// Credentials of the switch's INVITEs.
    credentials: HashMap<String, String>,
    /// The targets that the party has announced, in requests that were not refused and in responses.
    targets: HashSet<String>,
    /// Contacts of its requests without a response yet.
    offered_targets: HashMap<String, String>,
    /// The initial INVITE has failed, or is about to.
    fails: bool,
    /// A PRACK was answered with 481 before; behind a death, the refusal may leave after that.
    unknown_prack: bool,
    is_up: bool,
    is_over: bool,
}

struct Seen<'a> {
    line: &'a str,
    call_id: &'a str,
    cseq: &'a str,
    media: Option<usize>,
    /// Whether To has a tag.
    is_inside: bool,
    contact: Option<&'a str>,
    credentials: Option<&'a str>,
}

fn seen(text: &str) -> Option<Seen<'_>> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let line = lines.next()?;
    let (mut call_id, mut cseq, mut is_inside) = (None, None, false);
    let (mut contact, mut credentials) = (None, None);
    for field in lines {
        if let Some(value) = field.strip_prefix("Call-ID: ") {
            call_id = Some(value);
        } else if let Some(value) = field.strip_prefix("CSeq: ") {
            cseq = Some(value);
        } else if let Some(value) = field.strip_prefix("To: ") {
            is_inside = value.contains(";tag=");
        } else if let Some(value) = field.strip_prefix("Contact: <") {
            contact = value.split('>').next();
        } else if let Some(value) = field.strip_prefix("Proxy-Authorization: ") {
            credentials = Some(value);
        }
    }
    let media = body.starts_with("v=0").then(|| body.matches("\nm=").count());
    Some(Seen { line, call_id: call_id?, cseq: cseq?, media, is_inside, contact, credentials })
}

/// The number of calls for which the switch has sent an INVITE.
pub fn invited(wire: &[Sent], ours: std::net::SocketAddr) -> usize {
    let of = |sent: &Sent| {
        let text = std::str::from_utf8(&sent.data).ok()?;
        let it = seen(text).filter(|it| it.line.starts_with("INVITE ") && !it.is_inside)?;
        Some(it.call_id.to_owned())
    };
    wire.iter().filter(|sent| sent.from == ours).filter_map(of).collect::<HashSet<_>>().len()
}

/// The Call-IDs for which the switch has sent an INVITE, or a 2xx to one.
pub fn dialogs(wire: &[Sent], ours: std::net::SocketAddr) -> HashSet<String> {
    let of = |sent: &Sent| {
        let it = std::str::from_utf8(&sent.data).ok().and_then(seen)?;
        let invites = it.line.starts_with("INVITE ") && !it.is_inside;
        let accepts = it.line.starts_with("SIP/2.0 2") && it.cseq.ends_with("INVITE");
        (invites || accepts).then(|| it.call_id.to_owned())
    };
    wire.iter().filter(|sent| sent.from == ours).filter_map(of).collect()
}

/// The first violation, and its explanation.
pub fn fault(wire: &[Sent], ours: std::net::SocketAddr) -> Option<String> {
    let mut dialogs: HashMap<String, Dialog> = HashMap::new();
    for sent in wire {
        let Ok(text) = std::str::from_utf8(&sent.data) else { continue };
        let Some(it) = seen(text) else { continue };
        let dialog = dialogs.entry(it.call_id.to_owned()).or_default();
        if let Some(why) = dialog.takes(&it, sent.from == ours) {
            return Some(format!("{:?} {} to {}: {why}\n{text}", sent.at, sent.from, sent.to));
        }
    }
    for (id, it) in &dialogs {
        if it.bare_ack {
            return Some(format!("{id}: an offer in a 2xx is not answered in the ACK, and the call goes on"));
        }
        if it.unknown_prack && !it.fails {
            return Some(format!("{id}: a PRACK that nobody knows (RFC 3262 §3)"));
        }
        // One or two ACKs may be lost, and the party may die.
        let mut again = it.accepted.iter().filter(|(_, times)| **times > 3);
        if let Some((cseq, _)) = again.find(|(cseq, _)| !it.acknowledged.contains(*cseq)) {
            return Some(format!("{id}: the 2xx to {cseq} has no ACK (RFC 3261 §13.2.2.4)"));
        }
    }
    None
}

impl Dialog {
    fn takes(&mut self, it: &Seen<'_>, ours: bool) -> Option<&'static str> {
        match it.line.strip_prefix("SIP/2.0 ") {
            None => self.request(it, ours),
            Some(status) => self.response(it, status, ours),
        }
    }

    fn request(&mut self, it: &Seen<'_>, ours: bool) -> Option<&'static str> {
        let mut words = it.line.split(' ');
        let (method, uri) = (words.next()?, words.next()?);
        if !ours && let Some(contact) = it.contact {
            self.offered_targets.insert(it.cseq.to_owned(), contact.to_owned());
        }
        // CANCEL, and ACK for a refusal, are sent to the address of the INVITE.
        let follows = method == "CANCEL"
            || method == "ACK" && !self.accepted.contains_key(&it.cseq.replace("ACK", "INVITE"));
        if ours && it.is_inside && !follows && !self.targets.is_empty() && !self.targets.contains(uri) {
            return Some("a request to where the party has not moved (RFC 3261 §12.2.1.2, RFC 6141 §4.6)");
        }
        if ours
            && method == "INVITE"
            && let Some(credentials) = it.credentials
        {
            self.credentials.insert(it.cseq.to_owned(), credentials.to_owned());
        }
        match method {
            "INVITE" | "UPDATE" => {
                let is_new = self.requests.insert((ours, it.cseq.to_owned()), it.media).is_none();
                if ours && is_new && it.media.is_some() && self.ours.replace(it.cseq.to_owned()).is_some() {
                    return Some("an offer, while another one of the switch's has no answer");
                }
            }
            "CANCEL" => self.fails = true,
            "ACK" if ours => {
                let invite = it.cseq.replace("ACK", "INVITE");
                let of_success = self.accepted.contains_key(&invite);
                if of_success && self.credentials.get(&invite).map(String::as_str) != it.credentials {
                    return Some("an ACK without the credentials of its INVITE (RFC 3261 §13.2.2.4)");
                }
                self.acknowledged.insert(invite.clone());
                let owed = self.offered_late.contains(&invite);
                let key = (true, invite);
                let late_offer = matches!(self.requests.get(&key), Some(None));
                if owed && late_offer && !self.early.contains(&key) && it.media.is_none() && !self.is_over {
                    self.bare_ack = true;
                }
            }
            "BYE" => (self.bare_ack, self.is_over) = (false, true),
            _ => {}
        }
        None
    }

    fn response(&mut self, it: &Seen<'_>, status: &str, ours: bool) -> Option<&'static str> {
        let class = status.bytes().next()?;
        let code: u16 = status.get(..3)?.parse().ok()?;
        let (by_us, key) = (!ours, (!ours, it.cseq.to_owned()));
        if !ours && let Some(contact) = it.contact {
            self.targets.insert(contact.to_owned());
        }
        // The party that sends the initial INVITE is at its Contact.
        if ours
            && (code < 300 || self.targets.is_empty())
            && let Some(contact) = self.offered_targets.get(it.cseq)
        {
            self.targets.insert(contact.clone());
        }
        if by_us && class == b'2' && it.cseq.ends_with("INVITE") {
            *self.accepted.entry(it.cseq.to_owned()).or_default() += 1;
        }
        if it.cseq.ends_with("INVITE") {
            self.is_up |= class == b'2';
            self.fails |= code >= 300 && !self.is_up;
        }
        self.unknown_prack |= ours && it.cseq.ends_with("PRACK") && code == 481 && !self.is_over;
        // These statuses end the dialog of the party that asked (RFC 5057 §5.1).
        let ends = matches!(code, 404 | 410 | 416 | 482..=485 | 502 | 604);
        if ours && ends && self.is_up && !self.is_over {
            return Some("a refusal that ends the dialog of who asked");
        }
        let offered = self.requests.get(&key).copied()?;
        match (class, by_us) {
            (b'1', _) => {
                if it.media.is_some() {
                    self.early.insert(key);
                }
                None
            }
            (_, true) => {
                if self.ours.as_deref() == Some(it.cseq) {
                    self.ours = None;
                }
                if class == b'2' && it.media.is_some() {
                    self.offered_late.insert(it.cseq.to_owned());
                }
                None
            }
            (b'2', false) => match (offered, it.media) {
                (Some(offered), Some(answered)) if offered != answered => {
                    Some("an answer with other media lines")
                }
                (Some(_), None) if !self.early.contains(&key) => Some("a 2xx without an answer"),
                _ => None,
            },
            _ => None,
        }
    }
}
