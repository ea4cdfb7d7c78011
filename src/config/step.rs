//! The steps of a phone without hands and of the load role's callers and callees, as text:
//! `dial 8000; hears 440 within 10 s; hang up`.
//!
//! | step | what it does |
//! |---|---|
//! | `dial NUMBER` | calls, and waits for the answer |
//! | `answer` | waits for a call, and answers it |
//! | `say HZ` | says a tone from now on, to the end of the call |
//! | `hears HZ and HZ not HZ` | waits until the far end is these tones and not those |
//! | `press DIGITS` | sends digits (RFC 4733) |
//! | `hold`, `resume` | |
//! | `transfer NUMBER` | sends the far end there; the call is over when it has arrived |
//! | `consult NUMBER` | holds, calls there too, and waits for the answer: the steps that follow are in that call |
//! | `hand over` | joins who is held and who is consulted; both calls are over then |
//! | `hang up` | ends the call |
//! | `hung up` | waits until the far end ends the call |
//! | `wait SECONDS` | |
//! | `cue NAME` | says so, for whoever starts other phones then |
//!
//! The load role has no `cue`, and beside these:
//!
//! | step | what it does |
//! |---|---|
//! | `header NAME: VALUE` | adds a header field to the INVITE of the next `dial` |
//! | `expect STATUS` | the `dial` before it is to be refused with this status |
//! | `expect header NAME: VALUE` | the INVITE that came, or the answer to ours, has this header field; `*` at the end of VALUE stands for anything |
//! | `ring` | 180, before `answer` or `refuse` |
//! | `refuse STATUS` | refuses a call |
//! | `say mark`, `say nothing` | says the mark of its call, or silence |
//! | `play FILE` | plays a sound file once from now on |
//! | `vanish` | from now on it sends nothing and answers nothing |
//! | `hears mark` | waits until it hears the mark of the far end |
//! | `stay` | stays for the holding time of the plan |
//! | `N %: STEP` | does the step in so many of a hundred calls |
//!
//! Steps that wait take `within SECONDS` behind them. `Hz` and `s` may stand behind their numbers.

use std::time::Duration;

/// How long a step waits that does not say it.
const PATIENCE: Duration = Duration::from_secs(30);
/// Tones that a telephone carries, Hz.
const TONES: std::ops::RangeInclusive<f64> = 100.0..=3_800.0;

/// What is done in a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    Dial(String),
    Answer,
    Say(f64),
    Hears { these: Vec<f64>, not: Vec<f64> },
    Press(String),
    Hold,
    Resume,
    Transfer(String),
    Consult(String),
    HandOver,
    HangUp,
    HungUp,
    Wait,
    Cue(String),
    Header { name: String, value: String },
    Expect(u16),
    Ring,
    Refuse(u16),
    SayMark,
    SayNothing,
    HearsMark,
    Stay,
    ExpectHeader { name: String, value: String },
    Play(String),
    Vanish,
}

