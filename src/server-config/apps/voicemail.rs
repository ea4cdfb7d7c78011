//! `[voicemail]` and `[[mailbox]]`.

use std::collections::BTreeMap;
use std::path::Path;

use super::{file, name, pin, spoken};
use crate::outside::Outside;
use crate::recording::FORMAT;
use crate::root::Root;
use crate::texts::{NAME, PATH, path};
use crate::{ConfigError, User};
use b2b_app::Prompts;
use b2b_app::queue::Numbers;
use b2b_app::voicemail::{MailboxConfig, VoicemailConfig, Word, Words};
use b2b_config::rows;
use b2b_config::section::Section;
use b2b_config::table::Takes::{Choice, Pairs, Secret, Switch, Text, Whole};
use b2b_config::table::{Table, any};

pub const VOICEMAIL: Table = Table {
    name: "voicemail",
    written: "[voicemail]",
    about: "Settings of all mailboxes. The application `voicemail` plays messages to the owners of mailboxes. See [apps/voicemail.md](apps/voicemail.md).",
    keys: rows! {
        folder: PATH => "voicemail", at_restart(),
            "The folder of messages: `new` and `old` in a subfolder for each mailbox. Only one server may use it.";
        silence_s: Whole(0, 600) => 10, "The length of silence that ends a message. 0: silence does not end it.";
        format: Choice(&FORMAT) => "wav", "New messages are `wav`, 16-bit samples, `wav49`, GSM in WAV, a tenth of the size, or `opus`, Opus in Ogg, a fifth.";
        prompts: Pairs("{ occasion = file }"),
            "Prompts by occasion; [apps/voicemail.md](apps/voicemail.md) lists the occasions. Without it: `voicemail/<occasion>` below the folder of `[prompts]`, with the extension of its digits; tones if there is no such file.";
    },
};

pub const MAILBOX: Table = Table {
    name: "mailbox",
    written: "[[mailbox]]",
    about: "A mailbox: callers leave messages with the application `voicemail/` and its name.",
    keys: rows! {
        name: NAME,
            "Its name. A user with this name or alias is not asked for it. Digits, if it is to be entered by telephone.";
        pin: Secret("digits"), "The PIN of its owner, 4 to 16 digits. Required.";
        short_pin: Switch => false, "Whether the PIN may have fewer than 4 digits.";
        greeting: Text("file", any),
            "The greeting for callers, below the folder of `[prompts]`. Without it: the default greeting.";
        max_message_s: Whole(1, 3_600) => 180, "The longest message.";
        max_messages: Whole(1, 10_000) => 100, "The most messages, new and old together; a full mailbox accepts no more.";
    },
};

pub(super) fn voicemail(
    root: &Root<'_>,
    prompts: &Prompts,
    outside: &dyn Outside,
    users: &[User],
) -> Result<VoicemailConfig, ConfigError> {
    let mailboxes = root.each(&MAILBOX, |section| mailbox(section, prompts, outside, users));
    root.one(&VOICEMAIL, |section| {
        let folder = section.parsed_or_default("folder", path)?;
        let silence = section.seconds_unless_zero("silence_s")?;
        let coding = section.choice("format", &FORMAT)?;
        let words = words(section, prompts, outside)?;
        section.finish();
        Ok(VoicemailConfig {
            silence,
            coding,
            words,
            mailboxes,
            ..VoicemailConfig::new(outside.resolve(&folder))
        })
    })
}

fn mailbox(
    section: &Section<'_>,
    prompts: &Prompts,
    outside: &dyn Outside,
    users: &[User],
) -> Result<MailboxConfig, ConfigError> {
    let name = name(section)?;
    if name.starts_with('.') {
        let reason = "it becomes the name of a folder, so it cannot begin with a dot";
        return Err(section.bad("name", section.place("name"), &name, reason));
    }
    let pin = pin(section, "pin")?;
    let pin = pin.ok_or_else(|| section.missing("pin", "a mailbox needs a PIN, like pin = \"4711\""))?;
    let greeting = file(section, "greeting", prompts, outside)?.map(|path| path.to_path_buf());
    let user = users.iter().find(|user| user.name == name || user.aliases.contains(&name));
    let usual = MailboxConfig::new(name, pin);
    let mailbox = MailboxConfig {
        greeting,
        longest: section.seconds("max_message_s")?,
        most: section.whole("max_messages")?,
        users: match user {
            Some(user) => std::iter::once(&user.name).chain(&user.aliases).cloned().collect(),
            None => usual.users,
        },
        ..usual
    };
    section.finish();
    Ok(mailbox)
}

