//! The program: command line → role → exit code.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use b2b::cli::{self, Flags};
use b2b::config::RoleName;
#[cfg(feature = "lab")]
use b2b::lab::flags::Flags as LabFlags;
#[cfg(feature = "lab")]
use b2b::lab::orchestrator::Orchestrator;
#[cfg(feature = "lab")]
use b2b::lab::role::Role;
use b2b::logging;
#[cfg(feature = "phone")]
use b2b::phone::PhoneConfig;
#[cfg(feature = "server")]
use b2b::server;
#[cfg(feature = "server")]
use b2b::server::config::command_line::{Ask, Flags as ServerFlags};
use b2b::ua::UaError;
use b2b::util::exit::{Exit, Failure};
use b2b::util::process;

/// Cargo.toml gives the reasons.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs one role with its flags; returns the exit code.
type Run = fn(&Flags) -> anyhow::Result<u8>;

/// The function of each role.
const ROLES: &[(RoleName, Run)] = &[
    #[cfg(feature = "lab")]
    (RoleName::Orchestrator, direct),
    #[cfg(feature = "lab")]
    (RoleName::Source, |flags| call_role(flags, LabFlags::source)),
    #[cfg(feature = "lab")]
    (RoleName::Mixer, |flags| call_role(flags, LabFlags::mixer)),
    #[cfg(feature = "lab")]
    (RoleName::Sink, |flags| call_role(flags, LabFlags::sink)),
    #[cfg(feature = "lab")]
    (RoleName::Load, |flags| {
        let config = LabFlags::read(&flags.line)?.load()?;
        if flags.shared.dry_run {
            println!("{}", config.summary());
            return Ok(Exit::Ok as u8);
        }
        Ok(b2b::lab::load::run(config, &b2b::lab::load::signals()?)?.exit as u8)
    }),
    #[cfg(feature = "server")]
    (RoleName::B2bua, serve),
    #[cfg(feature = "server")]
    (RoleName::Media, |flags| server::media_server::run(&ServerFlags::read(&flags.line)?.media_server()?)),
    #[cfg(feature = "phone")]
    (RoleName::Phone, |flags| b2b::phone::run(PhoneConfig::of(&flags.line)?)),
];

fn main() -> ExitCode {
    logging::exit_on_panic(Exit::Panic as i32);
    let words: Vec<_> = std::env::args_os().collect();
    #[cfg(feature = "lab")]
    if let Some(compare) = cli::Compare::parse(&words) {
        return compare.map_or_else(|error| refused(&error), compared);
    }
    #[cfg(feature = "server")]
    if let Some(replay) = cli::Replay::parse(&words) {
        return replay.map_or_else(|error| refused(&error), replayed);
    }
    #[cfg(all(feature = "lab", feature = "server"))]
    if let Some(sandbox) = cli::Sandbox::parse(&words) {
        return sandbox.map_or_else(|error| refused(&error), |it| in_sandbox(&it.config()));
    }
    if let Some(asked) = cli::ForShell::parse(&words) {
        return asked.map_or_else(|error| refused(&error), for_shell);
    }
    let (role, flags) = match cli::parse(words) {
        Ok(parsed) => parsed,
        Err(error) => return refused(&error),
    };
    logging::identify(role.as_str(), flags.shared.log_format, flags.shared.color.on_stderr());
    // excluded: the orchestrator colours its lines, a load has a status line below them, and the b2bua's
    // configuration sets logging
    if !matches!(role, RoleName::Orchestrator | RoleName::Load | RoleName::B2bua) {
        logging::init(
            role.as_str(),
            flags.shared.log_level,
            flags.shared.log_format,
            flags.shared.color.on_stderr(),
        );
    }
    let Some((_, run)) = ROLES.iter().find(|(name, _)| *name == role) else {
        logging::emergency(&format!("the role {role} is not in this build; build with its feature"));
        return (Exit::Usage as u8).into();
    };
    if matches!(role, RoleName::B2bua | RoleName::Media) {
        logging::report_panics();
    }
    // the children of an orchestrator end with it, whatever their role
    if let Err(error) = process::follow_parent() {
        logging::emergency(&error.to_string());
        return (Exit::Sip as u8).into();
    }
    // For every other role the hook has ended the process. No state of the run is used again.
    let Ok(ended) = catch_unwind(AssertUnwindSafe(|| run(&flags))) else {
        return (Exit::Panic as u8).into();
    };
    match ended {
        Ok(code) => code.into(),
        Err(error) => {
            // a configuration has one line per error
            format!("{error:#}").lines().for_each(logging::emergency);
            exit_of(&error).into()
        }
    }
}

/// Prints a clap error: help, or a usage error.
fn refused(error: &clap::Error) -> ExitCode {
    // this fails only if the pipe is closed
    let _ = error.print();
    if error.use_stderr() { Exit::Usage as u8 } else { Exit::Ok as u8 }.into()
}

/// Shell completions, or manual pages.
fn for_shell(asked: cli::ForShell) -> ExitCode {
    match asked.run() {
        Ok(()) => (Exit::Ok as u8).into(),
        Err(failure) => {
            logging::emergency(&failure.to_string());
            (failure.exit as u8).into()
        }
    }
}

