//! One GET over plain HTTP/1.1, for the status alone.
//! Unaware of TLS, redirects and bodies: a gate asks whether something answers.

use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// For a connection to be made.
pub(super) const CONNECT: Duration = Duration::from_secs(3);
/// For the answer's first line.
const ANSWER: Duration = Duration::from_secs(10);
/// A status line is far shorter.
const LONGEST: u64 = 8192;

/// The status that a URL answers with.
pub(super) async fn status(url: &str) -> Result<u16, String> {
    let target = Target::parse(url)?;
    let mut stream = connect(&target.address).await?;
    let ask = async {
        stream.write_all(target.request().as_bytes()).await?;
        first_line(&mut stream).await
    };
    let line = match tokio::time::timeout(ANSWER, ask).await {
        Ok(line) => line.map_err(|error| error.to_string())?,
        Err(_) => return Err(format!("no answer within {}s", ANSWER.as_secs())),
    };
    parse_status(&line).ok_or_else(|| "the answer is not HTTP".to_owned())
}

/// A connection to `host:port`, where one can be made.
pub(super) async fn connect(address: &str) -> Result<TcpStream, String> {
    match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
        Ok(stream) => stream.map_err(|error| plain(&error)),
        Err(_) => Err(format!("no connection within {}s", CONNECT.as_secs())),
    }
}

/// Without the number that the standard library adds.
fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => error.to_string(),
    }
}

async fn first_line(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut line = Vec::with_capacity(256);
    let mut limited = stream.take(LONGEST);
    while !line.contains(&b'\n') && limited.read_buf(&mut line).await? > 0 {}
    Ok(line)
}

fn parse_status(line: &[u8]) -> Option<u16> {
    let end = line.iter().position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(line.get(..end)?).ok()?;
    let mut words = line.trim_end().splitn(3, ' ');
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    words.next().filter(|code| code.len() == 3)?.parse().ok()
}

/// What a URL asks of whom.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    address: String,
    host: String,
    path: String,
}

impl Target {
    fn parse(url: &str) -> Result<Self, String> {
        if url.starts_with("https://") {
            return Err("https is not supported in this version; use `run` with curl".to_owned());
        }
        let rest = url.strip_prefix("http://").ok_or("a URL begins with `http://`")?;
        if rest.contains(|c: char| c.is_control() || c == ' ') {
            return Err("a URL has no blanks".to_owned());
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let cut = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(cut);
        if host.is_empty() {
            return Err("the URL names no host".to_owned());
        }
        if host.contains('@') {
            return Err("a user in a URL is not supported; use `run` with curl".to_owned());
        }
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let address = if has_port { host.to_owned() } else { format!("{host}:80") };
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { address, host: host.to_owned(), path })
    }

    fn request(&self) -> String {
        format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: flowrun\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            self.path, self.host
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Target, parse_status};

    fn target(address: &str, host: &str, path: &str) -> Target {
        Target { address: address.to_owned(), host: host.to_owned(), path: path.to_owned() }
    }

    #[test]
    fn a_url_is_taken_apart() {
        assert_eq!(Target::parse("http://a"), Ok(target("a:80", "a", "/")));
        assert_eq!(Target::parse("http://a:8080/x?y#z"), Ok(target("a:8080", "a:8080", "/x?y")));
        assert_eq!(Target::parse("http://a?y"), Ok(target("a:80", "a", "/?y")));
        assert_eq!(Target::parse("http://[::1]/x"), Ok(target("[::1]:80", "[::1]", "/x")));
        assert_eq!(Target::parse("http://[::1]:81/x"), Ok(target("[::1]:81", "[::1]:81", "/x")));
    }

    #[test]
    fn a_url_that_cannot_be_asked_is_refused_with_the_reason() {
        for (url, reason) in [
            ("https://a", "https is not supported"),
            ("a:80", "begins with `http://`"),
            ("http:///x", "no host"),
            ("http://u:p@a/", "a user in a URL"),
            ("http://a/x\r\nEvil: 1", "no blanks"),
        ] {
            let refused = Target::parse(url).expect_err(url);
            assert!(refused.contains(reason), "{url}: {refused}");
        }
    }

    #[test]
    fn a_status_is_read_from_the_first_line_only() {
        assert_eq!(parse_status(b"HTTP/1.1 204 No Content\r\nX: y"), Some(204));
        assert_eq!(parse_status(b"HTTP/1.0 500\r\n"), Some(500));
        for bad in [&b"HTTP/1.1 200 OK"[..], b"SSH-2.0-x\r\n", b"HTTP/1.1 20 OK\r\n", b"\xff\n", b""] {
            assert_eq!(parse_status(bad), None, "{bad:?}");
        }
    }
}
