//! `<action>`: the actions of a step.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::element::{Element, Fault};
use super::pcap::packets;
use super::read::{Reading, regex};
use super::scenario::{Action, Ereg, Media, SearchIn, Stream, Variable};
use super::template::Template;
use super::variables::{ARITHMETIC, COMPARISONS, Comparison, Computation, Operand};
use b2b_media::file::is_named_as_sound;

/// Octets in a packet of 20 ms, for every payload type that can be played.
pub const PACKET: usize = 160;

/// Actions outside the subset, and their replacements.
const REFUSED: [(&str, &str); 4] = [
    ("play_pcap_image", "there is audio only"),
    ("play_pcap_video", "there is audio only"),
    (
        "play_dtmf",
        "write rtp_stream with a file of the tones, or say it in steps: --caller \"dial …; press 12\"",
    ),
    ("command", "programs are not started; write <log message=\"…\"/>"),
];

/// The actions of a step.
pub fn actions(reading: &mut Reading<'_>, step: Element<'_, '_>) -> Result<Vec<Action>, Fault> {
    let mut actions = Vec::new();
    for element in step.elements().flat_map(Element::elements) {
        actions.push(match element.name() {
            "ereg" => Action::Ereg(ereg(reading, element)?),
            "log" | "warning" | "error" => {
                element.only(&["message"])?;
                let message = text(reading, element, "message")?;
                if element.name() == "error" { Action::Fail(message) } else { Action::Log(message) }
            }
            "assignstr" => {
                element.only(&["assign_to", "value"])?;
                Action::Assign(assigned(reading, element)?, text(reading, element, "value")?)
            }
            "verifyauth" => {
                element.only(&["assign_to", "username", "password"])?;
                let (user, password) =
                    (text(reading, element, "username")?, text(reading, element, "password")?);
                Action::VerifyAuth { to: assigned(reading, element)?, user, password }
            }
            "exec" => match element.get("int_cmd") {
                Some(command) => int_cmd(reading, element, command)?,
                None => Action::Media(exec(reading, element)?),
            },
            other => match computation(reading, element)? {
                Some(computation) => Action::Compute(element.line(), computation),
                None => {
                    return Err(element.fault(format!(
                        "the action <{other}> is not of the subset: there are ereg, log, warning, error, exec rtp_stream, exec play_pcap_audio, \
                         exec int_cmd, verifyauth, assign, assignstr, add, subtract, multiply, divide, todouble, trim, test and strcmp"
                    )));
                }
            },
        });
    }
    Ok(actions)
}

/// The text of an attribute, with keywords.
fn text(reading: &mut Reading<'_>, element: Element<'_, '_>, name: &str) -> Result<Template, Fault> {
    let text = element.must(name, "text")?;
    Template::lines(text, &mut reading.names).map_err(|(_, reason)| element.fault(reason))
}

/// The variable that an action sets.
fn assigned(reading: &mut Reading<'_>, element: Element<'_, '_>) -> Result<Variable, Fault> {
    Ok(reading.names.variable(element.must("assign_to", "1")?))
}

/// An action that computes; `None`: another one.
fn computation(reading: &mut Reading<'_>, element: Element<'_, '_>) -> Result<Option<Computation>, Fault> {
    let name = element.name();
    let of = |reading: &mut Reading<'_>| Ok(reading.names.variable(element.must("variable", "1")?));
    let number = |reading: &mut Reading<'_>, variable: &str| {
        Ok(match (element.real("value")?, element.get(variable)) {
            (Some(value), None) => Operand::Written(value),
            (None, Some(name)) => Operand::Of(reading.names.variable(name)),
            _ => {
                return Err(element.fault(format!(
                    "<{name}> has no right side, or two; write value=\"1\" or {variable}=\"1\""
                )));
            }
        })
    };
    if let Some((_, operation)) = ARITHMETIC.iter().find(|(known, _)| *known == name) {
        element.only(&["assign_to", "value", "variable"])?;
        let (to, by) = (assigned(reading, element)?, number(reading, "variable")?);
        return Ok(Some(Computation::Arithmetic { to, operation: *operation, by }));
    }
    Ok(Some(match name {
        "todouble" => {
            element.only(&["assign_to", "variable"])?;
            Computation::ToNumber(assigned(reading, element)?, of(reading)?)
        }
        "trim" => {
            element.only(&["assign_to"])?;
            Computation::Trim(assigned(reading, element)?)
        }
        "test" | "strcmp" => {
            let mut known =
                vec!["assign_to", "variable", "value", "variable2", "check_it", "check_it_inverse"];
            known.extend((name == "test").then_some("compare"));
            element.only(&known)?;
            let check = check(element)?;
            let to =
                (check.is_none() || element.get("assign_to").is_some()).then(|| assigned(reading, element));
            let (to, left) = (to.transpose()?, of(reading)?);
            let with = match name {
                "test" => {
                    let written = element.must("compare", "equal")?;
                    let Some((_, compare)) = COMPARISONS.iter().find(|(known, _)| *known == written) else {
                        let known = COMPARISONS.map(|(known, _)| known).join(", ");
                        return Err(element.fault(format!("compare=\"{written}\" is not known; there are {known}")));
                    };
                    Comparison::Numbers(*compare, number(reading, "variable2")?)
                }
                _ => Comparison::Texts(match (element.get("value"), element.get("variable2")) {
                    (Some(value), None) => Operand::Written(value.as_bytes().to_vec()),
                    (None, Some(name)) => Operand::Of(reading.names.variable(name)),
                    _ => return Err(element.fault("<strcmp> compares with nothing, or with two; write value=\"text\" or variable2=\"1\"")),
                }),
            };
            Computation::Compare { to, of: left, with, check }
        }
        _ => return Ok(None),
    }))
}

