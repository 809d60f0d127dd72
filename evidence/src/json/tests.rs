//! RFC 8785's samples as far as the restriction lets them in, and text that is almost canonical.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Input and its canonical form: RFC 8785 sections 3.2.2.2 and 3.2.3, and the samples of its author that hold
/// neither floats, booleans nor null (french, structures, unicode, weird).
const RFC_8785: [(&str, &str); 5] = [
    (
        r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One",
            "\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}"#,
        "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\
         \"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\
         \"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}",
    ),
    (
        r#"{"string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/"}"#,
        r#"{"string":"€$\u000f\nA'B\"\\\\\"/"}"#,
    ),
    (
        r#"{ "peach": "This sorting order", "péché": "is wrong according to French",
            "pêche": "but canonicalization MUST", "sin": "ignore locale" }"#,
        r#"{"peach":"This sorting order","péché":"is wrong according to French","pêche":"but canonicalization MUST","sin":"ignore locale"}"#,
    ),
    (
        r#"{ "1": {"f": {"f": "hi","F": 5} ,"\n": 56}, "10": {}, "": "empty", "a": {}, "111": [ {"e": "yes","E": "no" } ], "A": {} }"#,
        r#"{"":"empty","1":{"\n":56,"f":{"F":5,"f":"hi"}},"10":{},"111":[{"E":"no","e":"yes"}],"A":{},"a":{}}"#,
    ),
    (r#"{ "Unnormalized Unicode":"A\u030a" }"#, "{\"Unnormalized Unicode\":\"A\u{30a}\"}"),
];

fn parse(text: &str) -> Result<Value, JsonError> {
    Value::parse(text.as_bytes())
}

#[test]
fn the_samples_of_rfc_8785_come_out() {
    for (input, canonical) in RFC_8785 {
        let value = Value::parse_any(input.as_bytes()).unwrap();
        assert_eq!(value.encode(), canonical);
        assert_eq!(parse(canonical), Ok(value));
        assert!(matches!(parse(input), Err(JsonError::NotCanonical(_))), "{input}");
    }
}

#[test]
fn every_character_has_one_escape() {
    for code in 0..0x180 {
        let c = char::from_u32(code).unwrap();
        let expected = match c {
            '"' => "\\\"".to_owned(),
            '\\' => "\\\\".to_owned(),
            '\u{8}' => "\\b".to_owned(),
            '\t' => "\\t".to_owned(),
            '\n' => "\\n".to_owned(),
            '\u{c}' => "\\f".to_owned(),
            '\r' => "\\r".to_owned(),
            _ if code < 0x20 => format!("\\u00{code:02x}"),
            _ => c.to_string(),
        };
        let canonical = format!("\"{expected}\"");
        assert_eq!(text(c).encode(), canonical);
        assert_eq!(parse(&canonical), Ok(text(c)), "{code:x}");
        let escaped = format!("\"\\u{code:04x}\"");
        assert_eq!(parse(&escaped).is_ok(), escaped == canonical, "{escaped}");
    }
}

#[test]
fn other_texts_of_a_value_are_refused() {
    let not_canonical = [
        " 1",
        "1 ",
        "1\n",
        "[1 ,2]",
        "[1, 2]",
        "{ }",
        "[ ]",
        "{\"a\" :1}",
        "{\"a\": 1}",
        "{\"b\":1,\"a\":2}",
        "{\"a\":1,\"a\":1}",
        "{\"a\":1,\"a\":2}",
        "\"\\/\"",
        "\"\\u0041\"",
        "\"\\u000A\"",
        "\"\\u001F\"",
        "\"\\u00e9\"",
        "\"\\ud83d\\ude00\"",
        "\"\\u007f\"",
    ];
    for text in not_canonical {
        assert!(matches!(parse(text), Err(JsonError::NotCanonical(_))), "{text}: {:?}", parse(text));
    }
    let not_allowed = [
        "null",
        "true",
        "false",
        "1.0",
        "1e2",
        "1E2",
        "0.1",
        "-0",
        "-0.0",
        "9007199254740992",
        "-9007199254740992",
        "18446744073709551615",
        "18446744073709551616",
        "1e400",
        "[null]",
        "{\"a\":true}",
    ];
    for text in not_allowed {
        assert!(
            matches!(parse(text), Err(JsonError::Kind(_) | JsonError::Syntax(_))),
            "{text}: {:?}",
            parse(text)
        );
    }
    let not_json = [
        "",
        " ",
        "{",
        "[",
        "\"",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "'a'",
        "01",
        "+1",
        "-",
        "0x1",
        "1 2",
        "NaN",
        "Infinity",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ude00\\ud83d\"",
        "\"\\x\"",
        "\"\n\"",
        "\"\t\"",
        "\"\0\"",
        "\u{feff}1",
        "//\n1",
        "[1]]",
    ];
    for text in not_json {
        assert!(matches!(parse(text), Err(JsonError::Syntax(_))), "{text:?}: {:?}", parse(text));
    }
    for bytes in [&b"\"\xff\""[..], b"\"\xed\xa0\x80\"", b"\"\xc0\xaf\"", b"\xef\xbb\xbf1"] {
        assert!(matches!(Value::parse(bytes), Err(JsonError::Syntax(_))), "{bytes:?}");
    }
}

