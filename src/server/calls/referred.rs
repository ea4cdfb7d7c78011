//! Where the target of a transfer leads: a number that a party refers to, and what an agent or a program has
//! named.

use super::{Asking, number_of, route};
use crate::config::Verstat;
use crate::in_force::{Current, Settings};
use crate::leading::Destination;
use b2b_call::handler::{HandlerAction, Referral};
use b2b_call::lookup::ResolvedContact;
use b2b_call::service::DialTo;

/// A number that a party of the call calls, through the routes.
pub(super) async fn referred(settings: &Settings, referral: &Referral, called: String) -> HandlerAction {
    let by = &referral.by;
    let (origin, class) = settings.party(by);
    let user = by.user.as_deref().and_then(|name| settings.directory.user(name));
    let asking = Asking {
        id: referral.call,
        called,
        caller: number_of(user.map(|user| &**user), &by.number),
        told: by.number.clone(),
        shown: None,
        name: None,
        origin,
        class,
        source: by.address,
        verstat: Verstat::None,
        at: referral.at,
    };
    route(settings, &asking).await.action
}

/// A target that an application's agent or program has named for its caller.
pub(super) async fn named(
    current: &Current,
    settings: &Settings,
    referral: &Referral,
    application: &str,
) -> HandlerAction {
    let named = Destination::read(current, settings, &referral.target);
    let action = match &named {
        Destination::Number(called) => referred(settings, referral, called.clone()).await,
        Destination::Ours(target) | Destination::Other(target) => HandlerAction::TransferTo(target.clone()),
    };
    match named.judged(settings, application, stays_inside(&action)) {
        Ok(()) => action,
        Err((why, line)) => HandlerAction::NotFollowed { why, line: Some(line) },
    }
}

/// Whether an action of the routes leads to users and applications only, or refuses the call.
fn stays_inside(action: &HandlerAction) -> bool {
    let inside = |contact: &ResolvedContact| contact.user.is_some() && contact.gateway.is_none();
    match action {
        HandlerAction::Routed { action, .. } => stays_inside(action),
        HandlerAction::Handle(_) | HandlerAction::Reject { .. } => true,
        HandlerAction::Dial(request) => match &request.to {
            DialTo::Contacts(contacts) => contacts.iter().all(inside),
            DialTo::Stages(stages) => stages.iter().flat_map(|stage| &stage.contacts).all(inside),
            DialTo::Target(_) => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::tests::{gateway, settings};
    use super::*;
    use b2b_call::handler::Party;

    const CARRIER: &str = "192.0.2.13:5060";

    fn lines(agent: &str) -> String {
        gateway("carrier", CARRIER, "")
            + "[[group]]\nname = \"sales\"\nmembers = [\"user/1001\"]\n\
               [[route]]\ncalled = '\\+\\d+'\nclass = \"internal\"\nto = \"gateway/carrier\"\n\
               [[route]]\ncalled = '0\\d+'\nto = \"gateway/carrier\"\n\
               [[route]]\ncalled = '600'\napp = \"echo\"\n\
               [[route]]\ncalled = '1\\d+'\nto = \"user/$0\"\n\
               [[voice_agent]]\nname = \"ada\"\nurl = \"ws://127.0.0.1:1/\"\n"
            + agent
    }

    /// Where ada's target leads a call of this user.
    fn leads(agent: &str, user: &str, target: &str) -> String {
        let current = Current::new(settings(&lines(agent)));
        let settings = current.get();
        let referral = Referral {
            call: b2b_call::CallId(1),
            leg: b2b_call::LegId(1),
            by: Party { user: Some(user.to_owned()), number: user.to_owned(), ..Party::default() },
            target: target.to_owned(),
            hosts: Vec::new(),
            named_by: Some("voice_agent/ada".into()),
            at: Instant::now(),
        };
        let work = named(&current, &settings, &referral, "voice_agent/ada");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        fn told(action: HandlerAction) -> String {
            match action {
                HandlerAction::Routed { action, .. } => told(*action),
                HandlerAction::NotFollowed { line, .. } => {
                    assert!(line.unwrap().contains("may_transfer = ["));
                    "refused".to_owned()
                }
                HandlerAction::TransferTo(target) => target,
                HandlerAction::Handle(app) => app,
                HandlerAction::Reject { status, .. } => status.to_string(),
                HandlerAction::Dial(request) => match request.to {
                    DialTo::Stages(stages) => stages[0].contacts[0].uri.clone(),
                    to => format!("{to:?}"),
                },
                other => other.word().to_owned(),
            }
        }
        told(runtime.block_on(work))
    }

    #[test]
    fn an_agent_reaches_users_groups_and_applications_and_nothing_beyond() {
        for (target, leads_to) in [
            ("user/1001", "user/1001"),
            ("group/sales", "group/sales"),
            ("sip:1001@b2b.example", "user/1001"),
            ("sip:sales@b2b.example;transport=tcp", "group/sales"),
            ("sip:%31001@b2b.example;maddr=127.0.0.66", "user/1001"),
            ("600", "echo"),
            ("tel:600", "echo"),
            ("77", "404"),
        ] {
            assert_eq!(leads("", "1001", target), leads_to, "{target}");
        }
        for target in [
            "sip:x@127.0.0.66",
            "sips:x@127.0.0.66",
            "SIP:x@127.0.0.66",
            "gateway/carrier/+900666",
            "gateway/carrier",
            "sip:+900666@192.0.2.13",
            "sip:1001@192.0.2.13;maddr=b2b.example",
            "+900666",
            "0900666",
            "tel:+900666",
            "tel:+900-666;phone-context=b2b.example",
            "sip:+900666@b2b.example",
            "sip:%2B900666@b2b.example;user=phone",
            "%2B900666",
            "sip:gateway%2Fcarrier%2F+900666@elsewhere.example",
            " user/1001",
            "routes",
            "",
        ] {
            let led = leads("", "1001", target);
            assert!(led == "refused" || led == "404", "{target}: {led}");
        }
    }

    #[test]
    fn may_transfer_names_targets_and_the_class_of_the_caller_counts() {
        let may = "may_transfer = ['\\+49\\d+', 'gateway/carrier/\\+49\\d+', 'sip:.*@pbx\\.example']\n";
        for (user, target, leads_to) in [
            ("1001", "+4930", "sip:+4930@192.0.2.13"),
            ("1001", "tel:+4930", "sip:+4930@192.0.2.13"),
            ("1001", "sip:%2B4930@b2b.example", "sip:+4930@192.0.2.13"),
            ("1002", "+4930", "404"),
            ("1001", "+900666", "refused"),
            ("1001", "gateway/carrier/+4930", "gateway/carrier/+4930"),
            ("1001", "gateway/carrier/+900", "refused"),
            ("1001", "sip:desk@PBX.example;maddr=127.0.0.66", "sip:desk@pbx.example"),
            ("1001", "sip:x@127.0.0.66;a=@pbx.example", "refused"),
            ("1001", "sip:x@127.0.0.66?a=@pbx.example", "refused"),
            ("1001", "sip:desk@pbx.example.127.0.0.66", "refused"),
        ] {
            let led = leads(may, user, target);
            assert!(led.starts_with(leads_to), "{target} of {user}: {led}");
        }
    }
}
