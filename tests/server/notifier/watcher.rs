//! A phone with BLF keys: its subscriptions and notifications.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use b2b::sip::auth::{Authorized, DigestClient};
use b2b::sip::msg::{Message, Method, Name, Request, Response};
use bytes::Bytes;

use crate::common::child::PATIENCE;
use crate::server::edges::peer::Peer;

/// The content of a NOTIFY.
#[derive(Debug, Clone)]
pub struct Told {
    pub state: String,
    pub event: String,
    pub content_type: String,
    pub body: String,
    pub request: Request,
}

impl Told {
    /// The value of this attribute of the document's element.
    pub fn attribute(&self, name: &str) -> &str {
        let document = self.body.split_once("<dialog-info").map_or("", |(_, document)| document);
        let found = document.split_once(&format!(" {name}=\"")).and_then(|(_, rest)| rest.split_once('"'));
        found.unwrap_or_else(|| panic!("no {name} in {}", self.body)).0
    }

    pub fn version(&self) -> u32 {
        self.attribute("version").parse().expect("a number")
    }

    /// Id, direction and state of every dialog.
    pub fn dialogs(&self) -> Vec<(String, String, String)> {
        let value = |text: &str, from: &str, to: &str| {
            let rest = text.split_once(from).map(|(_, rest)| rest)?;
            Some(rest.split_once(to)?.0.to_owned())
        };
        let dialog = |text: &str| {
            let direction = value(text, "direction=\"", "\"").unwrap_or_default();
            (
                value(text, "id=\"", "\"").expect("an id"),
                direction,
                value(text, "<state>", "</state>").expect("a state"),
            )
        };
        self.body.split("<dialog ").skip(1).map(dialog).collect()
    }

    /// The states alone.
    pub fn states(&self) -> Vec<String> {
        self.dialogs().into_iter().map(|(_, _, state)| state).collect()
    }
}

/// A phone that subscribes.
pub struct Watcher {
    pub peer: Peer,
    user: &'static str,
    /// By Call-ID: the URI, the server's Contact and To, the last CSeq.
    dialogs: HashMap<String, (String, String, String, u32)>,
    /// The last NOTIFY in each subscription.
    heard: HashMap<Vec<u8>, u32>,
}

impl Watcher {
    pub fn new(address: [u8; 4], server: SocketAddr, user: &'static str) -> Watcher {
        Watcher { peer: Peer::new(address, server), user, dialogs: HashMap::new(), heard: HashMap::new() }
    }

    fn request(&mut self, target: &str, to: &str, call: &str, cseq: u32, fields: &[(&str, &str)]) -> Bytes {
        let at = self.peer.at;
        let mut request = self
            .peer
            .request(&Method::Subscribe, target, call, cseq)
            .header(Name::To, to)
            .header_fmt(Name::Contact, format_args!("<sip:watcher@{at}>"));
        for (name, value) in fields {
            request = request.header(Name::parse(name.as_bytes()), *value);
        }
        request.finish().expect("a request")
    }

    /// Sends SUBSCRIBE, and repeats it with the password if challenged.
    pub fn subscribe(&mut self, number: &str, call: &str, fields: &[(&str, &str)]) -> Response {
        let uri = format!("sip:{number}@b2b.example");
        let to = format!("<{uri}>");
        let first = self.request(&uri, &to, call, 1, fields);
        let mut response = self.peer.ask(&first, call, 1);
        let mut cseq = 1;
        if response.status() == 401 {
            let mut digest = DigestClient::new(self.user, "secret", [7; 32]);
            digest.challenged(&response, &Authorized::default()).expect("a challenge");
            let credentials = digest.authorize(&Method::Subscribe, uri.as_bytes());
            let credentials: Vec<(String, String)> = credentials
                .headers
                .iter()
                .map(|(name, value)| {
                    (String::from_utf8_lossy(name).into_owned(), String::from_utf8_lossy(value).into_owned())
                })
                .collect();
            let mut fields = fields.to_vec();
            fields.extend(credentials.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            cseq = 2;
            let second = self.request(&uri, &to, call, cseq, &fields);
            response = self.peer.ask(&second, call, cseq);
        }
        if response.status() == 200 {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let contact = text(response.contact().expect("a Contact").expect("one").uri.raw);
            let to = text(response.header(Name::To).expect("a To"));
            self.dialogs.insert(call.to_owned(), (uri, contact, to, cseq));
        }
        response
    }

    /// Subscribes to dialogs for this many seconds, successfully.
    pub fn watch(&mut self, number: &str, call: &str, seconds: u32) {
        let response =
            self.subscribe(number, call, &[("Event", "dialog"), ("Expires", &seconds.to_string())]);
        assert_eq!(response.status(), 200, "{number}");
    }

    /// Sends SUBSCRIBE in a subscription.
    pub fn refresh(&mut self, call: &str, fields: &[(&str, &str)]) -> Response {
        let (_, contact, to, cseq) = self.dialogs.get_mut(call).expect("subscribed");
        *cseq += 1;
        let (contact, to, cseq) = (contact.clone(), to.clone(), *cseq);
        let request = self.request(&contact, &to, call, cseq, fields);
        self.peer.ask(&request, call, cseq)
    }

    /// The next NOTIFY, without answering it.
    pub fn hear(&mut self, call: &str) -> Told {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let Some(Message::Request(request)) = self.peer.message(std::time::Duration::from_millis(200))
            else {
                continue;
            };
            assert_eq!(*request.method(), Method::Notify, "{request:?}");
            let id = request.call_id().expect("a Call-ID").to_vec();
            let number = request.cseq().expect("a CSeq").number;
            // A retransmission before our response arrived.
            if self.heard.get(&id).is_some_and(|last| number <= *last) {
                continue;
            }
            self.heard.insert(id.clone(), number);
            if id != call.as_bytes() {
                self.peer.answer(&request, 200, &[]);
                continue;
            }
            let text = |name| String::from_utf8_lossy(request.header(name).unwrap_or_default()).into_owned();
            return Told {
                state: text(Name::SubscriptionState),
                event: text(Name::Event),
                content_type: text(Name::ContentType),
                body: String::from_utf8_lossy(&request.body()).into_owned(),
                request: request.clone(),
            };
        }
        panic!("no NOTIFY for {call}");
    }

    /// The next NOTIFY, answered with 200.
    pub fn told(&mut self, call: &str) -> Told {
        let told = self.hear(call);
        self.peer.answer(&told.request, 200, &[]);
        told
    }

    /// All notifications until one dialog is in that state, and no other is left.
    pub fn told_until(&mut self, call: &str, state: &str) -> Vec<Told> {
        let mut all = Vec::new();
        loop {
            all.push(self.told(call));
            let last = all.last().expect("one");
            if last.states() == [state] {
                return all;
            }
        }
    }
}
