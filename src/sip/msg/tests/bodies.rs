use super::super::body::{Content, Part, mixed};
use super::*;

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\n";

fn part(head: &str, data: &str) -> String {
    format!("--edge\r\n{head}\r\n{data}\r\n")
}

fn content(content_type: &str, body: &str) -> Content {
    request(options(&format!("{content_type}\r\n"), body)).content()
}

fn of_parts(parts: &[String]) -> Content {
    content("Content-Type: multipart/mixed;boundary=edge", &format!("{}--edge--\r\n", parts.concat()))
}

fn sdp() -> String {
    part("Content-Type: application/sdp\r\n", SDP)
}

fn session(content: &Content) -> Option<String> {
    content.session.as_deref().map(text)
}

#[test]
fn the_part_that_is_sdp_is_the_session_wherever_it_stands() {
    let isup = part(
        "Content-Type: application/isup;version=x\r\nContent-Disposition: signal;handling=optional\r\n",
        "\u{1}\u{2}",
    );
    for parts in [vec![sdp()], vec![sdp(), isup.clone()], vec![isup.clone(), sdp()]] {
        let read = of_parts(&parts);
        assert_eq!(session(&read).as_deref(), Some(SDP), "{parts:?}");
        assert_eq!((read.parts.len(), read.fault), (parts.len() - 1, None));
        assert!(!read.parts.iter().any(|part| part.is_required));
    }
    for kind in ["multipart/related", "Multipart / Mixed", "multipart/unheard-of"] {
        let body = format!("a preamble\r\n{}--edge--\r\nand more", sdp());
        let read = content(&format!("c:{kind} ; type=\"x;y\" ;\r\n boundary=\"edge\""), &body);
        assert_eq!(session(&read).as_deref(), Some(SDP), "{kind}");
    }
    let by_line_feeds = content("c: multipart/mixed;boundary=edge", &sdp().replace("\r\n", "\n"));
    assert_eq!(session(&by_line_feeds), Some(SDP.replace("\r\n", "\n")), "without the last delimiter");
}

#[test]
fn a_body_is_what_its_content_type_says() {
    assert_eq!(session(&content("Content-Type: Application/SDP ;charset=utf-8", SDP)).as_deref(), Some(SDP));
    assert_eq!(session(&content("X: y", SDP)).as_deref(), Some(SDP), "nothing else is said");
    for other in [
        "c: text/plain",
        "c: application/sdp\r\nContent-Encoding: gzip",
        "c: application/sdp2",
        "c: application/sdp\r\nContent-Disposition: early-session",
        "c: multipart",
        "c: ;",
    ] {
        let read = content(other, SDP);
        assert_eq!((session(&read), read.fault), (None, None), "{other}");
        assert!(read.parts[0].is_required, "{other}");
    }
    let optional = content("c: text/plain\r\nContent-Disposition: render; Handling = \"Optional\"", "x");
    assert!(!optional.parts[0].is_required);
    assert_eq!(content("c: application/sdp", ""), Content::default());
}

#[test]
fn what_has_to_be_understood_is_told() {
    let head = |handling: &str| {
        format!("Content-Type: application/x-odd\r\nContent-Disposition: signal;handling={handling}\r\n")
    };
    for (handling, is_required) in
        [("required", true), ("\"REQUIRED\"", true), ("optional", false), ("x", false)]
    {
        assert_eq!(
            of_parts(&[sdp(), part(&head(handling), "x")]).parts[0].is_required,
            is_required,
            "{handling}"
        );
    }
    let encoded = part("c: application/sdp\r\nContent-Transfer-Encoding: base64\r\n", "dj0w");
    assert!(of_parts(std::slice::from_ref(&encoded)).parts[0].is_required, "no call without its session");
    let choice = content("c: multipart/alternative;boundary=edge", &encoded);
    assert!(choice.parts[0].is_required, "nor with a choice of none");
    assert!(!of_parts(&[encoded, sdp()]).parts[0].is_required, "another one is readable");
    let inner = part(&head("required"), "x").replace("--edge", "--in") + "--in--\r\n";
    let nested = |disposition: &str| {
        of_parts(&[sdp(), part(&format!("c: multipart/mixed;boundary=in\r\n{disposition}"), &inner)])
    };
    assert!(nested("").parts[0].is_required);
    assert!(!nested("Content-Disposition: render;handling=optional\r\n").parts[0].is_required);
}

#[test]
fn the_last_alternative_that_is_understood_counts() {
    let other = SDP.replace("o=- 1", "o=- 2");
    let body =
        [sdp(), part("c: application/sdp\r\n", &other), part("c: application/sdpng\r\n", "x")].concat();
    let read = content("c: multipart/alternative;boundary=edge", &body);
    assert_eq!(session(&read), Some(other));
}

#[test]
fn multiparts_have_bounds() {
    let read = of_parts(&vec![part("c: text/plain\r\n", "x"); 8]);
    assert_eq!((read.parts.len(), read.fault), (8, None));
    assert!(of_parts(&vec![part("c: text/plain\r\n", "x"); 9]).fault.is_some());
    let within = |inner: String, edge: &str| {
        format!(
            "--{edge}\r\nContent-Type: multipart/mixed;boundary=in{edge}\r\n\r\n{inner}\r\n--{edge}--\r\n"
        )
    };
    let two = within(sdp().replace("--edge", "--inedge"), "edge");
    assert_eq!(session(&content("c: multipart/mixed;boundary=edge", &two)).as_deref(), Some(SDP));
    let three = within(within(sdp().replace("--edge", "--ininedge"), "inedge"), "edge");
    let read = content("c: multipart/mixed;boundary=edge", &three);
    assert!(read.session.is_none() && read.fault.is_some());
    for broken in ["c: multipart/mixed", "c: multipart/mixed;boundary=", "c: multipart/mixed;boundary=edg"] {
        assert!(content(broken, &sdp()).fault.is_some(), "{broken}");
    }
}

#[test]
fn parts_are_written_as_they_are_read() {
    let part = |kind: &str, data: &str| Part {
        content_type: Bytes::from(kind.to_owned()),
        data: Bytes::from(data.to_owned()),
        ..Part::default()
    };
    let location = Part {
        id: Some("<place@h>".into()),
        disposition: Some("render;handling=optional".into()),
        ..part("application/pidf+xml", "<x/>")
    };
    let (content_type, data) = mixed(&[part("application/sdp", SDP), location.clone()]);
    let read = Content::read(content_type.as_bytes(), data.into());
    assert_eq!((session(&read).as_deref(), read.parts), (Some(SDP), vec![location]));
}
