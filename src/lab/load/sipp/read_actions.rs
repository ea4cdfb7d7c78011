//! `<action>`: the actions of a step.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::element::{Element, Fault};
use super::read::{Reading, regex};
use super::scenario::{Action, Ereg, Media, SearchIn, Stream};
use super::template::Template;

/// Octets in a packet of 20 ms, for every payload type that can be played.
pub const PACKET: usize = 160;

/// Actions outside the subset, and their replacements.
const REFUSED: [(&str, &str); 5] = [
    (
        "play_pcap_audio",
        "write rtp_stream=\"FILE,-1,0,PCMU/8000\", with the octets of G.711 or G.722 in FILE",
    ),
    ("play_pcap_video", "there is audio only"),
    (
        "play_dtmf",
        "write rtp_stream with a file of the tones, or say it in steps: --caller \"dial …; press 12\"",
    ),
    ("int_cmd", "write next=\"…\" to a label at the end; SIGTERM ends the run"),
    ("command", "programs are not started; write <log message=\"…\"/>"),
];

/// The actions of a step.
pub fn actions(reading: &mut Reading<'_>, step: Element<'_, '_>) -> Result<Vec<Action>, Fault> {
    let mut actions = Vec::new();
    for element in step.elements().flat_map(Element::elements) {
        actions.push(match element.name() {
            "ereg" => Action::Ereg(ereg(reading, element)?),
            "log" | "warning" => {
                element.only(&["message"])?;
                let text = element.must("message", "text")?;
                Action::Log(Template::lines(text, &mut reading.names).map_err(|(_, reason)| element.fault(reason))?)
            }
            "exec" => Action::Media(exec(reading, element)?),
            other => {
                return Err(element.fault(format!(
                    "the action <{other}> is not of the subset: there are ereg, log, warning and exec rtp_stream; \
                     write ereg with assign_to where a value is needed"
                )));
            }
        });
    }
    Ok(actions)
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
        "start_line",
    ])?;
    if element.is("start_line")? {
        return Err(element
            .fault("start_line is not of the subset: write search_in=\"msg\" and a ^ in the expression"));
    }
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
            SearchIn::Header { name: name.to_owned(), occurrence, trimmed: header.ends_with(' ') }
        }
        Some(other) => {
            return Err(
                element.fault(format!("search_in=\"{other}\" is not of the subset: write msg, hdr or body"))
            );
        }
    };
    let check = match (element.is("check_it")?, element.is("check_it_inverse")?) {
        (true, true) => {
            return Err(
                element.fault("check_it and check_it_inverse exclude each other; leave one of them out")
            );
        }
        (true, false) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    };
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

fn exec(reading: &Reading<'_>, element: Element<'_, '_>) -> Result<Media, Fault> {
    for (name, instead) in REFUSED {
        if element.get(name).is_some() {
            return Err(element.fault(format!("exec {name} is not of the subset: {instead}")));
        }
    }
    element.only(&["rtp_stream", "rtp_echo"])?;
    if let Some(echo) = element.get("rtp_echo") {
        return match echo.split(',').next().map(str::trim) {
            Some("startaudio" | "updateaudio" | "start") => Ok(Media::Echo(true)),
            Some("stopaudio" | "stop") => Ok(Media::Echo(false)),
            _ => Err(element
                .fault(format!("rtp_echo=\"{echo}\" is not of the subset: write startaudio or stopaudio"))),
        };
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
    let octets = sound(reading, file).map_err(|why| element.fault(format!("rtp_stream: {file}: {why}")))?;
    if octets.len() < PACKET {
        return Err(element.fault(format!("rtp_stream: {file} has less than 20 ms")));
    }
    Ok(Media::Play(Arc::new(Stream { octets, times, payload_type })))
}

/// The octets of a file that is sent: beneath the scenario's folder, since scenarios come from others and a
/// peer hears it; or any that a key of the command line names, with or without the key here. Found from the working directory as in SIPp, or
/// else from the scenario.
fn sound(reading: &Reading<'_>, file: &str) -> Result<Vec<u8>, String> {
    let key = file.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let named = key.and_then(|key| reading.names.keys.get(key));
    let here = PathBuf::from(named.map_or(file, String::as_str));
    let path = if named.is_some() || here.exists() { here } else { reading.folder.join(file) };
    let instead = "name a file beneath the folder of the scenario, or add --scenario-key sound=FILE";
    let failed = |error: std::io::Error| format!("{error}; {instead}");
    let real = path.canonicalize().map_err(failed)?;
    let folder = if reading.folder.as_os_str().is_empty() { Path::new(".") } else { reading.folder };
    let is_named = |key: &String| Path::new(key).canonicalize().is_ok_and(|named| named == real);
    if !reading.names.keys.values().any(is_named)
        && !folder.canonicalize().is_ok_and(|folder| real.starts_with(folder))
    {
        return Err(format!("it is not beneath the folder of the scenario; {instead}"));
    }
    if !real.is_file() {
        return Err(format!("it is no file; {instead}"));
    }
    std::fs::read(real).map_err(failed)
}
