use tokio::net::TcpListener;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

fn proxy(text: &str) -> Proxy {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn proxies_are_addresses_with_or_without_a_scheme() {
    for (text, shown, secret) in [
        ("http://proxy.example.com:3128", "proxy.example.com:3128", None),
        ("HTTP://proxy.example.com:3128/", "proxy.example.com:3128", None),
        ("proxy.example.com:3128", "proxy.example.com:3128", None),
        ("http://proxy.example.com", "proxy.example.com:80", None),
        ("http://[2001:db8::1]:8080", "[2001:db8::1]:8080", None),
        ("http://[2001:db8::1]", "[2001:db8::1]:80", None),
        ("http://anna:geheim@192.0.2.1:8080", "192.0.2.1:8080", Some("Basic YW5uYTpnZWhlaW0=")),
        ("http://anna@proxy:1", "proxy:1", Some("Basic YW5uYTo=")),
        ("http://anna:p@ss:w%25rd@proxy:1", "proxy:1", Some("Basic YW5uYTpwQHNzOnclcmQ=")),
    ] {
        let proxy = proxy(text);
        assert_eq!(proxy.to_string(), shown, "{text}");
        assert_eq!(proxy.authorization.as_deref(), secret, "{text}");
    }
    let colon = "http://a%3Ab:c@proxy:1".parse::<Proxy>();
    assert_eq!(colon, Err(ProxyError::Credentials), "a colon in a name cannot be sent");
}

#[test]
fn a_password_is_in_no_message() {
    let shown = format!("{:?}", proxy("http://anna:geheim@proxy:1"));
    assert!(
        !shown.contains("geheim") && !shown.contains("YW5uY") && shown.contains("with credentials"),
        "{shown}"
    );
    for bad in [
        "https://anna:geheim@proxy:1",
        "socks5://anna:geheim@proxy:1",
        "http://anna:geheim@",
        "http://anna:geheim@proxy:99999",
        "http://anna:geheim%2@proxy:1",
        "http://anna:geheim%0a@proxy:1",
        "http://:geheim@proxy:1",
        "http://anna:geheim@proxy:1/path",
        "://anna:geheim",
        "",
    ] {
        let error = bad.parse::<Proxy>().expect_err(bad);
        assert!(!format!("{error} {error:?}").contains("geheim"), "{error:?}");
    }
    assert_eq!("socks5://proxy:1".parse::<Proxy>(), Err(ProxyError::Scheme("socks5".into())));
}

#[test]
fn some_servers_are_reached_directly() {
    let proxies =
        Proxies::new("http://proxy:1", "example.com, .corp , 10.0.0.0/8,192.0.2.7,2001:db8::/32,nonsense/x,")
            .unwrap();
    for (server, direct) in [
        ("example.com:1", true),
        ("a.example.com:1", true),
        ("A.EXAMPLE.COM:1", true),
        ("badexample.com:1", false),
        ("example.com.evil.org:1", false),
        ("host.corp:1", true),
        ("corp:1", true),
        ("10.200.0.1:1", true),
        ("11.0.0.1:1", false),
        ("192.0.2.7:1", true),
        ("192.0.2.8:1", false),
        ("[2001:db8:1::1]:1", true),
        ("[2001:db9::1]:1", false),
        ("collector.example.org:1", false),
    ] {
        let address: Address = server.parse().expect(server);
        assert_eq!(proxies.for_server(&address).is_none(), direct, "{server}");
    }
    let any: Address = "collector.example.org:1".parse().unwrap();
    assert_eq!(Proxies::new("http://proxy:1", "*").unwrap().for_server(&any), None);
    assert_eq!(Proxies::none().for_server(&any), None);
    let v4: Address = "192.0.2.1:1".parse().unwrap();
    assert_eq!(Proxies::new("proxy:1", "0.0.0.0/0").unwrap().for_server(&v4), None);
    assert!(Proxies::new("proxy:1", "::/0").unwrap().for_server(&v4).is_some(), "another family");
}

#[test]
fn the_lower_case_variable_comes_first_and_an_empty_one_is_none() {
    let read = |pairs: &'static [(&str, &str)]| {
        move |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    };
    let both =
        Proxies::from_environment(read(&[("HTTPS_PROXY", "upper:1"), ("https_proxy", "lower:1")])).unwrap();
    assert_eq!(both.proxy().unwrap().to_string(), "lower:1");
    let upper =
        Proxies::from_environment(read(&[("HTTPS_PROXY", "upper:1"), ("NO_PROXY", "example.com")])).unwrap();
    assert_eq!(upper.for_server(&"example.com:1".parse().unwrap()), None);
    assert!(upper.for_server(&"example.org:1".parse().unwrap()).is_some());
    // http_proxy is for plain HTTP, which nothing here speaks.
    for none in [&[][..], &[("https_proxy", " ")], &[("http_proxy", "plain:1"), ("NO_PROXY", "x")]] {
        let find =
            |name: &str| none.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        assert_eq!(Proxies::from_environment(find), Ok(Proxies::none()));
    }
}

