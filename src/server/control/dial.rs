//! Parties that programs call: their targets, and how they are dialled.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::header_fields::{self, CommandHeaders};
use crate::in_force::Settings;
use b2b_call::lookup::LookupError;
use b2b_call::service::{CallService, DialOptions, DialOrder, DialTo};
use b2b_sip::msg::Uri;
use b2b_sip::msg::number::{self, Ours};

/// Maximum targets of one command.
const MOST_TARGETS: usize = 32;

/// A target to call, or several, of which the first to answer gets the call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Targets {
    /// One target.
    One(String),
    /// Several targets, 1 to 32.
    Several(Vec<String>),
}

impl Targets {
    pub(super) fn all(&self) -> &[String] {
        match self {
            Targets::One(target) => std::slice::from_ref(target),
            Targets::Several(targets) => targets,
        }
    }

    /// The target whose number is presented by default.
    pub fn first(&self) -> &str {
        self.all().first().map_or("", String::as_str)
    }

    /// Checks the number of targets.
    ///
    /// # Errors
    /// If there are too few or too many, in words.
    pub fn check(&self) -> Result<(), String> {
        match self.all().len() {
            1..=MOST_TARGETS => Ok(()),
            many => Err(format!("{many} targets; name 1 to {MOST_TARGETS}")),
        }
    }
}

impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.all().join(", "))
    }
}

/// The order in which the targets ring. Within a target, lower-priority contacts ring later.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RingOrder {
    /// All targets together.
    #[default]
    Parallel,
    /// One target after the other.
    Serial,
}

impl RingOrder {
    /// Whether it is the default.
    pub fn is_parallel(&self) -> bool {
        *self == RingOrder::Parallel
    }

    fn of_dialling(self) -> DialOrder {
        match self {
            RingOrder::Parallel => DialOrder::Parallel,
            RingOrder::Serial => DialOrder::Serial,
        }
    }
}

/// Targets with their contacts, as in routes; a URI of ours is the user or group that it names. Of several
/// targets, those that reach no contact are left out.
///
/// # Errors
/// If no target reaches any contact: the error of the first one.
pub async fn looked_up(
    service: &CallService,
    targets: &Targets,
    order: RingOrder,
) -> Result<DialTo, LookupError> {
    let found = service.lookup_all(targets.all(), order.of_dialling()).await.map_err(|error| {
        error.unwrap_or(LookupError::BadTarget { target: String::new(), why: "no target is set".into() })
    });
    found.map(DialTo::Stages)
}

/// The dial options: `caller` is the number presented, else that of `shown`; each target rings for at most
/// `ring_s` seconds. `headers` are additional fields of the INVITE.
pub fn options(
    settings: &Settings,
    caller: Option<&str>,
    shown: &str,
    ring_s: Option<u64>,
    headers: &CommandHeaders,
) -> DialOptions {
    let ring = ring_s.map(Duration::from_secs);
    DialOptions {
        ring_timeout: ring.unwrap_or(settings.config.limits.ring),
        target_timeout: ring,
        max_redirects: settings.config.limits.redirects,
        caller: Some((String::new(), number_of(caller.unwrap_or(shown), &*settings.directory))),
        rules: header_fields::rules(headers),
        ..DialOptions::default()
    }
}

/// The part of a target that a callee may see: the last part, without host and parameters.
fn number_of(target: &str, ours: &dyn Ours) -> String {
    let is_uri = Uri::parse(target.as_bytes()).is_ok();
    let last = target.rsplit('/').next().filter(|_| !is_uri).unwrap_or(target);
    number::bare(&number::of_text(last, ours)).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callees_see_numbers_and_no_hosts() {
        for (target, number) in [
            ("user/1001", "1001"),
            ("gateway/carrier/+4420", "+4420"),
            ("sip:bob@192.0.2.1;transport=tcp", "bob"),
            ("sips:+44@host", "+44"),
            ("gateway/carrier/+44-20;npdi", "+4420"),
            ("tel:+44-20", "+4420"),
        ] {
            assert_eq!(number_of(target, &()), number);
        }
    }
}
