use super::*;

#[test]
fn addresses_have_a_host_and_a_port() {
    for good in
        ["collector.example.com:7443", "localhost:1", "192.0.2.1:65535", "[::1]:7443", "[2001:db8::1]:7443"]
    {
        assert_eq!(good.parse::<Address>().expect(good).to_string(), good);
    }
}

#[test]
fn other_texts_are_refused() {
    for bad in
        ["", "localhost", "localhost:", "localhost:x", "localhost:+1", "localhost:65536", "https://localhost"]
    {
        assert_eq!(bad.parse::<Address>(), Err(AddressError::Port(bad.to_owned())), "{bad}");
    }
    for bad in
        [":7443", "[::1:7443", "::1:7443", "[localhost]:7443", "user@host:7443", "a b:7443", "[]:1", "a/b:1"]
    {
        assert!(matches!(bad.parse::<Address>(), Err(AddressError::Host(_))), "{bad}");
    }
}
