//! The operator's view: the documented tree, and a new configuration.

use nix::sys::signal::{Signal, kill};

use super::{Sounds, calls, is_empty, phone, within};
use crate::common::audio::write_wav;
use crate::server_support::server;

#[test]
fn the_tree_of_the_documentation_is_good_and_drawn() {
    let text = include_str!("../../../docs/apps/ivr.md");
    let config =
        text.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("b2bua.toml");
    std::fs::write(&path, config).expect("a file");
    let dry_run = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_b2b"));
        command.args(["--role", "b2bua", "--dry-run", "--config", path.to_str().expect("UTF-8")]);
        command.output().expect("run")
    };
    let refused = dry_run();
    assert_eq!(refused.status.code(), Some(64), "its prompts are not there");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("welcome.wav (No such file"));

    // The script makes prompts with the names used in the example.
    let script = include_str!("../../../scripts/make-prompts.sh");
    std::fs::create_dir_all(folder.path().join("prompts/digits")).expect("a folder");
    let said = script.lines().filter_map(|line| line.strip_prefix("say ")?.split(' ').next());
    let digits = (0..10).map(|digit| format!("digits/{digit}.wav"));
    for name in said.map(str::to_owned).chain(digits) {
        let path = folder.path().join("prompts").join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        write_wav(&path, 8_000, &[0; 160]);
    }
    let good = dry_run();
    assert_eq!(good.status.code(), Some(0), "{}", String::from_utf8_lossy(&good.stderr));
    let good = String::from_utf8(good.stdout).expect("UTF-8");
    for line in [
        "ivr       main: 8 nodes, from hello",
        "flow      ivr/main as a Mermaid graph:",
        "flowchart TD",
        "  n1 -- \"2\" --> n3",
        "  n2([\"sales: transfer group/sales\"])",
    ] {
        assert!(good.lines().any(|it| it == line), "{line}\nin\n{good}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_configuration_has_another_tree_and_calls_that_are_up_keep_theirs() {
    let sounds = Sounds::new(&["old", "new", "end"]);
    let tree = |word: &str| {
        format!(
            "{}[[route]]\ncalled = \"main\"\napp = \"ivr/main\"\n[[ivr]]\nname = \"main\"\n[[ivr.node]]\nname = \"a\"\n\
             kind = \"menu\"\nprompt = \"{word}.wav\"\nchoices = {{ 1 = \"b\" }}\nfirst_s = 60\n[[ivr.node]]\nname = \"b\"\n\
             kind = \"play_prompt\"\nprompt = \"{}.wav\"\n",
            sounds.table(),
            if word == "old" { "end" } else { "new" },
        )
    };
    let server = server(&tree("old"));
    let ann = phone("ann");
    let (first, mut ear) = calls(&ann, &server, "main", &sounds).await;
    ear.hears("old").await;

    let path = server.folder.path().join("b2bua.toml");
    let text = std::fs::read_to_string(&path).expect("a file");
    let rest = text.split_once("[prompts]").expect("the tree").0;
    std::fs::write(&path, format!("{rest}{}", tree("new"))).expect("a file");
    kill(server.process.pid(), Signal::SIGHUP).expect("a signal");
    let bob = phone("bob");
    // It takes effect after a moment: until then calls hear the old tree.
    let takes_over = async {
        loop {
            let (call, mut ear) = calls(&bob, &server, "main", &sounds).await;
            if ear.hears_one_of(&["old", "new"]).await == "new" {
                return (call, ear);
            }
            within("hung up", call.hangup()).await.expect("hung up");
        }
    };
    let (second, mut other) = within("the new tree", takes_over).await;
    second.send_digits("1", None).await.expect("a digit");
    other.hears("new").await;
    first.send_digits("1", None).await.expect("a digit");
    ear.hears("end").await;
    within("the end", first.wait_for_end()).await;
    within("the end", second.wait_for_end()).await;
    is_empty(&server).await;
}