impl Deed {
    /// Whether only the load role can do it.
    pub fn is_of_load(&self) -> bool {
        matches!(
            self,
            Deed::Header { .. }
                | Deed::Expect(_)
                | Deed::Ring
                | Deed::Refuse(_)
                | Deed::SayMark
                | Deed::SayNothing
                | Deed::HearsMark
                | Deed::Stay
                | Deed::ExpectHeader { .. }
                | Deed::Play(_)
                | Deed::Vanish
        )
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub deed: Deed,
    /// How long it may take; of [`Deed::Wait`], how long it takes.
    pub within: Duration,
    /// In which share of calls it is done, 0 to 1; only the load role has other than 1.
    pub chance: f64,
    /// As it was written.
    pub text: String,
}

impl Step {
    /// The tone that it says, Hz.
    pub fn says(&self) -> Option<f64> {
        match self.deed {
            Deed::Say(hz) => Some(hz),
            _ => None,
        }
    }
}

/// Reads the steps of a phone, with `;` between them, and checks that they fit together.
///
/// # Errors
/// The first step that is wrong, and what to do.
pub fn steps(text: &str) -> Result<Vec<Step>, String> {
    let steps = all(text)?;
    if let Some(step) = steps.iter().find(|step| step.deed.is_of_load() || step.chance < 1.0) {
        return Err(format!("the step `{}` is for --role load; a phone cannot do it", step.text));
    }
    let (mut up, mut consults) = (false, false);
    for step in &steps {
        let fault = match (&step.deed, up) {
            (Deed::Consult(_) | Deed::Transfer(_) | Deed::HangUp | Deed::HungUp, true) if consults => {
                "leaves two calls; write hand over before"
            }
            (Deed::HandOver, true) if !consults => "needs two calls; write consult before",
            (Deed::Dial(_) | Deed::Answer, true) => "comes within a call; write hang up or hung up before",
            (Deed::Dial(_) | Deed::Answer | Deed::Wait | Deed::Cue(_), false) | (_, true) => "",
            (_, false) => "needs a call; write dial or answer before",
        };
        if !fault.is_empty() {
            return Err(format!("the step `{}` {fault}", step.text));
        }
        up = match step.deed {
            Deed::Dial(_) | Deed::Answer => true,
            Deed::HangUp | Deed::HungUp | Deed::Transfer(_) | Deed::HandOver => false,
            _ => up,
        };
        consults = up && (consults || matches!(step.deed, Deed::Consult(_)));
    }
    Ok(steps)
}

/// Reads the steps of a caller of the load role: one call, begun by `dial`.
///
/// # Errors
/// The first step that is wrong, and what to do.
pub fn caller(text: &str) -> Result<Vec<Step>, String> {
    one_call(
        text,
        |deed| matches!(deed, Deed::Dial(_)),
        |deed| matches!(deed, Deed::Header { .. } | Deed::Wait),
    )
}

/// Reads the steps of a callee of the load role: one call, ended by `refuse` or begun by `answer`.
///
/// # Errors
/// The first step that is wrong, and what to do.
pub fn callee(text: &str) -> Result<Vec<Step>, String> {
    one_call(
        text,
        |deed| matches!(deed, Deed::Answer),
        |deed| {
            let headers = matches!(deed, Deed::ExpectHeader { .. });
            headers || matches!(deed, Deed::Ring | Deed::Wait | Deed::Refuse(_) | Deed::HungUp | Deed::Vanish)
        },
    )
}

/// Steps of one call, which `begins`; `before` that only some are possible.
fn one_call(text: &str, begins: fn(&Deed) -> bool, before: fn(&Deed) -> bool) -> Result<Vec<Step>, String> {
    let steps = all(text)?;
    let mut up = false;
    for step in &steps {
        let fault = match &step.deed {
            Deed::Cue(_) | Deed::Consult(_) | Deed::HandOver => "is for phones of a scene; leave it out",
            Deed::Dial(_) | Deed::Answer if !begins(&step.deed) => {
                "is the other party's: callers dial, callees answer"
            }
            Deed::Dial(_) | Deed::Answer if up => "comes within the call; each scenario is one call",
            deed if begins(deed) => "",
            Deed::Wait | Deed::HungUp | Deed::Vanish if up => "",
            deed if up == before(deed) => {
                if up {
                    "comes too late; write it before dial or answer"
                } else {
                    "needs a call; write dial or answer before"
                }
            }
            _ => "",
        };
        if !fault.is_empty() {
            return Err(format!("the step `{}` {fault}", step.text));
        }
        up |= begins(&step.deed);
    }
    Ok(steps)
}

fn all(text: &str) -> Result<Vec<Step>, String> {
    let written = text.split(';').map(str::trim).filter(|step| !step.is_empty());
    let steps: Vec<Step> = written.map(step).collect::<Result<_, _>>()?;
    if steps.is_empty() {
        return Err("no steps; write them like \"dial 8000; hears 440; hang up\"".to_owned());
    }
    Ok(steps)
}

/// Reads one step.
///
/// # Errors
/// What is wrong with it, and how to write it.
pub fn step(text: &str) -> Result<Step, String> {
    let fail = |reason: &str| Err(format!("the step `{text}`: {reason}"));
    let (chance, rest) = match text.split_once("%:") {
        None => (1.0, text),
        Some((share, rest)) => match number(share.trim()).filter(|share| (0.0..=100.0).contains(share)) {
            Some(share) => (share / 100.0, rest),
            None => return fail("a share is 0 to 100 %, like 30 %: press 1"),
        },
    };
    let mut words: Vec<&str> = Vec::new();
    for word in rest.split_whitespace() {
        let unit = matches!(word, "Hz" | "s") && words.last().is_some_and(|last| number(last).is_some());
        if !unit {
            words.push(word);
        }
    }
    let mut within = None;
    if let [before @ .., "within", seconds] = words.as_slice() {
        within = match number(seconds).filter(|seconds| (0.0..=3_600.0).contains(seconds)) {
            Some(seconds) => Some(Duration::from_secs_f64(seconds)),
            None => return fail("within takes seconds, like within 10 s"),
        };
        words = before.to_vec();
    }
    let deed = match *words.as_slice() {
        ["dial", number] => Deed::Dial(number.to_owned()),
        ["answer"] => Deed::Answer,
        ["say", "mark"] => Deed::SayMark,
        ["say", "nothing"] => Deed::SayNothing,
        ["hears", "mark"] => Deed::HearsMark,
        ["stay"] => Deed::Stay,
        ["ring"] => Deed::Ring,
        ["expect" | "refuse", status] => match status.parse() {
            Ok(status @ 300..=699) if words[0] == "expect" => Deed::Expect(status),
            Ok(status @ 300..=699) => Deed::Refuse(status),
            _ => return fail("a refusal has a status of 300 to 699, like expect 486"),
        },
        ["expect", "header", name, ..] if name.len() > 1 && name.ends_with(':') => {
            let value = rest.split_once(':').map_or("", |(_, value)| value.trim());
            Deed::ExpectHeader { name: name.trim_end_matches(':').to_owned(), value: value.to_owned() }
        }
        ["expect", "header", ..] => return fail("write it like expect header X-Account: 47*"),
        ["play", ..] => match rest.trim().strip_prefix("play").map(str::trim) {
            Some(file) if !file.is_empty() => Deed::Play(file.to_owned()),
            _ => return fail("write it like play hello.wav"),
        },
        ["vanish"] => Deed::Vanish,
        ["header", name, ..] if name.len() > 1 && name.ends_with(':') => {
            let value = rest.split_once(':').map_or("", |(_, value)| value.trim());
            Deed::Header { name: name.trim_end_matches(':').to_owned(), value: value.to_owned() }
        }
        ["header", ..] => return fail("write it like header X-Account: 4711"),
        ["say", hz] => match tone(hz) {
            Some(hz) => Deed::Say(hz),
            None => return fail("say takes a tone of 100 to 3800 Hz, like say 700 Hz"),
        },
        ["hears", ..] => match tones(&words[1..]) {
            Some((these, not)) => Deed::Hears { these, not },
            None => {
                return fail(
                    "tones have 100 to 3800 Hz; write it like hears 440 and 350 not 900 within 10 s",
                );
            }
        },
        ["press", digits] if digits.chars().all(|digit| "0123456789*#ABCD".contains(digit)) => {
            Deed::Press(digits.to_owned())
        }
        ["press", ..] => return fail("digits are 0 to 9, *, #, A to D, without spaces, like press 123#"),
        ["hold"] => Deed::Hold,
        ["resume"] => Deed::Resume,
        ["transfer", number] => Deed::Transfer(number.to_owned()),
        ["consult", number] => Deed::Consult(number.to_owned()),
        ["hand", "over"] => Deed::HandOver,
        ["hang", "up"] => Deed::HangUp,
        ["hung", "up"] => Deed::HungUp,
        ["wait", seconds] => match number(seconds).filter(|seconds| (0.0..=3_600.0).contains(seconds)) {
            Some(seconds) if within.is_none() => {
                within = Some(Duration::from_secs_f64(seconds));
                Deed::Wait
            }
            _ => return fail("wait takes seconds, like wait 2 s"),
        },
        ["cue", name] => Deed::Cue(name.to_owned()),
        _ => {
            return fail(
                "there is none like it; choose from dial, answer, say, hears, press, hold, resume, transfer, \
                 consult, hand over, hang up, hung up, wait, cue; for --role load also from header, expect, expect header, \
                 ring, refuse, stay, play, vanish, and 30 %: before a step",
            );
        }
    };
    let waits = matches!(
        deed,
        Deed::Dial(_)
            | Deed::Answer
            | Deed::Hears { .. }
            | Deed::HearsMark
            | Deed::Transfer(_)
            | Deed::Consult(_)
            | Deed::HandOver
            | Deed::HungUp
            | Deed::Wait
    );
    if within.is_some() && !waits {
        return fail("it waits for nothing, so it takes no within");
    }
    Ok(Step { deed, within: within.unwrap_or(PATIENCE), chance, text: text.trim().to_owned() })
}

fn number(word: &str) -> Option<f64> {
    word.parse().ok().filter(|number: &f64| number.is_finite())
}

fn tone(word: &str) -> Option<f64> {
    number(word).filter(|hz| TONES.contains(hz))
}

/// `440 and 350 not 900`: those that are heard, and those that are not.
fn tones(words: &[&str]) -> Option<(Vec<f64>, Vec<f64>)> {
    let (mut these, mut not) = (Vec::new(), Vec::new());
    let mut wanted = true;
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        match *word {
            "not" if wanted => wanted = false,
            "and" if !(these.is_empty() && not.is_empty()) => {}
            word => if wanted { &mut these } else { &mut not }.push(tone(word)?),
        }
        if words.peek().is_none() && matches!(*word, "not" | "and") {
            return None;
        }
    }
    (!(these.is_empty() && not.is_empty())).then_some((these, not))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deed(text: &str) -> Deed {
        step(text).unwrap_or_else(|error| panic!("{error}")).deed
    }