#[test]
fn the_answer_decides() {
    for good in
        ["HTTP/1.1 200 OK", "HTTP/1.0 200 Connection established\r\nVia: x", "HTTP/1.1 200", "HTTP/1.1 204 "]
    {
        assert!(opened(good.as_bytes(), false).is_ok(), "{good}");
    }
    assert!(
        matches!(opened(b"HTTP/1.1 200 OK", true), Err(TunnelError::Malformed(_))),
        "bytes nobody asked for"
    );
    for bad in [
        "",
        "SSH-2.0-x",
        "HTTP/2 200",
        "HTTP/1.1",
        "HTTP/1.1 ",
        "HTTP/1.1 20",
        "HTTP/1.1 abc x",
        "HTTP/1.1 2000 x",
        "\u{0}",
    ] {
        assert!(matches!(opened(bad.as_bytes(), false), Err(TunnelError::Malformed(_))), "{bad:?}");
    }
    for (answer, said) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required",
            "the proxy asks for a name and a password, as in http://name:password@proxy:3128 (it answered 407 Proxy Authentication Required)",
        ),
        (
            "HTTP/1.1 403 \u{1b}[31mFiltered",
            "the proxy does not allow this connection (it answered 403 [31mFiltered)",
        ),
        ("HTTP/1.0 502", "the proxy cannot reach the server (it answered 502)"),
        ("HTTP/1.1 301 Moved", "the proxy opened no tunnel (it answered 301 Moved)"),
    ] {
        assert_eq!(opened(answer.as_bytes(), false).expect_err(answer).to_string(), said);
    }
}

/// What comes of a proxy that answers with `answer`, and what it was asked.
async fn ask(answer: Vec<u8>, keep_open: bool) -> (Result<TcpStream, TunnelError>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = proxy(&format!("http://anna:geheim@{}", listener.local_addr().unwrap()));
    let serve = async {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            tcp.read_buf(&mut asked).await.unwrap();
        }
        // Whoever has read enough hangs up.
        drop(tcp.write_all(&answer).await);
        (keep_open.then_some(tcp), String::from_utf8(asked).unwrap())
    };
    let server = "collector.example.com:7444".parse().unwrap();
    let (tunnel, (_tcp, asked)) = tokio::join!(timeout(PATIENCE, proxy.tunnel(&server, PATIENCE)), serve);
    (tunnel.expect("in time"), asked)
}

#[tokio::test]
async fn it_is_asked_for_a_tunnel_and_nothing_else() {
    let (tunnel, asked) = ask(b"HTTP/1.1 200 Connection established\r\n\r\n".to_vec(), true).await;
    assert!(tunnel.is_ok(), "{tunnel:?}");
    assert_eq!(
        asked,
        "CONNECT collector.example.com:7444 HTTP/1.1\r\nHost: collector.example.com:7444\r\n\
         Proxy-Authorization: Basic YW5uYTpnZWhlaW0=\r\n\r\n"
    );
}

#[tokio::test]
async fn answers_that_are_none_are_named() {
    let long = [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'x'; 64 * 1024], b"\r\n\r\n".to_vec()].concat();
    for (answer, said) in [
        (Vec::new(), "ended before"),
        (b"HTTP/1.1 200 OK\r\n".to_vec(), "ended before"),
        (b"HTTP/1.1 200 OK\r\n\r\n\x16\x03\x03".to_vec(), "more than an answer"),
        (b"\x15\x03\x03\x00\x02\x02\x28\r\n\r\n".to_vec(), "does not begin with HTTP"),
        (long, "longer than 8 KiB"),
    ] {
        let (tunnel, _) = ask(answer, false).await;
        let error = tunnel.expect_err(said).to_string();
        // A peer that closes while bytes of ours are unread resets the connection: that is the other good answer.
        assert!(error.contains(said) || error.contains("broke"), "{error} for {said}");
    }
}

#[tokio::test]
async fn nobody_listening_is_told_from_a_refusal() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let server = "collector.example.com:7444".parse().unwrap();
    let error = proxy(&free.to_string()).tunnel(&server, PATIENCE).await.expect_err("nobody listens");
    assert!(matches!(error, TunnelError::Unreachable(_)), "{error:?}");
}
