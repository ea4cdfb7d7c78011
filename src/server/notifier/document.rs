//! The bodies of NOTIFY: `application/dialog-info+xml` (RFC 4235 §4) and `application/simple-message-summary`
//! (RFC 3842 §5). Pure.

use std::fmt::Write as _;

use b2b_base::util::xml;
use strum::IntoStaticStr;

/// The state of a dialog, as in RFC 4235 §3.7.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum DialogState {
    Trying,
    Early,
    Confirmed,
    Terminated,
}

impl DialogState {
    /// The state as written in a document.
    pub fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// A dialog of the watched party.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialogLine {
    /// Constant for the lifetime of the dialog.
    pub id: String,
    /// Whether the watched party began it; `None`: the document gives no direction.
    pub initiator: Option<bool>,
    pub state: DialogState,
}

/// Messages in a mailbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MessageCounts {
    pub new: u32,
    pub old: u32,
}

/// A document of all dialogs. An empty one contains a terminated dialog, since some phones do not turn their
/// lamp off without one.
pub fn dialog_info(version: u32, entity: &str, dialogs: &[DialogLine]) -> String {
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
         <dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"{version}\" state=\"full\" \
         entity=\"{}\">\r\n",
        escaped(entity)
    );
    let nobody = [DialogLine { id: "none".to_owned(), initiator: None, state: DialogState::Terminated }];
    for dialog in if dialogs.is_empty() { &nobody } else { dialogs } {
        let direction = match dialog.initiator {
            Some(true) => " direction=\"initiator\"",
            Some(false) => " direction=\"recipient\"",
            None => "",
        };
        let (id, state) = (escaped(&dialog.id), dialog.state.as_str());
        // Writing into a string cannot fail.
        let _ = write!(text, "<dialog id=\"{id}\"{direction}><state>{state}</state></dialog>\r\n");
    }
    text.push_str("</dialog-info>\r\n");
    text
}

/// The message summary of a mailbox.
pub fn message_summary(account: &str, counts: MessageCounts) -> String {
    let MessageCounts { new, old } = counts;
    let waiting = if new > 0 { "yes" } else { "no" };
    format!(
        "Messages-Waiting: {waiting}\r\nMessage-Account: {account}\r\nVoice-Message: {new}/{old} (0/0)\r\n"
    )
}

/// Escapes text for XML, in one line; characters that XML cannot contain become U+FFFD.
fn escaped(text: &str) -> String {
    xml::escaped(&text.replace(['\t', '\n', '\r'], " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_lists_every_dialog_with_its_direction_and_state() {
        let line = |id: &str, initiator, state| DialogLine { id: id.to_owned(), initiator, state };
        let dialogs = [
            line("7", Some(true), DialogState::Confirmed),
            line("8", Some(false), DialogState::Early),
            line("9", Some(true), DialogState::Trying),
        ];
        assert_eq!(
            dialog_info(3, "sip:1002@b2b.example", &dialogs),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
             <dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"3\" state=\"full\" \
             entity=\"sip:1002@b2b.example\">\r\n\
             <dialog id=\"7\" direction=\"initiator\"><state>confirmed</state></dialog>\r\n\
             <dialog id=\"8\" direction=\"recipient\"><state>early</state></dialog>\r\n\
             <dialog id=\"9\" direction=\"initiator\"><state>trying</state></dialog>\r\n\
             </dialog-info>\r\n"
        );
    }

    #[test]
    fn nobody_talking_is_a_dialog_that_is_over() {
        let document = dialog_info(0, "sip:1@h", &[]);
        assert!(document.contains("<dialog id=\"none\"><state>terminated</state></dialog>"), "{document}");
    }

    #[test]
    fn what_is_markup_in_a_name_is_no_markup_in_the_document() {
        let document = dialog_info(0, "sip:a&b'<\"\u{1}\n>@h", &[]);
        assert!(document.contains("entity=\"sip:a&amp;b&apos;&lt;&quot;\u{fffd} &gt;@h\""), "{document}");
    }

    #[test]
    fn a_summary_says_whether_there_is_something_new() {
        let summary = |new, old| message_summary("sip:1001@b2b.example", MessageCounts { new, old });
        assert_eq!(
            summary(2, 8),
            "Messages-Waiting: yes\r\nMessage-Account: sip:1001@b2b.example\r\nVoice-Message: 2/8 (0/0)\r\n"
        );
        assert!(summary(0, 8).starts_with("Messages-Waiting: no\r\n"));
    }
}