    #[test]
    fn steps_read_as_they_are_said() {
        assert_eq!(deed("dial 8000"), Deed::Dial("8000".to_owned()));
        assert_eq!(
            deed("hears 440 Hz and 350 not 900 Hz within 2.5 s"),
            Deed::Hears { these: vec![440.0, 350.0], not: vec![900.0] }
        );
        assert_eq!(deed("hears not 900"), Deed::Hears { these: vec![], not: vec![900.0] });
        assert_eq!(step("hears 440 within 2.5 s").unwrap().within, Duration::from_millis(2_500));
        assert_eq!(step("wait 2 s").unwrap().within, Duration::from_secs(2));
        let all = steps("answer; say 700 Hz; hold; resume; press *1; transfer 700; cue parked").unwrap();
        assert_eq!(all.len(), 7);
        assert_eq!((&all[4].deed, all[4].text.as_str()), (&Deed::Press("*1".to_owned()), "press *1"));
    }

    #[test]
    fn callers_and_callees_of_a_load_have_steps_of_their_own() {
        let read = caller("header X-Account: 47 11; dial 8000; say mark; hears mark within 2 s; 30 %: press 1; stay; hang up")
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(read[0].deed, Deed::Header { name: "X-Account".to_owned(), value: "47 11".to_owned() });
        assert_eq!((&read[4].deed, read[4].chance), (&Deed::Press("1".to_owned()), 0.3));
        assert_eq!(read[3].within, Duration::from_secs(2));
        assert!(caller("dial 8000; expect 486").is_ok());
        assert!(callee("ring; wait 2; answer; say mark; hung up").is_ok());
        assert!(callee("ring; wait 2; refuse 486").is_ok());
        let read = callee("expect header X-Account: 47*; answer; play a b.wav; wait 1; vanish").unwrap();
        let (name, value) = ("X-Account".to_owned(), "47*".to_owned());
        assert_eq!(read[0].deed, Deed::ExpectHeader { name, value });
        assert_eq!(read[2].deed, Deed::Play("a b.wav".to_owned()));
        assert!(callee("ring; vanish").is_ok());
        assert!(caller("dial 1; expect header Server: *; 50 %: vanish; hang up").is_ok());
        for (reader, text, said) in [
            (caller as fn(&str) -> _, "answer; hung up", "callers dial"),
            (caller, "hears mark; dial 1", "needs a call"),
            (caller, "dial 1; header A: b", "too late"),
            (caller, "dial 1; hang up; dial 2", "each scenario is one call"),
            (caller, "dial 1; cue x", "phones of a scene"),
            (callee, "answer; refuse 486", "too late"),
            (callee, "answer; expect header A: b", "too late"),
            (caller, "expect header A: b; dial 1", "needs a call"),
            (caller, "vanish; dial 1", "needs a call"),
            (caller, "dial 1; expect header Server", "like expect header"),
            (caller, "dial 1; play", "like play hello.wav"),
            (steps, "dial 1; vanish", "--role load"),
            (callee, "press 1; answer", "needs a call"),
            (caller, "dial 1; 130 %: press 1", "0 to 100 %"),
            (caller, "dial 1; expect 200", "like expect 486"),
            (steps, "dial 1; say mark; hang up", "--role load"),
        ] {
            let error = reader(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_wrong_names_the_step_and_says_what_to_write() {
        for (text, said) in [
            ("jump", "choose from dial"),
            ("hears 40", "100 to 3800 Hz"),
            ("hears 440 and", "like hears"),
            ("press 1-2", "like press 123#"),
            ("hang up within 3", "takes no within"),
            ("dial 8000 within long", "like within 10 s"),
            ("wait 2 within 3", "like wait 2 s"),
            ("hang up", "write dial or answer before"),
            ("dial 1; hand over", "write consult before"),
            ("dial 1; consult 2; hang up", "write hand over before"),
            ("dial 1; consult 2; hand over; say 440", "write dial or answer before"),
            ("dial 1; answer", "write hang up or hung up before"),
            (";", "no steps"),
        ] {
            let error = steps(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