/// The configured files, else those that exist under the default names.
fn words(section: &Section<'_>, prompts: &Prompts, outside: &dyn Outside) -> Result<Words, ConfigError> {
    let mut words = Words::default();
    // A default file that cannot be played is reported, not left out.
    let exists = |path: &Path| {
        let is_file = outside.is_file(path);
        if is_file && let Err(reason) = outside.sound(path) {
            section.lines.report(section.bad("prompts", section.at, "", reason));
        }
        is_file
    };
    for word in Word::ALL {
        let path = prompts.path(&format!("voicemail/{}.{}", word.as_str(), prompts.ending));
        if exists(&path) {
            words.set(*word, &*path);
        }
    }
    for (word, path) in spoken(section, Word::ALL, prompts, outside)? {
        words.set(word, &*path);
    }
    let number = |number: usize| Some((number, prompts.path(&format!("digits/{number}.{}", prompts.ending))));
    let files = (0..100).filter_map(number).filter(|(_, path)| exists(path));
    words.numbers = Numbers(files.collect::<BTreeMap<_, _>>());
    Ok(words)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::parse_made;
    use b2b_app::voicemail::Word;

    const BOXES: &str = "[[user]]\nname = \"1001\"\npassword = \"x\"\naliases = [\"alice\"]\n\
        [voicemail]\nsilence_s = 0\nprompts = { beep = \"b.wav\" }\n\
        [[mailbox]]\nname = \"1001\"\npin = \"998877\"\ngreeting = \"hello.wav\"\nmax_message_s = 60\n\
        [[mailbox]]\nname = \"sales\"\nshort_pin = true\npin = \"1\"\n\
        [[route]]\ncalled = \"1\"\napp = \"voicemail/1001\"\n[[route]]\ncalled = \"2\"\napp = \"voicemail\"\n";

    #[test]
    fn mailboxes_become_what_they_say() {
        let config = parse_made(BOXES).expect("a configuration");
        let voicemail = &config.apps.voicemail;
        assert_eq!((voicemail.folder.as_path(), voicemail.silence), (Path::new("/etc/b2b/voicemail"), None));
        let [first, second] = voicemail.mailboxes.as_slice() else { panic!("two") };
        assert_eq!(
            (first.users.as_slice(), first.pin.reveal()),
            (&["1001".into(), "alice".into()][..], "998877")
        );
        assert_eq!((first.longest.as_secs(), first.most), (60, 100));
        assert_eq!(first.greeting.as_deref(), Some(Path::new("/etc/b2b/prompts/hello.wav")));
        assert_eq!((second.users.as_slice(), &second.greeting), (&["sales".into()][..], &None));
        let file = |word: Word| {
            voicemail.words.files().find(|(it, _)| *it == word).map(|(_, file)| file.display().to_string())
        };
        assert_eq!(file(Word::Beep).as_deref(), Some("/etc/b2b/prompts/b.wav"));
        assert_eq!(file(Word::Full).as_deref(), Some("/etc/b2b/prompts/voicemail/full.wav"));
        assert!(!format!("{config:?}").contains("998877"));
    }

    #[test]
    fn what_cannot_be_is_refused_and_no_error_shows_a_pin() {
        for (keys, told) in [
            ("name = \"1\"", "pin"),
            ("name = \"1\"\npin = \"998877x\"", "1 to 16 digits"),
            ("name = \"1\"\npin = 998877", "text in quotes"),
            ("name = \"1\"\npin = \"123\"", "short_pin = true"),
            ("name = \"..\"\npin = \"1111\"", "cannot begin with a dot"),
            ("name = \"a/b\"\npin = \"1111\"", "letters, digits"),
            ("name = \"1\"\npin = \"1111\"\ngreeting = \"missing.wav\"", "there is no file"),
            (
                "name = \"1\"\npin = \"1111\"\n[voicemail]\nprompts = { hello = \"a.wav\" }",
                "choose one of greeting",
            ),
            ("name = \"1\"\npin = \"1111\"\n[[mailbox]]\nname = \"1\"\npin = \"1111\"", "is there already"),
            ("name = \"1\"\npin = \"1111\"\n[[route]]\napp = \"voicemail/2\"", "there is no application"),
        ] {
            let error = parse_made(&format!("[[mailbox]]\n{keys}\n")).expect_err(keys).to_string();
            assert!(error.contains(told) && !error.contains("998877"), "{keys}: {error}");
        }
        let error = parse_made("[[route]]\napp = \"voicemail\"\n").expect_err("there is none").to_string();
        assert!(error.contains("there is no application"), "{error}");
    }
}
