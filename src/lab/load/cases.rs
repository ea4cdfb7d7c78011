//! Each call of a run as a case: for a sandbox, whose calls are few and each of which matters.

use super::worst::Call;
use b2b_base::util::junit::{Case, Wrong};

/// The calls as test cases.
pub fn cases(calls: &[Call]) -> impl Iterator<Item = Case> {
    calls.iter().map(|call| {
        let wrong = reason(call);
        Case {
            name: call.name(),
            group: group(call).to_owned(),
            said: wrong.clone().unwrap_or_else(|| format!("done after {:.1} s", call.lasted_s)),
            wrong: wrong.map(|why| (Wrong::Failure, why)),
            took_s: call.lasted_s,
        }
    })
}

/// A line for each kind, and one for each call that failed.
pub fn lines(calls: &[Call]) -> Vec<String> {
    let mut kinds: Vec<&str> = Vec::new();
    calls.iter().map(group).for_each(|kind| kinds.extend((!kinds.contains(&kind)).then_some(kind)));
    kinds.sort_unstable();
    let mut lines = Vec::new();
    for kind in kinds {
        let of_kind = || calls.iter().filter(|call| group(call) == kind);
        let failed = of_kind().filter(|call| call.why.is_some()).count();
        let all = of_kind().count();
        lines.push(format!("{kind:<16} {} of {all} calls passed", all - failed));
        let reasons = of_kind().filter_map(|call| Some(format!("  {}: {}", call.name(), reason(call)?)));
        lines.extend(reasons);
    }
    lines
}

fn group(call: &Call) -> &str {
    if call.kind.is_empty() { call.side } else { &call.kind }
}

fn reason(call: &Call) -> Option<String> {
    let why = call.why.as_ref()?;
    Some(call.step.as_ref().map_or_else(|| why.clone(), |step| format!("`{step}`: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_a_line_and_a_failed_call_another_one() {
        let call = |kind: &str, of_kind, why: Option<&str>| Call {
            kind: kind.to_owned(),
            of_kind,
            step: why.map(|_| "hears speech within 3".to_owned()),
            why: why.map(ToOwned::to_owned),
            side: "caller",
            ..Call::default()
        };
        let calls = [call("waits", 1, None), call("asks", 1, Some("not in time")), call("asks", 2, None)];
        let told = lines(&calls);
        assert_eq!(
            told,
            [
                "asks             1 of 2 calls passed",
                "  asks 1: `hears speech within 3`: not in time",
                "waits            1 of 1 calls passed",
            ]
        );
        let cases: Vec<Case> = cases(&calls).collect();
        assert_eq!((cases[1].name.as_str(), cases[1].group.as_str()), ("asks 1", "asks"));
        let failure = (Wrong::Failure, "`hears speech within 3`: not in time".to_owned());
        assert_eq!((&cases[1].wrong, &cases[2].wrong), (&Some(failure), &None));
    }
}