/// What `check_it` and `check_it_inverse` want.
fn check(element: Element<'_, '_>) -> Result<Option<bool>, Fault> {
    match (element.is("check_it")?, element.is("check_it_inverse")?) {
        (true, true) => {
            Err(element.fault("check_it and check_it_inverse exclude each other; leave one of them out"))
        }
        (true, false) => Ok(Some(true)),
        (false, true) => Ok(Some(false)),
        (false, false) => Ok(None),
    }
}

fn ereg(reading: &mut Reading<'_>, element: Element<'_, '_>) -> Result<Ereg, Fault> {
    element.only(&[
        "regexp",
        "search_in",
        "header",
        "check_it",
        "check_it_inverse",
        "assign_to",
        "case_indep",
        "occurrence",
        "occurence",
        // a header field is found by its whole name here
        "start_line",
        "variable",
    ])?;
    let search_in = match element.get("search_in") {
        None | Some("msg") => SearchIn::Message,
        Some("body") => SearchIn::Body,
        Some("hdr") => {
            let header = element.must("header", "From:")?;
            let name = header.trim_end_matches([' ', ':']);
            let occurrence = match element.get("occurrence") {
                Some(_) => element.number("occurrence")?,
                // SIPp's spelling
                None => element.number("occurence")?,
            };
            let occurrence = occurrence.map_or(0, |n| (n as usize).saturating_sub(1));
            // SIPp takes all behind what is written, and so the colon, too
            let (behind_colon, trimmed) = (header.contains(':'), header.ends_with(' '));
            SearchIn::Header { name: name.to_owned(), occurrence, behind_colon, trimmed }
        }
        Some("var") => SearchIn::Variable(reading.names.variable(element.must("variable", "1")?)),
        Some(other) => {
            return Err(element
                .fault(format!("search_in=\"{other}\" is not of the subset: write msg, hdr, body or var")));
        }
    };
    let check = check(element)?;
    let assigned = element.get("assign_to").unwrap_or_default().split(',').map(str::trim);
    let assign_to: Vec<_> =
        assigned.filter(|name| !name.is_empty()).map(|name| reading.names.variable(name)).collect();
    if check.is_none() && assign_to.is_empty() {
        return Err(element
            .fault("<ereg> does nothing with what it finds; write assign_to=\"1\" or check_it=\"true\""));
    }
    let regex = regex(element, element.must("regexp", "[0-9]+")?, element.is("case_indep")?)?;
    Ok(Ereg { line: element.line(), regex, search_in, check, assign_to })
}

fn int_cmd(reading: &mut Reading<'_>, element: Element<'_, '_>, command: &str) -> Result<Action, Fault> {
    element.only(&["int_cmd"])?;
    match command {
        "stop_gracefully" => Ok(Action::StopRun(None)),
        "stop_now" | "stop_call" => {
            let text = Template::lines(&format!("int_cmd {command}"), &mut reading.names);
            let text = text.map_err(|(_, reason)| element.fault(reason))?;
            Ok(if command == "stop_call" { Action::Fail(text) } else { Action::StopRun(Some(text)) })
        }
        other => Err(element.fault(format!(
            "int_cmd=\"{other}\" is not known; write stop_call, stop_gracefully or stop_now"
        ))),
    }
}

