//! Limits the size of a set of methods of `Switch` and the types that it consists of which all reach each other, directly
//! or by the consequences that they queue: who makes a `Follow::Dial` or an `OnMedia::Opened` reaches what is done at it.
//!
//! It reads the sources as text, without a compiler: a method calls another one by `self.name(…)`, on the receivers of
//! [`RECEIVERS`], by the name alone on another receiver if nothing else in the room has a method of that
//! name, by `Switch::name`, and through functions and closures in the room.

mod rust_text;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use rust_text::connected_sets::connected_sets;
use rust_text::tokens;

/// Maximum number of methods and consequences that may all reach each other; to be lowered when the number falls.
const MOST: usize = 12;

/// The switch, a step of one of its calls, and what the calls share.
const PARTS: &[&str] = &["Switch", "CallStep", "Common", "World"];

/// The type behind the words before a method's name: a variable, a field, or a method that returns one.
const RECEIVERS: &[(&str, &str)] = &[
    ("switch", "Switch"),
    ("step", "CallStep"),
    ("step_of", "CallStep"),
    ("step_for", "CallStep"),
    ("common", "Common"),
];

/// Number of the largest sets to print.
const PRINTED: usize = 8;

/// A function of the folder, and its calls.
struct Function {
    /// The type of which it is a method, or the enum of which it is a consequence; `None` for a free function.
    of: Option<String>,
    name: String,
    /// The type of `self` in it.
    own: Option<String>,
    /// It has a switch as a parameter, or is a method of it.
    has_switch: bool,
    body: Vec<String>,
}

impl Function {
    fn shown(&self) -> String {
        match self.of.as_deref() {
            Some(of) if PARTS.contains(&of) => self.name.clone(),
            None => format!("::{}", self.name),
            Some(of) => format!("{of}::{}", self.name),
        }
    }
}

#[test]
fn methods_of_the_switch_do_not_call_each_other_in_large_circles() {
    let functions = functions_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/call"));
    assert!(functions.len() > 500, "the sources of the switch were not found");
    let calls = calls_among(&functions);
    let mut sets = connected_sets(&calls);
    sets.retain(|set| set.len() > 1);
    sets.sort_by_key(|set| std::cmp::Reverse(set.len()));
    for set in sets.iter().take(PRINTED) {
        let mut names: Vec<String> = set.iter().map(|it| functions[*it].shown()).collect();
        names.sort();
        println!("{}: {}", set.len(), names.join(" "));
    }
    if std::env::var_os("B2B_PRINT_CALLS").is_some() {
        for (from, targets) in calls.iter().enumerate() {
            for to in targets {
                println!("call {} -> {}", functions[from].shown(), functions[*to].shown());
            }
        }
    }
    let largest = sets.first().map_or(0, Vec::len);
    assert!(largest <= MOST, "{largest} methods reach each other, and no more than {MOST} may: see above");
    assert!(largest == MOST, "only {largest} methods reach each other: lower MOST");
}

#[test]
fn circles_are_found_through_functions_and_closures() {
    let text = "
        impl Switch {
            fn a(&mut self) { self.fact(|it| it.b()); }
            fn b(&mut self) { free(self) }
            fn c(&mut self, next: fn(&mut Self)) { self.c(Switch::a); }
            fn d(&self) { self.leg.c(); other.a::<u8>(); }
            fn f(&mut self) { self.push(Follow::G { call: 1 }); }
            fn g(&mut self) { self.waits(OnMedia::H(OnEnd::I)); }
            fn h(&mut self) { self.step_of(leg(1)).k(); }
            fn follow(&mut self, next: Follow) {
                match next {
                    Follow::G { call } if call > 0 => self.g(),
                    Follow::H(on) => match on { OnMedia::H(_) | OnMedia::J => { self.h() } }
                }
            }
        }
        impl CallStep<'_> { fn k(&mut self) { self.common.l(); } }
        impl Common { fn l(&mut self) { self.follows.push(Follow::G { call: 1 }); } }
        fn free(switch: &mut Switch) { switch.c() }
        impl Other { fn e(&self) { self.e(); } }
        #[cfg(test)]
        mod tests { fn f(switch: &mut Switch) { switch.d(); } }
    ";
    let mut functions = Vec::new();
    functions_in(&tokens(without_tests(text)), &mut functions);
    assert_eq!(functions.len(), 16, "twelve functions and four consequences");
    let mut sets = connected_sets(&calls_among(&functions));
    sets.retain(|set| set.len() > 1);
    let mut names: Vec<String> = sets.concat().into_iter().map(|it| functions[it].shown()).collect();
    names.sort();
    assert_eq!(sets.len(), 2);
    assert_eq!(names.join(" "), "::free Follow::G OnMedia::H a b c g h k l");
}

