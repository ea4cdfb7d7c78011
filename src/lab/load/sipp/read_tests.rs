//! The supported parts of scenarios, and the errors for the rest, with their lines.

use std::collections::BTreeMap;
use std::path::Path;

use super::element::Fault;
use super::fields::Fields;
use super::read::parse;
use super::scenario::{Deed, Length, Optional, Scenario};

/// Parses steps, which begin at line 2.
fn read(steps: &str) -> Result<Scenario, Vec<Fault>> {
    parse(
        Path::new("made.xml"),
        &format!("<scenario>\n{steps}\n</scenario>"),
        &BTreeMap::new(),
        Fields::default(),
    )
}

/// The reason why steps are refused, and the line relative to the first of them.
fn refused(steps: &str) -> (u32, String) {
    match read(steps) {
        Ok(_) => panic!("{steps}: it is read"),
        Err(faults) => (faults[0].0 - 1, faults[0].1.clone()),
    }
}

const RECV: &str = "<recv request=\"INVITE\"/>\n";

#[test]
fn a_scenario_has_steps_with_their_lines_and_jumps_to_labels() {
    let steps = "<recv request=\"INVITE\" rrs=\"true\"/>\n<label id=\"a\"/>\n<recv request=\"ACK\" optional=\"true\"/>\n\
                 <recv request=\"BYE\" next=\"a\" test=\"x\" chance=\"0.5\"/>\n<pause milliseconds=\"20\"/>\n<pause/>\n\
                 <pause distribution=\"normal\" mean=\"10\" stdev=\"2\"/>\n<timewait milliseconds=\"7\"/>\n\
                 <ResponseTimeRepartition value=\"1\"/>\n<Reference variables=\"x\"/>";
    let read = read(steps).unwrap();
    let lines: Vec<_> = read.steps.iter().map(|step| step.line).collect();
    assert_eq!(lines, [2, 4, 5, 6, 7, 8, 9]);
    assert!(matches!(&read.steps[1].deed, Deed::Receive(it) if it.optional == Optional::Yes));
    assert_eq!(read.steps[2].next.map(|next| (next.to, next.test)), Some((1, Some(0))));
    assert!(matches!(read.steps[4].deed, Deed::Pause(Length::Hold)));
    assert!(matches!(read.steps[5].deed, Deed::Pause(Length::Normal(mean, _)) if mean == 10.0));
    assert!(!read.calls() && read.has_invite && !read.own_media);
    assert_eq!(read.name_of(0), "line 2: recv INVITE");
}

