//! Who may use the web API: origins, hosts, tokens.

use wec_analytics::{Analytics, Config, StartError, Token};
use wec_board::{Board, Session};
use wec_startup::Access;

use super::{JSON, PATCH, service};
use crate::common::exchange;

#[tokio::test]
async fn other_origins_are_refused() {
    let service = service(None).await;
    let own = service.address.to_string();
    let cases: [(Vec<String>, u16); 8] = [
        (vec![format!("Host: {own}")], 200),
        (vec!["Host: wec.test".into()], 200),
        (vec!["Host: evil.example".into()], 403),
        (vec![format!("Host: evil.example:{}", service.address.port())], 403),
        (vec![], 400),
        (vec![format!("Host: {own}"), format!("Origin: http://{own}")], 200),
        (vec![format!("Host: {own}"), "Origin: http://evil.example".into()], 403),
        (vec![format!("Host: {own}"), "Origin: null".into()], 403),
    ];
    for (head, wanted) in cases {
        let head: Vec<_> = head.iter().map(String::as_str).chain([JSON]).collect();
        for (request, body) in
            [("GET /api/v1/runs/current/snapshot", &b""[..]), (PATCH, br#"{"workers":50}"#)]
        {
            let (status, head_back, text) = exchange(service.address, request, &head, body).await;
            assert_eq!(status, wanted, "{request} {head:?}: {text}");
            assert!(head_back.contains("content-security-policy: default-src 'self'"), "{head_back}");
            assert!(head_back.contains("x-content-type-options: nosniff"), "{head_back}");
            assert!(!head_back.contains("access-control-allow"), "{head_back}");
        }
    }
}

#[tokio::test]
async fn a_token_is_required_of_every_client_and_can_become_a_cookie() {
    let service = service(Some("geheim & gut")).await;
    let host = format!("Host: {}", service.address);
    let ask = async |line: &str| {
        exchange(service.address, "GET /api/v1/runs/current/snapshot", &[&host, line], b"").await.0
    };
    assert_eq!(ask("X-Nothing: 1").await, 401);
    assert_eq!(ask("Authorization: Bearer geheim").await, 401);
    assert_eq!(ask("Authorization: Basic geheim & gut").await, 401);
    assert_eq!(ask("Authorization: Bearer geheim & gut").await, 200);
    assert_eq!(exchange(service.address, "GET /healthz", &[&host], b"").await.0, 200);
    assert_eq!(exchange(service.address, PATCH, &[&host, JSON], br#"{"workers":1}"#).await.0, 401);
    assert_eq!(exchange(service.address, "GET /?token=falsch", &[&host], b"").await.0, 401);
    let (status, head, _) = exchange(service.address, "GET /?token=geheim%20%26%20gut", &[&host], b"").await;
    assert_eq!(status, 303);
    assert!(head.contains("location: ./\r\n"), "{head}");
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    assert!(cookie.contains("httponly") && cookie.contains("samesite=strict"), "{cookie}");
    assert!(!cookie.contains("geheim"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    assert_eq!(ask(&format!("Cookie: other=1; {cookie}")).await, 200);
    assert_eq!(ask(&format!("Cookie: {cookie}0")).await, 401);
    // The form of a browser sends the token in its body.
    let log_in = async |origin: &str, body: &str| {
        let form = "Content-Type: application/x-www-form-urlencoded";
        exchange(service.address, "POST /login", &[&host, form, origin], body.as_bytes()).await
    };
    let ours = format!("Origin: http://{}", service.address);
    let (status, head, _) = log_in(&ours, "token=geheim+%26+gut&to=tab%3Druns").await;
    assert_eq!(status, 303, "{head}");
    assert!(head.contains("location: ./?tab=runs\r\n") && head.contains(cookie), "{head}");
    let (status, head, page) = log_in(&ours, "token=falsch&to=tab%3Druns%22%3E").await;
    assert_eq!(status, 401);
    assert!(!head.contains("set-cookie"), "{head}");
    assert!(page.contains("not known here") && page.contains("value=\"tab=runs&quot;&gt;\""), "{page}");
    assert_eq!(log_in("Origin: null", "token=geheim+%26+gut").await.0, 403);
    let browser = "Accept: text/html,application/xhtml+xml";
    let (status, head, page) = exchange(service.address, "GET /?tab=runs", &[&host, browser], b"").await;
    assert_eq!(status, 401);
    assert!(
        page.contains("<form method=\"post\" action=\"login\">") && !page.contains("not known"),
        "{page}"
    );
    assert!(head.contains("content-security-policy: default-src 'self'"), "{head}");
    assert!(
        head.contains("referrer-policy: same-origin"),
        "with no-referrer the origin would be null: {head}"
    );
    assert_eq!(exchange(service.address, "GET /login.css", &[&host], b"").await.0, 200);
    assert_eq!(exchange(service.address, "DELETE /login", &[&host, &ours], b"").await.0, 405);
    let api = exchange(service.address, "GET /api/v1/runs", &[&host, browser], b"").await;
    assert!(api.0 == 401 && api.2.contains("a token is needed"), "{}", api.2);
    // A foreign host name gets no cookie, whatever the token.
    let request = "GET /?token=geheim%20%26%20gut";
    assert_eq!(exchange(service.address, request, &["Host: evil.example"], b"").await.0, 403);
    assert_eq!(format!("{:?}", Token::new("geheim")), "Some(Token(…))");
}

#[tokio::test]
async fn a_named_token_gives_its_right_and_marks_have_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    std::fs::write(&file, "wile:steer:acme\nroad-runner:look:meep\n").unwrap();
    let board = Board::local();
    board.put_session(Session::running("default", 50)).await.unwrap();
    let config = Config {
        web: Some("127.0.0.1:0".parse().unwrap()),
        token: Token::new("one"),
        holders: Access::read(&file).unwrap(),
        ..crate::common::config(folder.path())
    };
    let analytics = Analytics::start(config, board.clone()).await.unwrap();
    let address = analytics.web_addr().unwrap();
    let host = format!("Host: {address}");
    let look = async |credentials: &str| {
        exchange(address, "GET /api/v1/sessions/current", &[&host, credentials], b"").await.0
    };
    let steer = async |credentials: &str, workers: u32| {
        let body = format!(r#"{{"workers":{workers}}}"#);
        exchange(address, PATCH, &[&host, JSON, credentials], body.as_bytes()).await
    };
    let cookie = async |secret: &str| {
        let (_, head, _) = exchange(address, &format!("GET /?token={secret}"), &[&host], b"").await;
        let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
        format!("Cookie: {}", cookie.split(';').next().unwrap())
    };
    let looking = cookie("meep").await;
    for credentials in ["Authorization: Bearer meep", &looking] {
        assert_eq!(look(credentials).await, 200);
        let (status, _, body) = steer(credentials, 1).await;
        assert_eq!(status, 403);
        assert!(body.contains("the token of road-runner has only the right to look"), "{body}");
    }
    let steering = cookie("acme").await;
    for (credentials, workers) in
        [("Authorization: Bearer acme", 60), (&*steering, 70), ("Authorization: Bearer one", 80)]
    {
        assert_eq!(steer(credentials, workers).await.0, 200, "{credentials}");
    }
    assert_eq!(steer("Authorization: Bearer coyote", 90).await.0, 401);
    let journal = board.journal("default").await.unwrap();
    let authors: Vec<_> = journal.iter().map(|change| change.mark.who.as_str()).collect();
    assert_eq!(authors, ["wile", "wile", ""]);
}

#[tokio::test]
async fn listens_beyond_loopback_only_with_a_token() {
    let folder = tempfile::tempdir().unwrap();
    for (web, grpc) in [(Some("0.0.0.0:0"), None), (None, Some("[::]:0"))] {
        let config = Config {
            web: web.map(|address: &str| address.parse().unwrap()),
            grpc: grpc.map(|address: &str| address.parse().unwrap()),
            ..crate::common::config(folder.path())
        };
        let error = Analytics::start(config, Board::local()).await.unwrap_err();
        assert!(matches!(error, StartError::TokenNeeded { .. }), "{error}");
    }
}