fn exec(reading: &Reading<'_>, element: Element<'_, '_>) -> Result<Media, Fault> {
    for (name, instead) in REFUSED {
        if element.get(name).is_some() {
            return Err(element.fault(format!("exec {name} is not of the subset: {instead}")));
        }
    }
    element.only(&["rtp_stream", "rtp_echo", "play_pcap_audio"])?;
    if let Some(echo) = element.get("rtp_echo") {
        return match echo.split(',').next().map(str::trim) {
            Some("startaudio" | "updateaudio" | "start") => Ok(Media::Echo(true)),
            Some("stopaudio" | "stop") => Ok(Media::Echo(false)),
            _ => Err(element
                .fault(format!("rtp_echo=\"{echo}\" is not of the subset: write startaudio or stopaudio"))),
        };
    }
    let no_sound = |file: &str, why: String| element.fault(format!("{file}: {why}"));
    if let Some(file) = element.get("play_pcap_audio") {
        let read = sound(reading, file).and_then(|octets| packets(&octets));
        return Ok(Media::Packets(Arc::new(read.map_err(|why| no_sound(file, why))?)));
    }
    let written = element.must("rtp_stream", "FILE,-1,0,PCMU/8000")?;
    let mut parts = written.split(',').map(str::trim);
    let file = parts.next().unwrap_or_default();
    match file {
        "pause" | "pauseapattern" => return Ok(Media::Pause),
        "resume" | "resumeapattern" => return Ok(Media::Resume),
        "apattern" | "vpattern" | "" => {
            return Err(element.fault(format!(
                "rtp_stream=\"{written}\" is not of the subset: write a file, like \"tone.ulaw,-1,0,PCMU/8000\""
            )));
        }
        _ => {}
    }
    let times = match parts.next().map(str::parse::<i32>) {
        None => Some(1),
        Some(Ok(times)) => u32::try_from(times).ok().filter(|times| *times > 0),
        Some(Err(_)) => {
            return Err(
                element.fault(format!("rtp_stream=\"{written}\": the count is not a number; write -1"))
            );
        }
    };
    let payload_type = match (parts.next(), parts.next()) {
        (None | Some("0"), None | Some("PCMU/8000")) => 0,
        (Some("8"), None | Some("PCMA/8000")) => 8,
        (Some("9"), None | Some("G722/8000")) => 9,
        _ => {
            return Err(element.fault(format!(
                "rtp_stream=\"{written}\": the payload is not of the subset: write 0,PCMU/8000, 8,PCMA/8000 or 9,G722/8000"
            )));
        }
    };
    let octets = sound(reading, file).map_err(|why| no_sound(file, why))?;
    if octets.len() < PACKET {
        return Err(element.fault(format!("rtp_stream: {file} has less than 20 ms")));
    }
    Ok(Media::Play(Arc::new(Stream { octets, times, payload_type })))
}

/// The octets of a file that is sent. Scenarios come from others and a peer hears it, so it is beneath the
/// scenario's folder, or named as a sound beneath the working directory, or any that a key of the command line
/// names, with or without the key here. Found from the working directory as in SIPp, or else from the scenario.
fn sound(reading: &Reading<'_>, file: &str) -> Result<Vec<u8>, String> {
    let key = file.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let named = key.and_then(|key| reading.names.keys.get(key));
    let here = PathBuf::from(named.map_or(file, String::as_str));
    let path = if named.is_some() || here.exists() { here } else { reading.folder.join(file) };
    let instead = "name a file beneath the folder of the scenario, or add --scenario-key sound=FILE";
    let failed = |error: std::io::Error| format!("{error}; {instead}");
    let real = path.canonicalize().map_err(failed)?;
    let here = Path::new(".");
    let folder = if reading.folder.as_os_str().is_empty() { here } else { reading.folder };
    let is_named = |key: &String| Path::new(key).canonicalize().is_ok_and(|named| named == real);
    let is_beneath = |folder: &Path| folder.canonicalize().is_ok_and(|folder| real.starts_with(folder));
    let is_sound = is_named_as_sound(&real) || real.extension().is_some_and(|it| it == "pcap");
    let may = is_beneath(folder) || is_sound && is_beneath(here);
    if !may && !reading.names.keys.values().any(is_named) {
        return Err(format!("it is not beneath the folder of the scenario; {instead}"));
    }
    if !real.is_file() {
        return Err(format!("it is no file; {instead}"));
    }
    std::fs::read(real).map_err(failed)
}
