//! Flags of the b2bua, and the configurations made from them.

use std::path::PathBuf;

use b2b_base::util::exit::{Exit, Failure};
use b2b_config::command_line::CommandLine;
use b2b_config::keys::{Keys, SHARED};

use super::command_line::{Ask, Flags, ServerRun};
use super::flags::SERVER;
use super::tokens::MainToken;
use super::{Action, Secret, Target};

const CONFIG: &str = "[http]\ntoken = \"a secret of tests\"\n[[user]]\nname = \"1001\"\npassword = \"correct horse\"\n\
                      [[route]]\nto = \"user/$0\"\n";

fn flags(line: &str) -> Flags {
    let words = line.split_whitespace().map(str::to_owned);
    Flags::read(&CommandLine::of_words(Keys(&[SHARED, SERVER]), words).unwrap()).unwrap()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("b2b.toml"), config).unwrap();
        Folder(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("b2b.toml")
    }

    fn run(&self, line: &str) -> Result<ServerRun, Failure> {
        flags(&format!("--config {} {line}", self.path().display())).b2bua(|_| Vec::new(), None)
    }

    fn refused(&self, line: &str) -> String {
        match self.run(line) {
            Err(failure) => {
                assert_eq!(failure.exit, Exit::Usage);
                failure.message
            }
            Ok(_) => panic!("{line}"),
        }
    }
}

#[test]
fn without_a_question_it_serves_what_the_configuration_says() {
    let run = Folder::new(CONFIG).run("").unwrap();
    assert_eq!(run.ask, Ask::Serve);
    assert_eq!(run.config.routes.len(), 1);
    assert_eq!(run.config.server.listen.len(), 2);
}

#[test]
fn flags_win_over_the_configuration_and_over_the_one_that_is_read_again() {
    let folder = Folder::new(CONFIG);
    let run = folder
        .run("--sip-bind 127.0.0.2:0 --http-bind 127.0.0.2:0 --target sip:a@127.0.0.1:7 --sip-trace t --log-level debug")
        .unwrap();
    for config in [run.config, (run.reload)().unwrap()] {
        assert!(config.server.listen.iter().all(|listener| listener.bind.to_string() == "127.0.0.2:0"));
        let http = config.http.unwrap();
        assert_eq!(http.bind.to_string(), "127.0.0.2:0");
        assert_eq!(http.token, MainToken::Given(Secret::new("a secret of tests")));
        let Action::Dial { targets, .. } = &config.routes[0].action else { panic!() };
        assert!(matches!(&targets[0], Target::Uri(uri) if uri.to_string() == "sip:a@127.0.0.1:7"));
        assert_eq!(config.routes.len(), 2);
        assert_eq!(config.log.level, tracing::Level::DEBUG);
        assert_eq!(config.log.sip_trace, Some(PathBuf::from("t")));
    }
}

#[test]
fn a_configuration_that_turns_bad_is_refused_when_it_is_read_again() {
    let folder = Folder::new(CONFIG);
    let run = folder.run("").unwrap();
    std::fs::write(folder.path(), "[servr]\n").unwrap();
    let failure = (run.reload)().unwrap_err();
    assert!(
        failure.message.ends_with("b2b.toml:1: there is no `servr`; did you mean `server`?"),
        "{failure}"
    );
}

#[test]
fn a_dry_run_refuses_passwords_that_are_easily_guessed_unless_they_are_meant() {
    let weak = CONFIG.replace("correct horse", "1001");
    assert!(Folder::new(&weak).refused("--dry-run").contains("user 1001 (line 3) is a name of the user"));
    assert!(Folder::new(&weak).run("").is_ok(), "a start warns");
    let meant = weak.replace("[[route]]", "weak_password = true\n[[route]]");
    assert!(Folder::new(&meant).run("--dry-run").is_ok());
}

#[test]
fn a_dry_run_looks_for_the_folders_that_are_written_to() {
    for (key, kind) in [("store", "sqlite:"), ("cdr", "")] {
        let lines = format!("[server]\n{key} = \"{kind}nowhere/file\"\n");
        let folder = Folder::new(&lines);
        let told = folder.run("--dry-run").unwrap().config.summary(1_000).join("\n");
        assert!(
            told.contains(&format!("warning   server.{key} = ")) && told.contains("there is no folder"),
            "{told}"
        );
    }
}

#[test]
fn questions_are_asked_one_at_a_time() {
    let folder = Folder::new(CONFIG);
    assert!(matches!(folder.run("--dry-run").unwrap().ask, Ask::DryRun { descriptors: 1.. }));
    let run = folder.run("--explain +44208 --from 1001 --source 192.0.2.7").unwrap();
    let Ask::Explain(question) = run.ask else { panic!() };
    assert_eq!((question.called.as_str(), question.from.as_deref()), ("+44208", Some("1001")));
    assert!(folder.refused("--explain 1 --dry-run").contains("choose one"));
    assert!(folder.refused("--from 1001").contains("--explain NUMBER"));
}

#[test]
fn what_is_missing_or_open_to_others_is_exit_64() {
    let bare = flags("").b2bua(|_| Vec::new(), None);
    assert!(bare.err().unwrap().message.contains("--config is missing"));
    assert!(Folder::new("[servr]").refused("").contains("b2b.toml:1:"));
    let off = Folder::new("[http]\ntoken = \"off\"\n");
    assert!(off.refused("--http-bind 192.0.2.7:80").contains("other hosts can reach it"));
    for open in [CONFIG, "", "[http]\nlisten = \"off\"\n"] {
        assert!(Folder::new(open).run("--http-bind 192.0.2.7:80").is_ok(), "{open}");
    }
}
