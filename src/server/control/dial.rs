//! Whom programs have called: targets of theirs, and how they are dialled.

use std::time::Duration;

use super::header_fields::{self, CommandHeaders};
use crate::in_force::Settings;
use b2b_call::lookup::{LookupError, ResolvedContact};
use b2b_call::service::{CallService, DialOptions, DialOrder};

/// The contacts of a target as routes have it; a URI of ours is the user or group that it names.
///
/// # Errors
/// Nobody is reached by it.
pub async fn contacts(service: &CallService, target: &str) -> Result<Vec<ResolvedContact>, LookupError> {
    service.lookup(target).await.map(|found| found.contacts)
}

/// How somebody is called who is to see `caller`, or else the number of `shown`; each contact may
/// ring for so many seconds. `headers`: more fields of the INVITE.
pub fn options(
    settings: &Settings,
    caller: Option<&str>,
    shown: &str,
    ring_s: Option<u64>,
    headers: &CommandHeaders,
) -> DialOptions {
    let ring = ring_s.map_or(settings.config.limits.ring, Duration::from_secs);
    DialOptions {
        order: DialOrder::Parallel,
        ring_timeout: ring,
        total_timeout: ring * 3,
        max_redirects: settings.config.limits.redirects,
        caller: Some((String::new(), caller.map_or_else(|| number_of(shown), str::to_owned))),
        rules: header_fields::rules(headers),
        ..DialOptions::default()
    }
}

/// What a callee may see of a target: its last part, without host and parameters.
fn number_of(target: &str) -> String {
    let bare = target.strip_prefix("sips:").or_else(|| target.strip_prefix("sip:")).unwrap_or(target);
    let user = bare.split(['@', ';', '?']).next().unwrap_or(bare);
    user.rsplit('/').next().unwrap_or(user).to_owned()
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
        ] {
            assert_eq!(number_of(target), number);
        }
    }
}