#[test]
fn what_is_outside_of_the_subset_is_refused_by_its_line_and_says_what_to_write() {
    let cases = [
        ("<recv request=\"INVITE\">", 2, "write well-formed XML"),
        ("<pause/>", 0, "nothing is sent or received"),
        ("<sendCmd/>", 1, "no 3PCC"),
        ("<User/>", 1, "variables=\"a,b\""),
        ("<wait/>", 1, "<wait> is not of the subset: there are send"),
        ("<recv/>", 1, "request=\"INVITE\" or response"),
        ("<recv request=\"A\" response=\"200\"/>", 1, "or for two things"),
        ("<recv response=\"20\"/>", 1, "is no status"),
        ("<recv request=\"A\" optional=\"maybe\"/>", 1, "write true, global or false"),
        ("<recv request=\"A\" timeout=\"soon\"/>", 1, "is not a number"),
        ("<recv\n request=\"A\"\n advance_state=\"false\"/>", 3, "optional=\"true\""),
        ("<recv request=\"A\" often=\"1\"/>", 1, "the attribute often of <recv>"),
        ("<recv request=\"(\" regexp_match=\"true\"/>", 1, "is no regular expression"),
        ("<recv request=\"A\" next=\"b\"/>\n<label id=\"a\"/>", 1, "there are a (line 3)"),
        ("<recv request=\"A\" ontimeout=\"b\"/>", 1, "there are none"),
        ("<label id=\"a\"/>\n<label id=\"a\"/>", 2, "is at line 2 already"),
        ("<recv request=\"A\" optional=\"true\"/>\n<pause/>", 1, "that is not optional behind it"),
        ("<recv request=\"A\"/>\n<timewait/>\n<pause/>", 2, "<timewait> is the last step"),
        ("<recv request=\"A\"/>\n<pause distribution=\"gamma\"/>", 2, "fixed (value), uniform"),
        ("<recv request=\"A\"/>\n<pause distribution=\"uniform\" min=\"3\"/>", 2, "write max=\"500\""),
        ("<recv request=\"A\"/>\n<pause min=\"500\" max=\"100\"/>", 2, "swap them"),
        ("<recv request=\"A\" condexec_inverse=\"true\"/>", 1, "inverts nothing"),
        ("<recv request=\"A\" next=\"a\" chance=\"2\"/>\n<label id=\"a\"/>", 1, "is more than all"),
        ("<send/>", 1, "a message is missing"),
        ("<send>\n<![CDATA[\n\nINVITE sip:a SIP/2.0\nTo: [field1]\n]]></send>", 5, "--scenario-fields FILE"),
        ("<send lost=\"101\"><![CDATA[ACK sip:a SIP/2.0]]></send>", 1, "write percent"),
        ("<send><![CDATA[ACK sip:a SIP/2.0]]><label/></send>", 1, "write an <action>"),
        (
            "<recv request=\"A\">\n<action>\n<jump/></action></recv>",
            3,
            "the action <jump> is not of the subset",
        ),
        ("<nop><action><assign value=\"1\"/></action></nop>", 1, "assign_to=\"1\""),
        ("<nop><action><add assign_to=\"a\"/></action></nop>", 1, "write value=\"1\""),
        ("<nop><action><add assign_to=\"a\" value=\"NaN\"/></action></nop>", 1, "is not a number"),
        (
            "<nop><action><test variable=\"a\" assign_to=\"b\" value=\"1\" compare=\"is\"/></action></nop>",
            1,
            "there are equal",
        ),
        ("<nop><action><strcmp variable=\"a\" assign_to=\"b\"/></action></nop>", 1, "write value=\"text\""),
        ("<nop><action><exec command=\"ls\"/></action></nop>", 1, "programs are not started"),
        ("<nop><action>\n<exec play_pcap_audio=\"a.pcap\"/></action></nop>", 2, "beneath the folder"),
        ("<nop><action><exec rtp_stream=\"no.ulaw\"/></action></nop>", 1, "beneath the folder"),
        ("<nop><action><exec rtp_stream=\"a,x\"/></action></nop>", 1, "write -1"),
        ("<nop><action><exec rtp_stream=\"a,1,18,G729/8000\"/></action></nop>", 1, "8,PCMA/8000"),
        ("<nop><action><ereg regexp=\"a\"/></action></nop>", 1, "does nothing with what it finds"),
        (
            "<nop><action><ereg regexp=\"a\" search_in=\"hdr\" assign_to=\"1\"/></action></nop>",
            1,
            "header=\"From:\"",
        ),
        (
            "<nop><action><ereg regexp=\"a\" search_in=\"line\" assign_to=\"1\"/></action></nop>",
            1,
            "msg, hdr, body or var",
        ),
    ];
    for (steps, line, said) in cases {
        let (at, reason) = refused(steps);
        assert!(at == line && reason.contains(said), "{steps}:\n{at}: {reason}");
    }
}

#[test]
fn all_faults_of_a_file_are_told_at_once() {
    let faults = read("<recv/>\n<pause/>\n<wait/>\n<recv response=\"20\"/>").unwrap_err();
    assert_eq!(faults.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 4, 5]);
}

#[test]
fn what_sipp_reads_is_read_although_it_is_not_xml() {
    let text = "<scenario>\n<!-- a -- b -->\n<recv request=\"INVITE\"crlf=\"true\">\n<action>\n\
                <ereg regexp=\"\\\"A\\\" <sip:\" assign_to=\"1\"/></action></recv>\n<recv/>";
    let faults = parse(Path::new("made.xml"), text, &BTreeMap::new(), Fields::default()).unwrap_err();
    assert_eq!((faults.len(), faults[0].0), (1, 6), "{faults:?}");
}

