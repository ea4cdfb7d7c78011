//! The steps of a scripted phone, and of the load role's callers and callees, as text: `dial 8000; hears 440
//! within 10 s; hang up`.
//!
//! | step | effect |
//! |---|---|
//! | `dial NUMBER` | calls, and waits for the answer |
//! | `answer` | waits for a call, and answers it |
//! | `say HZ`, `say nothing` | sends a tone from now on, to the end of the call; sends silence |
//! | `play FILE` | plays an audio file once, while the next steps go on |
//! | `hears HZ and HZ not HZ` | waits until the far end sends the tones before `not`, and none after it |
//! | `press DIGITS` | sends digits (RFC 4733) |
//! | `hold`, `resume` | |
//! | `transfer NUMBER` | transfers the far end to that number; the call ends once the target has answered |
//! | `consult NUMBER` | holds, calls that number, waits for the answer; the next steps are in that call |
//! | `hand over` | connects the held and the consulted party; both calls end |
//! | `hang up` | ends the call |
//! | `hung up` | waits until the far end ends the call |
//! | `wait SECONDS` | |
//! | `record FILE` | records the call from now on to its end: sent audio left, received audio right |
//! | `cue NAME` | gives a cue, for phones that start then |
//!
//! The load role has no `record` and no `cue`, but these additional steps:
//!
//! | step | effect |
//! |---|---|
//! | `header NAME: VALUE` | adds a header field to the INVITE of the next `dial` |
//! | `expect STATUS` | the preceding `dial` must be refused with this status |
//! | `expect header NAME: VALUE` | INVITE or answer must have this field; `*` at its end matches all |
//! | `ring` | sends 180, before `answer` or `refuse` |
//! | `progress` | sends 183 with early media: what is said before `answer` or `refuse` is heard |
//! | `offer CODEC and CODEC` | offers these codecs from now on, in a re-INVITE |
//! | `refuse STATUS` | refuses a call |
//! | `say mark` | sends the mark of its call |
//! | `vanish` | sends nothing and answers nothing from now on |
//! | `give up after SECONDS` | the preceding `dial` is cancelled after this time, unless answered |
//! | `may refuse` | the preceding `dial` or `transfer` may be refused, with any status |
//! | `may hang up` | from now on the far end may end the call |
//! | `wait A to B` | waits for a random time between these |
//! | `hears mark` | waits for the mark of the far end |
//! | `stay` | waits for the holding time of the plan |
//! | `speak TEXT` | speaks this text, synthesised once for all calls, while the next steps go on |
//! | `said` | waits for the end of what it plays or speaks |
//! | `hears speech` | waits until the far end speaks, or sends other sound |
//! | `hears speech for S` | waits until the far end has spoken for S seconds in all, from the step on |
//! | `hears silence for S` | waits until the far end has been silent for S seconds, from the step on |
//! | `hears nothing for S` | the far end must be silent for the next S seconds |
//! | `echo` | sends back what it hears from now on |
//! | `N %: STEP` | does the step in this percentage of calls |
//!
//! Waiting steps may end with `within SECONDS`. `Hz` and `s` may follow their numbers.

use std::time::Duration;

use b2b_base::codec::{Codec, UnknownCodec};

/// Default time limit of a step.
const PATIENCE: Duration = Duration::from_secs(30);
/// Range of tones in the telephone band, Hz.
const TONES: std::ops::RangeInclusive<f64> = 100.0..=3_800.0;