#[test]
fn integers_end_at_two_to_the_53() {
    for number in [0, 1, -1, INTEGER_MAX, -INTEGER_MAX] {
        assert_eq!(parse(&number.to_string()), Ok(Value::Integer(number)));
    }
    assert_eq!(count(u64::MAX), Value::Integer(INTEGER_MAX));
    assert_eq!(count(INTEGER_MAX.unsigned_abs()), Value::Integer(INTEGER_MAX));
}

#[test]
fn the_outermost_value_is_at_level_1_and_level_64_is_the_last() {
    let arrays = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let objects = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    assert!(parse(&arrays(DEPTH_MAX)).is_ok());
    assert_eq!(parse(&arrays(DEPTH_MAX + 1)), Err(JsonError::Depth));
    // The number inside is a level of its own.
    assert!(parse(&objects(DEPTH_MAX - 1)).is_ok());
    assert_eq!(parse(&objects(DEPTH_MAX)), Err(JsonError::Depth));
    // Far deeper input must end in an error and not in an exhausted stack.
    assert!(parse(&arrays(1_000_000)).is_err());
}

/// Some JSON libraries give members of these names a meaning of their own.
#[test]
fn no_member_name_is_special() {
    for name in ["$serde_json::private::Number", "$serde_json::private::RawValue", "__proto__", ""] {
        let text = format!("{{\"{name}\":\"1\"}}");
        assert_eq!(parse(&text).unwrap().encode(), text);
    }
}

#[test]
fn base64_and_decimals_re_encode_to_themselves() {
    for (encoded, bytes) in [("", &b""[..]), ("AA==", b"\0"), ("+/+/", b"\xfb\xff\xbf"), ("Zm8=", b"fo")] {
        assert_eq!(decode_base64(encoded).as_deref(), Some(bytes));
        assert_eq!(encode_base64(bytes), encoded);
    }
    for bad in
        ["A", "AA", "AA=", "AA===", "AB==", "Zm9=", "-_-_", "AA==\n", " AA==", "AA= =", "====", "Zm8=Zm8="]
    {
        assert_eq!(decode_base64(bad), None, "{bad:?}");
    }
    assert_eq!(decode_decimal("18446744073709551615"), Some(u64::MAX));
    assert_eq!(decode_decimal("0"), Some(0));
    for bad in ["", "00", "01", "+1", "-1", "-0", " 1", "1 ", "1.0", "1e1", "18446744073709551616", "١"] {
        assert_eq!(decode_decimal(bad), None, "{bad:?}");
    }
}

fn members(text: &str) -> Members {
    Members::of(parse(text).unwrap(), "act").unwrap()
}

