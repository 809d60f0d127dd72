use proptest::prelude::*;

use super::{DEPTH_MAX, Value, parse};

const HEAD: &str = concat!(
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n",
    "<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n",
    "<plist version=\"1.0\">\n"
);

fn xml(body: &str) -> Option<Value> {
    parse(format!("{HEAD}{body}\n</plist>\n").as_bytes())
}

#[test]
fn values_are_what_they_say() {
    let value = xml(
        "<dict><key>on</key><true/><key>n</key><integer>-7</integer><key>t</key><string>a&amp;b</string>\
         <key>d</key><date>2026-11-30T07:02:35Z</date><key>r</key><real>1.5</real><key>b</key><data>AAE=</data>\
         <key>a</key><array><integer>1</integer></array></dict>",
    )
    .unwrap();
    let dict = value.dict().unwrap();
    assert_eq!(dict["on"].flag(), Some(true));
    assert_eq!((&dict["n"], dict["n"].number()), (&Value::Integer(-7), None));
    assert_eq!(dict["t"].text(), Some("a&b"));
    assert_eq!(dict["d"], Value::Seconds(1_796_022_155));
    assert_eq!(dict["r"], Value::Other);
    assert_eq!(dict["b"], Value::Data(vec![0, 1]));
    assert_eq!(dict["a"].array().unwrap()[0].number(), Some(1));
}

#[test]
fn lists_that_are_not_whole_are_none() {
    for body in [
        "",
        "<dict>",
        "<dict><key>a</key></dict>",
        "<dict><true/><key>a</key></dict>",
        "<dict><key>a</key><true/><key>a</key><false/></dict>",
        "<true/><true/>",
        "<integer>nine</integer>",
        "<unknown/>",
        "</dict>",
    ] {
        assert_eq!(xml(body), None, "{body}");
    }
    assert_eq!(parse(b"{ a = 1; }"), None);
}

#[test]
fn nesting_has_a_limit() {
    let nested = |depth: usize| xml(&format!("{}{}", "<array>".repeat(depth), "</array>".repeat(depth)));
    assert!(nested(DEPTH_MAX).is_some());
    assert_eq!(nested(DEPTH_MAX + 1), None);
    assert_eq!(nested(100_000), None);
}

/// One array of two references to the next, 40 deep: 2^40 values in some 300 bytes.
#[test]
fn a_binary_list_that_grows_without_end_is_none() {
    let mut bytes = b"bplist00".to_vec();
    let mut offsets = Vec::new();
    for index in 0..30u8 {
        offsets.push(u8::try_from(bytes.len()).unwrap());
        bytes.extend([0xA2, index + 1, index + 1]);
    }
    offsets.push(u8::try_from(bytes.len()).unwrap());
    bytes.push(0x09);
    let table = u64::try_from(bytes.len()).unwrap();
    let objects = u64::try_from(offsets.len()).unwrap();
    bytes.extend(offsets);
    bytes.extend([0; 6]);
    bytes.extend([1, 1]);
    for number in [objects, 0, table] {
        bytes.extend(number.to_be_bytes());
    }
    assert_eq!(parse(&bytes), None);
}

proptest! {
    #[test]
    fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
        let mut binary = b"bplist00".to_vec();
        binary.extend(&bytes);
        let _ = parse(&binary);
    }
}