#[test]
fn a_stream_is_read_from_beside_the_scenario_or_as_the_command_line_says() {
    let (house, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (secret, hidden) = (outside.path().join("secret"), outside.path().join("hidden"));
    for path in [&secret, &hidden, &house.path().join("tone.ulaw")] {
        std::fs::write(path, [0xff; 320]).unwrap();
    }
    std::fs::create_dir(house.path().join("sounds")).unwrap();
    std::fs::write(house.path().join("sounds/a.ulaw"), [0xff; 320]).unwrap();
    std::os::unix::fs::symlink(&hidden, house.path().join("link.ulaw")).unwrap();
    let keys = BTreeMap::from([("sound".to_owned(), secret.display().to_string())]);
    let plays = |file: &str| {
        let text = format!(
            "<scenario>{RECV}<nop><action><exec rtp_stream=\"{file},-1\"/></action></nop></scenario>"
        );
        parse(&house.path().join("made.xml"), &text, &keys, Fields::default())
            .map(drop)
            .map_err(|faults| faults[0].1.clone())
    };
    for file in ["tone.ulaw", "sounds/a.ulaw", "./sounds/../tone.ulaw", "[sound]"] {
        assert_eq!(plays(file), Ok(()), "{file}");
    }
    assert_eq!(plays(&secret.display().to_string()), Ok(()), "the key names it");
    let above = format!("../{}/hidden", outside.path().file_name().unwrap().display());
    for file in
        [&hidden.display().to_string(), &above, "link.ulaw", "/proc/self/environ", "sounds", "[other]"]
    {
        let why = plays(file).unwrap_err();
        assert!(why.contains("--scenario-key sound=FILE"), "{file}: {why}");
    }
}

#[test]
fn long_scenarios_are_refused_or_read_without_comparing_all_with_all() {
    let many: String = (0..200_000).map(|n| format!(" a{n}=\"\"")).collect();
    let (line, reason) = refused(&format!("{RECV}<nop{many}/>"));
    assert!(line == 2 && reason.contains("more than 1000 attributes"), "{line}: {reason}");
    let optional = "<recv request=\"A\" optional=\"true\"/>\n".repeat(15_000);
    assert_eq!(read(&format!("{optional}{RECV}")).unwrap().steps.len(), 15_001);
    assert_eq!(read(&format!("{RECV}{optional}")).unwrap().steps.len(), 15_001);
    assert_eq!(refused(&format!("{RECV}{optional}<pause/>")).0, 2, "the first of those that wait");
    assert!(refused(&optional.repeat(4)).1.contains("nodes limit"));
    let ereg = |n: usize| format!("<ereg regexp=\"a\" search_in=\"msg\" assign_to=\"v{n}\"/>");
    let variables: String = (0..1_500).map(ereg).collect();
    let (_, reason) = refused(&format!("<recv request=\"A\"><action>{variables}</action></recv>"));
    assert!(reason.contains("1000 at most"), "{reason}");
}

#[test]
fn a_file_that_is_no_scenario_is_refused() {
    let parse =
        |text: &str| parse(Path::new("made.xml"), text, &BTreeMap::new(), Fields::default()).map(drop);
    assert!(parse("<plan/>").unwrap_err()[0].1.contains("write <scenario>"));
    // the head of SIPp's own scenarios
    let begins =
        "<?xml version=\"1.0\" encoding=\"ISO-8859-1\" ?>\n<!DOCTYPE scenario SYSTEM \"sipp.dtd\">\n";
    assert_eq!(parse(&format!("{begins}<scenario>{RECV}</scenario>")), Ok(()));
}

#[test]
fn every_scenario_of_our_own_tests_is_read() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tone.ulaw"), [0xff; 320]).unwrap();
    let names = "rtcp mport formats formats_then more more_asked more_then more_update body reply_more reply_body hold \
                 hold_ip hops answer refer_to";
    let keys = names.split_whitespace().map(|name| (name.to_owned(), String::new())).collect();
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sipp");
    let mut count = 0;
    for part in ["", "load"] {
        for entry in std::fs::read_dir(ours.join(part)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|it| it == "xml") {
                let text = std::fs::read_to_string(&path).unwrap();
                let read = parse(&folder.path().join("made.xml"), &text, &keys, Fields::default());
                assert!(read.is_ok(), "{}: {:?}", path.display(), read.err());
                count += 1;
            }
        }
    }
    assert!(count > 40, "{count}");
}