// ---- the functions

fn functions_of(folder: &Path) -> Vec<Function> {
    let (mut files, mut functions) = (Vec::new(), Vec::new());
    rust_files(folder, &mut files);
    files.sort();
    for path in files {
        let text = fs::read_to_string(&path).expect("readable source");
        functions_in(&tokens(without_tests(&text)), &mut functions);
    }
    functions
}

/// Files of a folder that are not tests.
fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("readable folder") {
        let path = entry.expect("readable folder").path();
        let test = path.file_stem().is_some_and(|stem| stem == "tests");
        if path.is_dir() && !test {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !test {
            files.push(path);
        }
    }
}

/// The source up to its inline test module, which is at the end.
fn without_tests(text: &str) -> &str {
    let inline = text.match_indices("#[cfg(test)]").find(|(at, mark)| {
        let next = text[at + mark.len()..].trim_start();
        next.starts_with("mod ") && next.lines().next().is_some_and(|line| line.contains('{'))
    });
    inline.map_or(text, |(at, _)| &text[..at])
}

/// The functions of a source, each with its parameters and body; a nested function is part of the outer one.
fn functions_in(tokens: &[String], found: &mut Vec<Function>) {
    let (mut at, mut of) = (0, None);
    // End of the current `impl`.
    let mut end = 0;
    while at < tokens.len() {
        if at >= end {
            of = None;
        }
        match tokens[at].as_str() {
            "impl" => {
                let open = position(tokens, at, "{");
                of = implemented(&tokens[at + 1..open]);
                end = behind(tokens, open);
                at = open + 1;
            }
            "fn" if tokens.get(at + 1).is_some_and(|it| is_name(it)) => {
                let stop = (at..tokens.len()).find(|it| matches!(tokens[*it].as_str(), "{" | ";"));
                let open = stop.unwrap_or(tokens.len());
                let close =
                    if tokens.get(open).is_some_and(|it| it == "{") { behind(tokens, open) } else { open };
                let is_part = |it: &str| PARTS.contains(&it);
                let has_switch =
                    of.as_deref().is_some_and(is_part) || tokens[at..open].iter().any(|it| is_part(it));
                let (body, consequences) = without_consequences(&tokens[open..close]);
                let own = of.clone();
                found.push(Function { of: of.clone(), name: tokens[at + 1].clone(), own, has_switch, body });
                found.extend(consequences.into_iter().map(|arm| Function {
                    of: Some(arm.of),
                    name: arm.variant,
                    own: of.clone(),
                    has_switch,
                    body: arm.body,
                }));
                at = close.max(at + 1);
            }
            _ => at += 1,
        }
    }
}

/// Whether an enum holds what is done later in the turn, or at an answer.
fn is_of_consequences(name: &str) -> bool {
    let is_on = name.strip_prefix("On").is_some_and(|rest| rest.starts_with(char::is_uppercase));
    matches!(name, "Follow" | "Effect" | "DialogCommand") || is_on
}

/// The arm of a `match` that carries out one consequence.
struct Arm {
    /// The enum's name.
    of: String,
    variant: String,
    body: Vec<String>,
}

/// A body without the arms that match consequences, and these arms.
fn without_consequences(body: &[String]) -> (Vec<String>, Vec<Arm>) {
    let (mut rest, mut found, mut at) = (Vec::new(), Vec::new(), 0);
    let word = |at: usize| body.get(at).map(String::as_str).unwrap_or_default();
    while at < body.len() {
        let mut variants = Vec::new();
        let mut behind_pattern = at;
        // `A { .. } | B(_) if guard => `
        while is_of_consequences(word(behind_pattern)) && word(behind_pattern + 1) == "::" {
            variants.push((word(behind_pattern).to_owned(), word(behind_pattern + 2).to_owned()));
            behind_pattern += 3;
            if matches!(word(behind_pattern), "{" | "(") {
                behind_pattern = behind_bracket(body, behind_pattern);
            }
            behind_pattern += usize::from(word(behind_pattern) == "|");
        }
        if !variants.is_empty() && word(behind_pattern) == "if" {
            let arrow = |at: &usize| word(*at) == "=" && word(at + 1) == ">";
            behind_pattern = (behind_pattern..body.len()).find(arrow).unwrap_or(behind_pattern);
        }
        if variants.is_empty() || (word(behind_pattern), word(behind_pattern + 1)) != ("=", ">") {
            rest.push(body[at].clone());
            at += 1;
            continue;
        }
        let from = behind_pattern + 2;
        at = match word(from) {
            "{" => behind_bracket(body, from),
            _ => end_of_expression(body, from),
        };
        let (arm, inner) = without_consequences(&body[from..at]);
        found.extend(variants.into_iter().map(|(of, variant)| Arm { of, variant, body: arm.clone() }));
        found.extend(inner);
    }
    (rest, found)
}

