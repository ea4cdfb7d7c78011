//! Request methods.

use std::fmt;

use bytes::Bytes;

macro_rules! methods {
    ($($variant:ident $text:literal)*) => {
        /// A method; names are case-sensitive (RFC 3261 §7.1).
        #[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[allow(missing_docs)]
        pub enum Method {
            $($variant,)*
            /// Any other token, as received.
            Other(Bytes),
        }

        impl Method {
            /// The known method with this name.
            pub(super) fn known(text: &[u8]) -> Option<Method> {
                $(if text == $text.as_bytes() { return Some(Method::$variant); })*
                None
            }

            /// The name as written in a message.
            pub fn as_bytes(&self) -> &[u8] {
                match self {
                    $(Method::$variant => $text.as_bytes(),)*
                    Method::Other(text) => text,
                }
            }
        }
    };
}

methods! {
    Invite "INVITE"
    Ack "ACK"
    Bye "BYE"
    Cancel "CANCEL"
    Options "OPTIONS"
    Register "REGISTER"
    Prack "PRACK"
    Update "UPDATE"
    Info "INFO"
    Message "MESSAGE"
    Refer "REFER"
    Subscribe "SUBSCRIBE"
    Notify "NOTIFY"
    Publish "PUBLISH"
}

impl Method {
    /// The method with this name; copies the name only if it is unknown.
    pub fn from_bytes(text: &[u8]) -> Method {
        Method::known(text).unwrap_or_else(|| Method::Other(Bytes::copy_from_slice(text)))
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}
