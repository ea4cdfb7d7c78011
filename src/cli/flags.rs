//! The command line, made from the tables of settings.

use clap::{Arg, ArgAction, Command};

use b2b_config::command_line::CommandLine;
use b2b_config::keys::{Key, Kind, SharedFlags};
use b2b_config::role_name::RoleName;

use super::{examples, keys};

const ABOUT: &str = "\
Voice calls over SIP and RTP, with one program for several roles. b2bua: a server for phones, trunks and \
voice applications. phone: a SIP phone, on a terminal or run by a script. media: a media server, which \
carries the RTP of b2buas on other machines. load: a load generator for any SIP system, which checks the \
audio of each call. orchestrator, source, mixer and sink: a media lab; a source plays a file into a call, a \
mixer adds DTMF tones, a sink plays and records the received audio, and an orchestrator runs them from a \
plan and measures the result.

The lab has no authentication and no TLS: every host that reaches its SIP port can call it, and every host \
on the path can listen. It binds to 127.0.0.1 by default.";

const USAGE: &str = "b2b <ROLE> [OPTIONS]\n       b2b compare <BEFORE> <AFTER>\n       b2b replay <JOURNAL>\n       b2b completions <SHELL>\n       b2b man <FOLDER>";

/// A command line that is read.
#[derive(Debug, Clone)]
pub struct Flags {
    /// The settings of its role.
    pub line: CommandLine,
    /// Those of roles of several products.
    pub shared: SharedFlags,
}

/// The whole command line.
pub(super) fn command() -> Command {
    let role = Arg::new("role")
        .long("role")
        .value_name("ROLE")
        .value_parser(clap::value_parser!(RoleName))
        .help("The role: orchestrator, source, mixer, sink, b2bua, phone, media or load");
    Command::new("b2b")
        .version(env!("CARGO_PKG_VERSION"))
        .override_usage(USAGE)
        .about(ABOUT)
        .after_help(examples::after_help(None))
        .max_term_width(100)
        .arg(role)
        .args(keys::ALL.all().map(flag))
}

fn flag(key: &'static Key) -> Arg {
    let name = key.flag().trim_start_matches('-').to_owned();
    let arg = Arg::new(key.name).long(name).help_heading(key.heading()).help(key.help);
    if key.kind == Kind::Switch {
        return arg.action(ArgAction::SetTrue);
    }
    let read = move |text: &str| (key.check)(text).map(|()| text.to_owned());
    let action = if key.repeats { ArgAction::Append } else { ArgAction::Set };
    let arg = arg.value_name(key.takes).value_parser(read).action(action);
    if key.default.is_empty() { arg } else { arg.default_value(key.default) }
}
