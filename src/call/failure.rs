//! How a failed call is presented to others: which of several failures the caller gets, the mapping of a far
//! end's status to the caller's leg, which failures lead to the next target, and SIP ⇄ Q.850.

use std::sync::Arc;

use b2b_sip::msg::phrase;

/// Q.850 causes that b2b generates.
pub mod cause {
    /// The number is not assigned.
    pub const UNALLOCATED_NUMBER: u8 = 1;
    /// A party hung up.
    pub const NORMAL_CLEARING: u8 = 16;
    /// The called party is busy.
    pub const USER_BUSY: u8 = 17;
    /// The called party did not respond.
    pub const NO_USER_RESPONDING: u8 = 18;
    /// The called party rang, but did not answer.
    pub const NO_ANSWER: u8 = 19;
    /// The called party, or a rule for it, rejects the call.
    pub const CALL_REJECTED: u8 = 21;
    /// A normal end without a more specific cause.
    pub const NORMAL_UNSPECIFIED: u8 = 31;
    /// A temporary network failure.
    pub const TEMPORARY_FAILURE: u8 = 41;
    /// The parties have no media in common.
    pub const INCOMPATIBLE_DESTINATION: u8 = 88;
    /// A timer expired without a response.
    pub const RECOVERY_ON_TIMER_EXPIRY: u8 = 102;
    /// A protocol violation.
    pub const PROTOCOL_ERROR: u8 = 111;
    /// A failure beyond the border to another network, without a more specific cause.
    pub const INTERWORKING: u8 = 127;
}

/// Why a branch, or the whole dialling, failed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DialFailure {
    /// The status of the remote party's response, or 408 for silence and 503 for no route.
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
    /// The Q.850 cause of its Reason header field (RFC 3326).
    pub q850: Option<u8>,
    /// The status is ours, not the remote party's: it is passed to the caller.
    pub ours: bool,
}

impl DialFailure {
    /// A failure of the remote party or of the route to it, without a Q.850 cause.
    pub fn new(status: u16, reason: &str) -> Self {
        DialFailure { status, reason: reason.to_owned(), q850: None, ours: false }
    }

    /// A failure of our own.
    pub fn of_ours(status: u16, reason: &str) -> Self {
        DialFailure { ours: true, ..DialFailure::new(status, reason) }
    }
}

/// How informative a failure is to the caller; lower is better. The caller gets the best response of several
/// branches, the first among equals (RFC 3261 §16.7, step 6): 6xx, then a person's decision, then facts about
/// the number, then a failed negotiation, then no response, then trouble on the way. Challenges and redirects
/// were meant for b2b and come last.
pub fn rank(status: u16) -> u8 {
    match status {
        600..=699 => 0,
        486 => 1,
        402 | 403 | 433 => 2,
        410 | 484 | 485 => 3,
        404 => 4,
        406 | 415 | 488 | 493 => 5,
        480 => 6,
        408 => 7,
        503 => 9,
        500..=599 => 8,
        401 | 407 => 12,
        487 | 491 => 11,
        300..=399 => 13,
        _ => 10,
    }
}

/// Whether the failure concerns the route and not the callee, so that another route (the next host or
/// gateway) is worth trying.
pub fn is_trouble(status: u16) -> bool {
    matches!(status, 401 | 407 | 408 | 430 | 481 | 482 | 483 | 500..=599)
}

/// The failures of one target after which the next target is tried. No response always leads on; 6xx never
/// does, except with [`Failover::Whatever`].
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum Failover {
    /// After every failure below 600.
    #[default]
    Always,
    /// After every failure, 6xx included: the caller wants no particular callee.
    Whatever,
    /// After no final response of a target.
    Never,
    /// After the statuses in these ranges, first and last included.
    On(Arc<[(u16, u16)]>),
}

impl Failover {
    /// Whether this final status leads on. A target that rang without being answered counts as 408.
    pub fn leads_on(&self, status: u16) -> bool {
        match self {
            Failover::Whatever => true,
            Failover::Always => status < 600,
            Failover::Never => false,
            Failover::On(ranges) => {
                status < 600 && ranges.iter().any(|(first, last)| (*first..=*last).contains(&status))
            }
        }
    }
}