/// The position after the bracket that closes this one.
fn behind_bracket(tokens: &[String], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        depth += usize::from(matches!(token.as_str(), "{" | "(" | "["));
        depth -= usize::from(matches!(token.as_str(), "}" | ")" | "]") && depth > 0);
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// The position of the comma or bracket that ends an expression.
fn end_of_expression(tokens: &[String], from: usize) -> usize {
    let mut at = from;
    while at < tokens.len() {
        match tokens[at].as_str() {
            "{" | "(" | "[" => at = behind_bracket(tokens, at),
            "," | "}" | ")" | "]" => return at,
            _ => at += 1,
        }
    }
    at
}

/// The type of an `impl`, from the words before its brace.
fn implemented(words: &[String]) -> Option<String> {
    let mut depth = 0_usize;
    let mut outer = Vec::new();
    for word in words {
        match word.as_str() {
            "<" => depth += 1,
            ">" => depth = depth.saturating_sub(1),
            word if depth == 0 => outer.push(word),
            _ => {}
        }
    }
    let from = outer.iter().position(|it| *it == "for").map_or(0, |at| at + 1);
    let until = outer.iter().position(|it| *it == "where").unwrap_or(outer.len());
    outer[from..until].iter().rfind(|it| is_name(it)).map(ToString::to_string)
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn position(tokens: &[String], from: usize, sign: &str) -> usize {
    (from..tokens.len()).find(|it| tokens[*it] == sign).unwrap_or(tokens.len())
}

/// The position after the brace that closes this one.
fn behind(tokens: &[String], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.as_str() {
            "{" => depth += 1,
            "}" if depth == 1 => return at + 1,
            "}" => depth -= 1,
            _ => {}
        }
    }
    tokens.len()
}

// ---- the call graph

fn calls_among(functions: &[Function]) -> Vec<Vec<usize>> {
    let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, function) in functions.iter().enumerate() {
        by_name.entry(&function.name).or_default().push(at);
    }
    let calls = |function: &Function| {
        let mut called: Vec<usize> = (0..function.body.len())
            .filter_map(|at| {
                let named = by_name.get(function.body[at].as_str())?;
                called_at(functions, function, at, named)
            })
            .flatten()
            .collect();
        called.sort_unstable();
        called.dedup();
        called
    };
    functions.iter().map(calls).collect()
}

/// The functions of this name that are called, or passed as values, at this position of a body.
fn called_at(functions: &[Function], caller: &Function, at: usize, named: &[usize]) -> Option<Vec<usize>> {
    let before = |back: usize| at.checked_sub(back).map(|it| caller.body[it].as_str()).unwrap_or_default();
    let after = |on: usize| caller.body.get(at + on).map(String::as_str).unwrap_or_default();
    let of = |of: Option<&str>| -> Vec<usize> {
        named.iter().copied().filter(|it| functions[*it].of.as_deref() == of).collect()
    };
    let is_given_one = |it: &Function| it.of.is_none() && it.has_switch;
    let is_call = after(1) == "(" || after(1) == "::" && after(2) == "<";
    match before(1) {
        "." if is_call && before(2) == "self" && before(3) != "." => Some(of(caller.own.as_deref())),
        "." if is_call && receiver(&caller.body[..at - 1]).is_some() => {
            Some(of(receiver(&caller.body[..at - 1])))
        }
        // Another receiver may be a switch if nothing else has a method of that name.
        "." if is_call && is_name(before(2)) && before(3) != "." => {
            let only = named.iter().all(|it| functions[*it].has_switch && functions[*it].of.is_some());
            Some(named.iter().copied().filter(|_| only).collect())
        }
        "::" if before(2) == "Self" => Some(of(caller.own.as_deref())),
        "::" => Some(of(Some(before(2)))),
        "." => None,
        // A function without a switch parameter calls no methods of it.
        _ => Some(named.iter().copied().filter(|it| is_given_one(&functions[*it])).collect()),
    }
}

/// The type of a receiver, from the words up to it.
fn receiver(words: &[String]) -> Option<&'static str> {
    let mut at = words.len().checked_sub(1)?;
    if words[at] == ")" {
        let mut depth = 0_usize;
        at = (0..=at).rev().find(|it| {
            depth += usize::from(words[*it] == ")");
            depth -= usize::from(words[*it] == "(");
            depth == 0
        })?;
        at = at.checked_sub(1)?;
    }
    RECEIVERS.iter().find(|(name, _)| *name == words[at]).map(|(_, of)| *of)
}
