//! A small HTTP client for the node `http` of menu trees: one POST, one answer, then the
//! connection is closed. Plain HTTP only: what it asks is meant to be near.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app::ivr::{AskUrl, UrlAnswer};

/// Octets of an answer's header and body.
const LARGEST: (usize, usize) = (16 << 10, 64 << 10);

/// Fields of an answer's header.
const FIELDS: usize = 64;

/// Longest, whoever waits: a connection that nobody wants any more ends.
const LONGEST: Duration = Duration::from_secs(60);

/// Asks URLs by HTTP/1.1.
#[derive(Debug, Clone, Copy, Default)]
pub struct HttpUrls;

impl AskUrl for HttpUrls {
    fn ask(&self, url: &str, body: Vec<u8>) -> UrlAnswer {
        let target = Target::of(url);
        Box::pin(async move {
            let target = target?;
            match tokio::time::timeout(LONGEST, post(&target, &body)).await {
                Ok(answer) => answer,
                Err(_) => Err("no answer".to_owned()),
            }
        })
    }
}

/// What a URL says.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    /// As Host has it.
    authority: String,
    host: String,
    port: u16,
    path: String,
}

impl Target {
    fn of(url: &str) -> Result<Target, String> {
        let wrong = || format!("{url:?} is no URL of plain HTTP; write it like http://127.0.0.1:8000/next");
        let rest = url.strip_prefix("http://").ok_or_else(wrong)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = path.split('#').next().unwrap_or_default();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let (host, port) = match authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            Some((host, port)) => (host, port.parse().map_err(|_| wrong())?),
            None => (authority, 80),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if host.is_empty() || authority.contains('@') || !plain(authority) || !plain(&path) {
            return Err(wrong());
        }
        Ok(Target { authority: authority.to_owned(), host: host.to_owned(), port, path })
    }
}

async fn post(target: &Target, body: &[u8]) -> Result<Vec<u8>, String> {
    let failed = |error: io::Error| error.to_string();
    let mut stream = TcpStream::connect((target.host.as_str(), target.port)).await.map_err(failed)?;
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: b2b/{}\r\nContent-Type: application/json\r\n\
         Accept: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        target.path,
        target.authority,
        env!("CARGO_PKG_VERSION"),
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).await.map_err(failed)?;
    let mut read = Vec::new();
    let mut piece = [0; 4 << 10];
    loop {
        let length = stream.read(&mut piece).await.map_err(failed)?;
        read.extend_from_slice(piece.get(..length).unwrap_or_default());
        if let Some(body) = answer(&read, length == 0)? {
            return Ok(body);
        }
        if length == 0 {
            return Err("the connection was closed before the answer was complete".to_owned());
        }
        if read.len() > LARGEST.0 + LARGEST.1 * 2 {
            return Err(format!("an answer of more than {} octets", LARGEST.1));
        }
    }
}

/// The body of an answer as far as it has been read. None: more is to come.
fn answer(read: &[u8], closed: bool) -> Result<Option<Vec<u8>>, String> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let wrong = |error: httparse::Error| format!("no HTTP: {error}");
    let body = match response.parse(read).map_err(wrong)? {
        httparse::Status::Partial if read.len() > LARGEST.0 => return Err("no end of its header".to_owned()),
        httparse::Status::Partial => return Ok(None),
        httparse::Status::Complete(length) => read.get(length..).unwrap_or_default(),
    };
    let code = response.code.unwrap_or_default();
    // 100 Continue comes before the answer (RFC 9110 §15.2).
    if (100..200).contains(&code) {
        return answer(body, closed);
    }
    if !(200..300).contains(&code) {
        return Err(format!("it answers {code} {}", response.reason.unwrap_or_default()));
    }
    let value = |name: &str| {
        let field = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        field.map(|field| String::from_utf8_lossy(field.value).trim().to_ascii_lowercase())
    };
    if let Some(coding) = value("Transfer-Encoding") {
        return match coding.as_str() {
            "chunked" => chunks(body),
            _ => Err(format!("the transfer coding {coding:?} is none that we know")),
        };
    }
    let Some(length) = value("Content-Length") else {
        return if closed { small(body.to_vec()).map(Some) } else { Ok(None) };
    };
    let length: usize = length.parse().map_err(|_| "its Content-Length is no number".to_owned())?;
    if length > LARGEST.1 {
        return Err(format!("an answer of {length} octets, more than {}", LARGEST.1));
    }
    Ok(body.get(..length).map(<[u8]>::to_vec))
}

fn small(body: Vec<u8>) -> Result<Vec<u8>, String> {
    match body.len() > LARGEST.1 {
        true => Err(format!("an answer of more than {} octets", LARGEST.1)),
        false => Ok(body),
    }
}

/// A body in chunks (RFC 9112 §7.1).
fn chunks(mut body: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let mut whole = Vec::new();
    loop {
        let (begins, size) = match httparse::parse_chunk_size(body) {
            Ok(httparse::Status::Complete(found)) => found,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err("a chunk without a size".to_owned()),
        };
        if size == 0 {
            return Ok(Some(whole));
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size > LARGEST.1 || whole.len() + size > LARGEST.1 {
            return Err(format!("an answer of more than {} octets", LARGEST.1));
        }
        let Some(chunk) = body.get(begins..begins + size) else { return Ok(None) };
        whole.extend_from_slice(chunk);
        let Some(rest) = body.get(begins + size + 2..) else { return Ok(None) };
        body = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_odd_ones_refused() {
        let target = |url: &str| Target::of(url).map(|it| (it.host, it.port, it.path));
        let of = |host: &str, port, path: &str| Ok((host.to_owned(), port, path.to_owned()));
        assert_eq!(target("http://h/a?b=c#d"), of("h", 80, "/a?b=c"));
        assert_eq!(target("http://[::1]:81"), of("::1", 81, "/"));
        assert_eq!(target("http://[::1]?x"), of("::1", 80, "/?x"));
        for url in
            ["https://h/", "http://", "http://u@h/", "http://h:x/", "http://h/a b", "http://h/\r\nX: 1"]
        {
            assert!(Target::of(url).is_err(), "{url}");
        }
    }

    #[test]
    fn answers_are_read_however_they_are_framed_and_cut() {
        let bodies = [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
        ];
        for text in bodies {
            for end in 0..text.len() {
                let cut = &text.as_bytes()[..end];
                assert!(matches!(answer(cut, false), Ok(None | Some(_))), "{end} of {text}");
            }
            assert_eq!(answer(text.as_bytes(), false), Ok(Some(b"hello".to_vec())), "{text}");
        }
        let until_closed = b"HTTP/1.0 200 OK\r\n\r\nhello";
        assert_eq!(answer(until_closed, false), Ok(None));
        assert_eq!(answer(until_closed, true), Ok(Some(b"hello".to_vec())));
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for text in [
            "SSH-2.0-x\r\n",
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 302 Found\r\nLocation: http://h/\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffff0\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        ] {
            assert!(answer(text.as_bytes(), false).is_err(), "{text}");
        }
    }
}