/// Compares two loads.
#[cfg(feature = "lab")]
fn compared(compare: cli::Compare) -> ExitCode {
    use std::io::Write;
    let found = match compare.run() {
        Ok(found) => found,
        Err(failure) => {
            logging::emergency(&failure.to_string());
            return (failure.exit as u8).into();
        }
    };
    // a closed pipe is not an error
    let _ = std::io::stdout().write_all((found.lines().join("\n") + "\n").as_bytes());
    if found.is_worse() { Exit::Expectation as u8 } else { Exit::Ok as u8 }.into()
}

/// Calls a voice agent.
#[cfg(all(feature = "lab", feature = "server"))]
fn in_sandbox(config: &b2b::lab::sandbox::SandboxConfig) -> ExitCode {
    match b2b::lab::sandbox::run(config) {
        Ok(exit) => (exit as u8).into(),
        Err(error) => {
            format!("{error:#}").lines().for_each(logging::emergency);
            exit_of(&error).into()
        }
    }
}

/// Replays a call from its journal.
#[cfg(feature = "server")]
fn replayed(replay: cli::Replay) -> ExitCode {
    use std::io::Write;
    let output = match (replay.as_test, replay.messages) {
        (true, _) => server::replay::Output::Test,
        (false, true) => server::replay::Output::Messages,
        (false, false) => server::replay::Output::Ladder,
    };
    match server::replay::run(&replay.journal, output, std::time::Instant::now()) {
        Ok(said) => {
            // a closed pipe is not an error
            let _ = std::io::stdout().write_all(said.text.as_bytes());
            if said.is_same { Exit::Ok as u8 } else { Exit::Expectation as u8 }.into()
        }
        Err(failure) => {
            logging::emergency(&failure.to_string());
            (failure.exit as u8).into()
        }
    }
}

/// Runs a plan: a scene of phones, or a chain of calls.
#[cfg(feature = "lab")]
fn direct(flags: &Flags) -> anyhow::Result<u8> {
    let lab = LabFlags::read(&flags.line)?;
    #[cfg(all(feature = "phone", feature = "server"))]
    if let Some(scene) = lab.scene()? {
        return b2b::lab::orchestrator::scene::run(&scene);
    }
    Orchestrator::new(lab.orchestrator()?).run()
}

/// Runs the b2bua, or answers a question about its configuration.
#[cfg(feature = "server")]
fn serve(flags: &Flags) -> anyhow::Result<u8> {
    use std::io::Write;
    // a closed pipe is not an error
    let print = |text: String| drop(std::io::stdout().write_all((text + "\n").as_bytes()));
    let own = ServerFlags::read(&flags.line)?;
    if own.server.print_schema {
        print(format!("{:#}", server::config::schema::schema()));
        return Ok(Exit::Ok as u8);
    }
    if own.server.keep {
        let shared = &flags.shared;
        logging::init("keeper", shared.log_level, shared.log_format, shared.color.on_stderr());
        return server::keep::run();
    }
    let run = own.b2bua(server::check, server::keep::managed::configuration()?)?;
    let usage = |why: String| Failure::new(Exit::Usage, why);
    let lines = match &run.ask {
        Ask::Serve => {
            let log = &run.config.log;
            logging::identify(RoleName::B2bua.as_str(), log.format, flags.shared.color.on_stderr());
            logging::redact(log.redact);
            logging::init(RoleName::B2bua.as_str(), log.level, log.format, flags.shared.color.on_stderr());
            for warning in run.config.warnings().iter().chain(&run.differs) {
                tracing::warn!("{warning}");
            }
            return server::run(run.config, run.reload);
        }
        Ask::DryRun { descriptors } => {
            let tls = server::certificates::load(&run.config).map_err(|error| usage(error.to_string()))?;
            let warnings = server::certificates::warnings(&tls, std::time::SystemTime::now());
            let warnings = warnings.into_iter().chain(server::survive::kernel::warnings(&run.config));
            let warnings = warnings.map(|warning| format!("warning   {warning}"));
            run.config.summary(*descriptors).into_iter().chain(warnings).collect()
        }
        Ask::Explain(question) => server::explain::explain(&run.config, question),
        Ask::ExplainGateway(question) => {
            let tls = server::certificates::load(&run.config).map_err(|error| usage(error.to_string()))?;
            server::explain_gateway::explain(&run.config, question, tls).map_err(usage)?
        }
    };
    print(lines.join("\n"));
    Ok(Exit::Ok as u8)
}

/// Runs source, mixer or sink: on the `ua` adapter, with exit codes only through their errors.
#[cfg(feature = "lab")]
fn call_role<R: Role>(
    flags: &Flags,
    role: impl FnOnce(&LabFlags) -> Result<R, Failure>,
) -> anyhow::Result<u8> {
    let lab = LabFlags::read(&flags.line)?;
    let role = role(&lab)?;
    if let Some(exposure) = lab.exposure() {
        tracing::warn!("{exposure}");
    }
    role.run()?;
    Ok(Exit::Ok as u8)
}

/// The exit code of an error. An error without one comes from the operating system during a call (a thread, a
/// pipe): SIP could not go on.
fn exit_of(error: &anyhow::Error) -> u8 {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return failure.exit as u8;
    }
    match error.downcast_ref::<UaError>() {
        Some(UaError::Target { .. } | UaError::Unsupported(_)) => Exit::Usage as u8,
        Some(UaError::Trace { .. }) => Exit::Audio as u8,
        _ => Exit::Sip as u8,
    }
}