/// The status and reason phrase that the caller gets for a far end's failure.
///
/// A status that describes the callee passes. A status that was meant for b2b does not: a challenge to b2b's
/// credentials, a redirect that was not followed (its contacts reveal the far side's topology), an error in
/// b2b's request. A 503 would make the caller avoid b2b (RFC 3261 §16.7, step 6), and becomes 500.
pub fn for_caller(status: u16) -> (u16, &'static str) {
    let status = match status {
        402..=404 | 408 | 410 | 480 | 482..=486 | 488 | 433 => status,
        501 | 502 | 504 | 580 | 600 | 603 | 604 | 606..=608 => status,
        300..=399 | 487 | 491 => 480,
        401 | 407 => 502,
        406 | 415 | 493 => 488,
        416 => 404,
        400..=499 => 500,
        600..=699 => 603,
        _ => 500,
    };
    (status, phrase(status))
}

/// Maps one party's refusal of a request inside its dialog to the dialog of the other party, which sent the
/// request.
///
/// A status that would end that dialog or its usage (RFC 5057 §5.1) does not pass, and neither does one that
/// is meaningless without a header field that is not forwarded: it becomes one that concerns the request
/// alone. 405, 489 and 501 pass for any request but an offer.
pub(crate) fn inside(status: u16, offers: bool) -> u16 {
    match status {
        // The call ends.
        481 => 480,
        408 if offers => 480,
        // RFC 4320 §4.1
        408 => 504,
        503 => 500,
        405 | 489 | 501 if !offers => status,
        300..=399 | 401 | 403..=405 | 407 | 410 | 416 | 420..=423 | 480 | 482..=485 | 489 => 488,
        494 | 501 | 502 | 604 => 488,
        _ => status,
    }
}

/// The Q.850 cause of a SIP failure (RFC 3398 §8.2.6.1). Additions to the RFC: 487 is normal clearing, since
/// the caller hung up; 488 and 606 are an incompatible destination; unlisted statuses get the general cause
/// of their class.
pub fn q850_of(status: u16) -> u8 {
    use cause::*;
    match status {
        400 | 481 | 500 | 503 => TEMPORARY_FAILURE,
        401..=403 | 407 | 433 | 603 | 607 | 608 => CALL_REJECTED,
        404 | 485 | 604 => UNALLOCATED_NUMBER,
        405 => 63,
        406 | 415 | 501 => 79,
        408 | 504 => RECOVERY_ON_TIMER_EXPIRY,
        410 => 22,
        480 => NO_USER_RESPONDING,
        482 | 483 => 25,
        484 => 28,
        486 | 600 => USER_BUSY,
        487 => NORMAL_CLEARING,
        488 | 606 => INCOMPATIBLE_DESTINATION,
        502 => 38,
        100..=299 => NORMAL_CLEARING,
        300..=399 => NORMAL_UNSPECIFIED,
        400..=599 => INTERWORKING,
        _ => NORMAL_UNSPECIFIED,
    }
}

/// The SIP status of a Q.850 cause that ends a call before the answer (RFC 3398 §7.2.4.1). `None` for normal
/// clearing, which is signalled by BYE or CANCEL and not by a response.
pub fn status_of(q850: u8) -> Option<u16> {
    Some(match q850 {
        16 => return None,
        1..=3 | 26 => 404,
        17 => 486,
        18 => 408,
        19 | 20 | 31 => 480,
        21 | 55 | 57 | 87 => 403,
        22 | 23 => 410,
        27 => 502,
        28 => 484,
        29 | 79 => 501,
        34 | 38 | 41 | 42 | 47 | 58 | 88 => 503,
        65 | 70 => 488,
        102 => 504,
        _ => 500,
    })
}

