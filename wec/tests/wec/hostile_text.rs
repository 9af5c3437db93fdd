//! Text of a CA that could move the terminal's cursor, set its title, or forge a log line.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// A JSON string that sets the title, rings the bell, hides text, clears the screen, reverses text and forges a line.
const HOSTILE: &str = r"no\u001b]0;owned\u0007 \u0000 \u009b2J \u202etxt.exe\r\nINFO wec: all is well";

/// A CA that refuses every account with this text.
fn fake_ca() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || while answer(&stream, address).is_some() {});
        }
    });
    address
}

fn answer(stream: &TcpStream, address: SocketAddr) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    reader.read_line(&mut request).ok().filter(|read| *read > 0)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    reader.read_exact(&mut vec![0; length]).ok()?;
    let (status, kind, body) = match request.split(' ').nth(1).unwrap() {
        "/dir" => {
            let urls = ["newNonce", "newAccount", "newOrder", "revokeCert", "keyChange"];
            let urls = urls.map(|name| format!(r#""{name}":"http://{address}/{name}""#)).join(",");
            ("200 OK", "application/json", format!("{{{urls}}}"))
        }
        "/newNonce" => ("200 OK", "text/plain", String::new()),
        _ => {
            let urn = "urn:ietf:params:acme:error";
            let sub = format!(
                r#"{{"type":"{urn}:dns","detail":"{HOSTILE}","identifier":{{"type":"dns","value":"{HOSTILE}"}}}}"#
            );
            let body = format!(r#"{{"type":"{urn}:malformed","detail":"{HOSTILE}","subproblems":[{sub}]}}"#);
            ("400 Bad Request", "application/problem+json", body)
        }
    };
    let nonce = format!("{:x}", std::ptr::from_ref(&body).addr());
    write!(
        &*stream,
        "HTTP/1.1 {status}\r\nReplay-Nonce: {nonce}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .ok()
}

#[test]
fn control_characters_in_a_cas_text_are_escaped() {
    let folder = tempfile::tempdir().unwrap();
    let directory = format!("http://{}/dir", fake_ca());
    let listen = ["--http01-listen", "127.0.0.1:0"];
    let output = crate::common::run(
        folder.path(),
        &[
            &["run", "--headless", "--iterations", "12", "--workers", "2", "--directory", &directory][..],
            &listen,
        ]
        .concat(),
    );
    let shown =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    for hidden in ['\u{1b}', '\u{7}', '\0', '\u{9b}', '\u{202e}', '\r'] {
        assert!(!shown.contains(hidden), "{hidden:?} in {shown:?}");
    }
    assert!(!shown.lines().any(|line| line.starts_with("INFO wec:")), "{shown}");
    assert!(shown.contains(r"no\u001b]0;owned\u0007"), "{shown}");
}