fn problem<T: std::fmt::Debug>(result: Result<T, JsonError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn members_are_taken_once_and_by_type() {
    let mut m = members(r#"{"a":1,"b":"x","c":[],"d":{"e":2}}"#);
    assert_eq!(m.count("a"), Ok(1));
    assert_eq!(problem(m.count("a")), "act.a: is missing");
    assert_eq!(m.text("b").as_deref(), Ok("x"));
    assert_eq!(m.array("c"), Ok(vec![]));
    let mut d = m.object("d").unwrap();
    assert_eq!(d.count("e"), Ok(2));
    assert_eq!(d.finish(), Ok(()));
    assert_eq!(m.finish(), Ok(()));
    assert_eq!(problem(members(r#"{"a":1}"#).finish()), "act.a: is not known here");
    assert!(Members::of(Value::Array(vec![]), "act").is_err());
}

#[test]
fn members_of_another_type_are_refused() {
    let all = r#"{"array":[1],"integer":7,"negative":-1,"object":{},"text":"x","texts":["x"],"two":[{},{}]}"#;
    for key in ["array", "integer", "negative", "object", "texts", "two", "absent"] {
        assert!(members(all).text(key).is_err(), "{key} as text");
        assert!(members(all).digest(key).is_err(), "{key} as digest");
        assert!(members(all).base64(key).is_err(), "{key} as base64");
        assert!(members(all).time(key).is_err(), "{key} as time");
        assert!(members(all).parsed::<crate::ids::Name>(key).is_err(), "{key} as name");
    }
    for key in ["array", "negative", "object", "text", "texts", "two", "absent"] {
        assert!(members(all).count(key).is_err(), "{key} as count");
        assert!(members(all).flag(key).is_err(), "{key} as flag");
    }
    for key in ["integer", "object", "text", "absent"] {
        assert!(members(all).array(key).is_err(), "{key} as array");
        assert!(members(all).objects(key).is_err(), "{key} as objects");
        assert!(members(all).optional_object(key).is_err(), "{key} as object or none");
        assert!(members(all).optional_digest(key).is_err(), "{key} as digest or none");
        assert!(members(all).parsed_list::<crate::ids::Name>(key).is_err(), "{key} as names");
    }
    assert!(members(all).flag("integer").is_err());
    assert!(members(all).object("text").is_err());
    assert!(members(all).objects("array").is_err());
    assert!(members(all).optional_object("two").is_err());
    assert!(members(all).parsed_list::<crate::ids::Name>("array").is_err());
    assert!(members(all).optional_digest("texts").is_err());
}

#[test]
fn optional_members_hold_none_or_one() {
    let digest = Digest::of(b"x");
    let mut m = members(&format!(r#"{{"many":["{digest}","{digest}"],"none":[],"one":["{digest}"]}}"#));
    assert_eq!(m.optional_digest("none"), Ok(None));
    assert_eq!(m.optional_digest("one"), Ok(Some(digest)));
    assert!(m.optional_digest("many").is_err());
    let mut m = members(r#"{"none":[],"one":[{"a":1}]}"#);
    assert!(m.optional_object("none").unwrap().is_none());
    assert_eq!(m.optional_object("one").unwrap().unwrap().count("a"), Ok(1));
}

#[test]
fn a_time_is_a_plain_decimal_up_to_two_to_the_53() {
    for (text, ms) in
        [("0", 0), ("1795336496789", 1_795_336_496_789), ("9007199254740991", INTEGER_MAX as u64)]
    {
        assert_eq!(members(&format!(r#"{{"t":"{text}"}}"#)).time("t"), Ok(Timestamp(ms)));
    }
    for text in ["", "-1", "+1", "01", "1.0", " 1", "9007199254740992", "18446744073709551615"] {
        assert!(members(&format!(r#"{{"t":"{text}"}}"#)).time("t").is_err(), "{text:?}");
    }
}

fn values() -> impl Strategy<Value = Value> {
    // Keys and texts from characters whose order or escape differs between encodings.
    let string = prop_oneof![
        "[a-c\u{7f}\u{80}é€\u{e000}\u{fb33}\u{10000}😀\"\\\\/\u{0}-\u{1f}]{0,4}",
        any::<String>(),
    ];
    let leaf = prop_oneof![
        (-INTEGER_MAX..=INTEGER_MAX).prop_map(Value::Integer),
        (-3..3i64).prop_map(Value::Integer),
        string.clone().prop_map(Value::String),
    ];
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::btree_map(string.clone(), inner, 0..6).prop_map(Value::Object),
        ]
    })
}

proptest! {
    #[test]
    fn values_come_back(value in values()) {
        prop_assert_eq!(Value::parse(&value.to_bytes()), Ok(value));
    }

    #[test]
    fn a_changed_byte_is_refused_or_another_value(value in values(), at: prop::sample::Index, by in 1..=255u8) {
        let mut bytes = value.to_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= by;
        prop_assert_ne!(Value::parse(&bytes), Ok(value));
    }

    #[test]
    fn an_inserted_or_removed_byte_is_refused_or_another_value(value in values(), at: prop::sample::Index, byte: u8) {
        let bytes = value.to_bytes();
        let at = at.index(bytes.len());
        let mut longer = bytes.clone();
        longer.insert(at, byte);
        prop_assert_ne!(Value::parse(&longer), Ok(value.clone()));
        let mut shorter = bytes;
        shorter.remove(at);
        prop_assert_ne!(Value::parse(&shorter), Ok(value));
    }

    #[test]
    fn whatever_parses_is_canonical(bytes in prop::collection::vec(prop::sample::select(&b"{}[]\",:\\u0123-ab \n"[..]), 0..24)) {
        if let Ok(value) = Value::parse(&bytes) {
            prop_assert_eq!(value.to_bytes(), bytes);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        if let Ok(value) = Value::parse_any(&bytes) {
            prop_assert_eq!(Value::parse(&value.to_bytes()), Ok(value));
        }
    }

    /// The order of UTF-16 code units, as an array of u16 sorts them.
    #[test]
    fn members_stand_in_utf16_order(keys in prop::collection::btree_set(any::<String>(), 0..12)) {
        let value = Value::Object(keys.iter().map(|key| (key.clone(), Value::Integer(0))).collect());
        let sorted: BTreeSet<Vec<u16>> = keys.iter().map(|key| key.encode_utf16().collect()).collect();
        let expected: Vec<String> = sorted
            .iter()
            .map(|key| format!("{}:0", text(String::from_utf16(key).unwrap()).encode()))
            .collect();
        prop_assert_eq!(value.encode(), format!("{{{}}}", expected.join(",")));
    }
}