/// The name of a Q.850 cause, as used in CDRs.
pub fn q850_name(q850: u8) -> &'static str {
    match q850 {
        1 => "UNALLOCATED_NUMBER",
        2 => "NO_ROUTE_TRANSIT_NET",
        3 => "NO_ROUTE_DESTINATION",
        16 => "NORMAL_CLEARING",
        17 => "USER_BUSY",
        18 => "NO_USER_RESPONSE",
        19 => "NO_ANSWER",
        20 => "SUBSCRIBER_ABSENT",
        21 => "CALL_REJECTED",
        22 => "NUMBER_CHANGED",
        23 => "REDIRECTION_TO_NEW_DESTINATION",
        25 => "EXCHANGE_ROUTING_ERROR",
        26 => "NON_SELECTED_USER_CLEARING",
        27 => "DESTINATION_OUT_OF_ORDER",
        28 => "INVALID_NUMBER_FORMAT",
        29 => "FACILITY_REJECTED",
        31 => "NORMAL_UNSPECIFIED",
        34 => "NORMAL_CIRCUIT_CONGESTION",
        38 => "NETWORK_OUT_OF_ORDER",
        41 => "NORMAL_TEMPORARY_FAILURE",
        42 => "SWITCH_CONGESTION",
        44 => "REQUESTED_CHAN_UNAVAIL",
        47 => "RESOURCE_UNAVAILABLE",
        50 => "FACILITY_NOT_SUBSCRIBED",
        55 => "INCOMING_CALL_BARRED",
        57 => "BEARERCAPABILITY_NOTAUTH",
        58 => "BEARERCAPABILITY_NOTAVAIL",
        63 => "SERVICE_UNAVAILABLE",
        65 => "BEARERCAPABILITY_NOTIMPL",
        79 => "SERVICE_NOT_IMPLEMENTED",
        87 => "USER_NOT_MEMBER_OF_CUG",
        88 => "INCOMPATIBLE_DESTINATION",
        102 => "RECOVERY_ON_TIMER_EXPIRE",
        111 => "PROTOCOL_ERROR",
        127 => "INTERWORKING",
        _ => "UNSPECIFIED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(statuses: &[u16]) -> Option<u16> {
        statuses.iter().copied().min_by_key(|status| rank(*status))
    }

    #[test]
    fn the_caller_hears_the_failure_that_says_most() {
        for (statuses, expected) in [
            (&[480, 486, 404][..], 486),
            (&[486, 603], 603),
            (&[408, 480], 480),
            (&[503, 408], 408),
            (&[503, 500], 500),
            (&[401, 503], 503),
            (&[302, 487, 404], 404),
            (&[487, 480], 480),
            (&[488, 503, 408], 488),
            (&[404, 484], 484),
            (&[600, 603], 600),
            (&[418, 502], 502),
        ] {
            assert_eq!(best(statuses), Some(expected), "{statuses:?}");
        }
    }

    #[test]
    fn whatever_came_the_caller_gets_a_final_failure_that_is_meant_for_them() {
        for status in 0..=999 {
            let (mapped, phrase) = for_caller(status);
            assert!((400..=699).contains(&mapped), "{status} -> {mapped}");
            assert!(!matches!(mapped, 401 | 407 | 487 | 491 | 503), "{status} -> {mapped}");
            assert!(!phrase.is_empty());
            assert_eq!(for_caller(mapped).0, mapped, "mapping twice changes nothing");
        }
        for (status, expected) in [
            (486, 486),
            (603, 603),
            (600, 600),
            (404, 404),
            (480, 480),
            (503, 500),
            (407, 502),
            (302, 480),
            (415, 488),
            (420, 500),
            (699, 603),
            (483, 483),
        ] {
            assert_eq!(for_caller(status).0, expected, "{status}");
        }
    }

    #[test]
    fn another_way_is_tried_for_trouble_on_the_way_only() {
        let trouble: Vec<u16> = (300..700).filter(|status| is_trouble(*status)).collect();
        let expected: Vec<u16> = [401, 407, 408, 430, 481, 482, 483].into_iter().chain(500..600).collect();
        assert_eq!(trouble, expected);
    }

    #[test]
    fn statuses_map_to_causes_as_rfc_3398_says() {
        let table = "400:41 401:21 402:21 403:21 404:1 405:63 406:79 407:21 408:102 410:22 413:127 414:127 \
            415:79 416:127 420:127 421:127 423:127 480:18 481:41 482:25 483:25 484:28 485:1 486:17 500:41 \
            501:79 502:38 503:41 504:102 505:127 513:127 600:17 603:21 604:1";
        for (status, cause) in table.split_whitespace().filter_map(|pair| pair.split_once(':')) {
            assert_eq!(q850_of(status.parse().unwrap()).to_string(), cause, "{status}");
        }
    }

    #[test]
    fn causes_map_to_statuses_as_rfc_3398_says() {
        let table = "1:404 2:404 3:404 17:486 18:408 19:480 20:480 21:403 22:410 23:410 26:404 27:502 28:484 \
            29:501 31:480 34:503 38:503 41:503 42:503 47:503 55:403 57:403 58:503 65:488 70:488 79:501 87:403 \
            88:503 102:504 111:500 127:500";
        for (cause, status) in table.split_whitespace().filter_map(|pair| pair.split_once(':')) {
            assert_eq!(status_of(cause.parse().unwrap()).unwrap().to_string(), status, "{cause}");
        }
        assert_eq!(status_of(cause::NORMAL_CLEARING), None);
        for cause in (0..=127).filter(|cause| *cause != 16) {
            assert!(status_of(cause).is_some_and(|status| (400..600).contains(&status)), "{cause}");
        }
    }

    #[test]
    fn every_cause_that_we_give_has_a_name() {
        for status in 300..700 {
            assert_ne!(q850_name(q850_of(status)), "UNSPECIFIED", "{status}");
        }
    }
}