/// The action of a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    Dial(String),
    Answer,
    Say(f64),
    Hears {
        these: Vec<f64>,
        not: Vec<f64>,
    },
    Press(String),
    Hold,
    Resume,
    Transfer(String),
    Consult(String),
    HandOver,
    HangUp,
    HungUp,
    Wait,
    Record(String),
    Cue(String),
    Header {
        name: String,
        value: String,
    },
    Expect(u16),
    Ring,
    /// 183 with early media.
    Progress,
    Refuse(u16),
    SayMark,
    SayNothing,
    HearsMark,
    Stay,
    ExpectHeader {
        name: String,
        value: String,
    },
    Play(String),
    Vanish,
    GiveUp(Duration),
    MayRefuse,
    MayHangUp,
    /// [`Deed::Wait`] for a random time, up to this one.
    WaitUpTo(Duration),
    Speak(String),
    /// Waits for the end of what is played.
    Said,
    /// Speech of this length in all; zero: any.
    HearsSpeech(Duration),
    HearsSilence(Duration),
    /// Fails if there is sound within the length of the step.
    HearsNothing,
    Echo,
    /// A re-INVITE with these codecs.
    Offer(Vec<Codec>),
}

impl Deed {
    /// Whether only the load role supports it.
    pub fn is_of_load(&self) -> bool {
        matches!(
            self,
            Deed::Header { .. }
                | Deed::Expect(_)
                | Deed::Ring
                | Deed::Progress
                | Deed::Refuse(_)
                | Deed::SayMark
                | Deed::HearsMark
                | Deed::Stay
                | Deed::ExpectHeader { .. }
                | Deed::Vanish
                | Deed::GiveUp(_)
                | Deed::MayRefuse
                | Deed::MayHangUp
                | Deed::WaitUpTo(_)
                | Deed::Speak(_)
                | Deed::Said
                | Deed::HearsSpeech(_)
                | Deed::HearsSilence(_)
                | Deed::HearsNothing
                | Deed::Echo
                | Deed::Offer(_)
        )
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub deed: Deed,
    /// Its time limit; for [`Deed::Wait`] and [`Deed::HearsNothing`], its length.
    pub within: Duration,
    /// The share of calls in which it is done, 0 to 1; other than 1 only for the load role.
    pub chance: f64,
    /// The step, as written.
    pub text: String,
}

impl Step {
    /// The tone that it sends, Hz.
    pub fn says(&self) -> Option<f64> {
        match self.deed {
            Deed::Say(hz) => Some(hz),
            _ => None,
        }
    }
}

/// Parses the steps of a phone, separated by `;`, and checks that they fit together.
///
/// # Errors
/// The first invalid step, and the remedy.
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

/// Parses the steps of a caller of the load role: one call, started by `dial`.
///
/// # Errors
/// The first invalid step, and the remedy.
pub fn caller(text: &str) -> Result<Vec<Step>, String> {
    one_call(
        text,
        |deed| matches!(deed, Deed::Dial(_)),
        |deed| matches!(deed, Deed::Header { .. } | Deed::Wait | Deed::WaitUpTo(_)),
    )
}

/// Parses the steps of a callee of the load role: one call, ended by `refuse` or started by `answer`.
///
/// # Errors
/// The first invalid step, and the remedy.
pub fn callee(text: &str) -> Result<Vec<Step>, String> {
    one_call(
        text,
        |deed| matches!(deed, Deed::Answer),
        |deed| {
            let waits = matches!(deed, Deed::Wait | Deed::WaitUpTo(_) | Deed::HungUp | Deed::MayHangUp);
            let responds = matches!(deed, Deed::Ring | Deed::Progress | Deed::Refuse(_) | Deed::Vanish);
            waits || responds || matches!(deed, Deed::ExpectHeader { .. })
        },
    )
}

/// Parses the steps of one call: `begins` selects the step that starts it, `before` those allowed before
/// that.
fn one_call(text: &str, begins: fn(&Deed) -> bool, before: fn(&Deed) -> bool) -> Result<Vec<Step>, String> {
    let steps = all(text)?;
    let (mut up, mut early) = (false, false);
    let mut before_it: Option<&Deed> = None;
    for step in &steps {
        let fault = match &step.deed {
            Deed::Cue(_) | Deed::Record(_) | Deed::Consult(_) | Deed::HandOver => {
                "is for phones; leave it out"
            }
            Deed::Dial(_) | Deed::Answer if !begins(&step.deed) => {
                "is the other party's: callers dial, callees answer"
            }
            Deed::Ring | Deed::Progress | Deed::Refuse(_) if !before(&step.deed) => "is for callees",
            Deed::Dial(_) | Deed::Answer if up => "comes within the call; each scenario is one call",
            deed if begins(deed) => "",
            Deed::Wait | Deed::WaitUpTo(_) | Deed::HungUp | Deed::Vanish | Deed::MayHangUp if up => "",
            Deed::GiveUp(_) if !matches!(before_it, Some(Deed::Dial(_))) => {
                "is for a dial; write it right behind"
            }
            Deed::MayRefuse if !matches!(before_it, Some(Deed::Dial(_) | Deed::Transfer(_))) => {
                "is for a dial or a transfer; write it right behind"
            }
            deed if early && is_sent(deed) => "",
            deed if up == before(deed) => {
                if up {
                    "comes too late; write it before dial or answer"
                } else if is_sent(deed) && before(&Deed::Progress) {
                    "needs a call; write dial, answer or progress before"
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
        early |= step.deed == Deed::Progress;
        // several of these may follow a dial
        if !matches!(step.deed, Deed::GiveUp(_) | Deed::MayRefuse) {
            before_it = Some(&step.deed);
        }
    }
    Ok(steps)
}

/// Whether a step is about what is sent as audio.
fn is_sent(deed: &Deed) -> bool {
    let speaks = matches!(deed, Deed::Play(_) | Deed::Speak(_) | Deed::Said | Deed::Echo);
    speaks || matches!(deed, Deed::Say(_) | Deed::SayMark | Deed::SayNothing)
}

fn all(text: &str) -> Result<Vec<Step>, String> {
    let written = text.split(';').map(str::trim).filter(|step| !step.is_empty());
    let steps: Vec<Step> = written.map(step).collect::<Result<_, _>>()?;
    if steps.is_empty() {
        return Err("no steps; write them like \"dial 8000; hears 440; hang up\"".to_owned());
    }
    Ok(steps)
}

/// Parses one step.
///
/// # Errors
/// The error, and the right format.
pub fn step(text: &str) -> Result<Step, String> {
    let fail = |reason: &str| Err(format!("the step `{text}`: {reason}"));
    let (chance, rest) = match text.split_once("%:") {
        None => (1.0, text),
        Some((share, rest)) => match number(share.trim()).filter(|share| (0.0..=100.0).contains(share)) {
            Some(share) => (share / 100.0, rest),
            None => return fail("a share is 0 to 100 %, like 30 %: press 1"),
        },
    };
    let step = |deed, within| Ok(Step { deed, within, chance, text: text.trim().to_owned() });
    // a text may have any words
    let (verb, spoken) = rest.trim().split_once(char::is_whitespace).unwrap_or((rest.trim(), ""));
    if verb == "speak" {
        let spoken = match spoken.trim() {
            spoken if spoken.chars().any(char::is_alphanumeric) => spoken.to_owned(),
            _ => return fail("it needs a text; write it like speak What are your opening hours?"),
        };
        return step(Deed::Speak(spoken), PATIENCE);
    }
    let mut words: Vec<&str> = Vec::new();
    for word in rest.split_whitespace() {
        let unit = matches!(word, "Hz" | "s") && words.last().is_some_and(|last| number(last).is_some());
        if !unit {
            words.push(word);
        }
    }
    let mut within = None;
    if let [before @ .., "within", seconds] = words.as_slice() {
        within = match length(seconds) {
            Some(length) => Some(length),
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
        ["hears", "speech"] => Deed::HearsSpeech(Duration::ZERO),
        ["hears", what @ ("speech" | "silence" | "nothing"), "for", seconds] => {
            match (what, length(seconds), within) {
                ("speech", Some(length), limit) if length <= limit.unwrap_or(PATIENCE) => {
                    Deed::HearsSpeech(length)
                }
                ("silence", Some(length), limit) if length <= limit.unwrap_or(PATIENCE) => {
                    Deed::HearsSilence(length)
                }
                ("nothing", Some(length), None) => {
                    within = Some(length);
                    Deed::HearsNothing
                }
                _ => {
                    return fail(
                        "write it like hears silence for 1 s within 5 s, hears speech for 2 s, hears nothing for 3 s",
                    );
                }
            }
        }
        ["said"] => Deed::Said,
        ["echo"] => Deed::Echo,
        ["stay"] => Deed::Stay,
        ["ring"] => Deed::Ring,
        ["progress"] => Deed::Progress,
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
        ["play" | "record", ..] => match rest.trim().split_once(char::is_whitespace) {
            Some(("play", file)) => Deed::Play(file.trim().to_owned()),
            Some((_, file)) => Deed::Record(file.trim().to_owned()),
            None => return fail("it needs a file; write it like play hello.wav, record heard.wav"),
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
        ["offer", ref names @ ..] => {
            let codecs = names.split(|word| *word == "and").map(|name| name.concat().parse()).collect();
            match codecs {
                Ok(codecs) => Deed::Offer(codecs),
                Err(UnknownCodec(_)) => {
                    return fail(
                        "the codecs are opus, g722, pcmu and pcma; write it like offer g722 and pcma",
                    );
                }
            }
        }
        ["hold"] => Deed::Hold,
        ["resume"] => Deed::Resume,
        ["transfer", number] => Deed::Transfer(number.to_owned()),
        ["consult", number] => Deed::Consult(number.to_owned()),
        ["hand", "over"] => Deed::HandOver,
        ["may", "hang", "up"] => Deed::MayHangUp,
        ["may", "refuse"] => Deed::MayRefuse,
        ["give", "up", "after", seconds] => match length(seconds) {
            Some(length) => Deed::GiveUp(length),
            None => return fail("write it like give up after 2 s"),
        },
        ["hang", "up"] => Deed::HangUp,
        ["hung", "up"] => Deed::HungUp,
        ["wait", seconds] => match length(seconds) {
            Some(length) if within.is_none() => {
                within = Some(length);
                Deed::Wait
            }
            _ => return fail("wait takes seconds, like wait 2 s"),
        },
        ["wait", least, "to", most] => match length(least).zip(length(most)) {
            Some((least, most)) if within.is_none() && least <= most => {
                within = Some(least);
                Deed::WaitUpTo(most)
            }
            _ => return fail("write it like wait 1 to 5 s, the shorter time first"),
        },
        ["cue", name] => Deed::Cue(name.to_owned()),
        _ => {
            return fail(
                "there is none like it; choose from dial, answer, say, play, record, hears, press, hold, resume, \
                 transfer, consult, hand over, hang up, hung up, wait, cue; for --role load also from header, expect, \
                 expect header, ring, progress, refuse, offer, stay, vanish, give up, may refuse, may hang up, wait A to B, speak, said, hears speech for S, \
                 hears silence for S, hears nothing for S, echo, and 30 %: before a step",
            );
        }
    };
    let waits = matches!(
        deed,
        Deed::Dial(_)
            | Deed::Answer
            | Deed::Hears { .. }
            | Deed::HearsMark
            | Deed::HearsSpeech(_)
            | Deed::HearsSilence(_)
            | Deed::HearsNothing
            | Deed::Said
            | Deed::Transfer(_)
            | Deed::Consult(_)
            | Deed::HandOver
            | Deed::HungUp
            | Deed::Wait
            | Deed::WaitUpTo(_)
    );
    if within.is_some() && !waits {
        return fail("it waits for nothing, so it takes no within");
    }
    step(deed, within.unwrap_or(PATIENCE))
}

fn number(word: &str) -> Option<f64> {
    word.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Seconds, up to an hour.
fn length(word: &str) -> Option<Duration> {
    number(word).filter(|seconds| (0.0..=3_600.0).contains(seconds)).map(Duration::from_secs_f64)
}

fn tone(word: &str) -> Option<f64> {
    number(word).filter(|hz| TONES.contains(hz))
}

/// `440 and 350 not 900`: the tones that must be present, and those that must be absent.
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
mod tests;
