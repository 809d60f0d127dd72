//! One parser under libFuzzer: that which `TALLYSTICK_FUZZ` names. With `TALLYSTICK_SEEDS`, a folder of sets, it writes seeds and
//! ends: a second program would be a second build.
#![no_main]

mod seeds;

use std::path::Path;
use std::sync::OnceLock;

type Parser = fn(&[u8]) -> bool;

/// What a parser with a fault looks like: it falls over four bytes that chance alone would not write in a day. `fuzz/run` is held
/// to finding it.
fn planted(data: &[u8]) -> bool {
    let mut matched = 0;
    for (found, wanted) in data.iter().zip(b"tal\xff") {
        if found != wanted {
            break;
        }
        matched += 1;
    }
    assert!(matched < 4, "the planted fault was found");
    matched > 0
}

fn parser() -> Parser {
    static PARSER: OnceLock<Parser> = OnceLock::new();
    *PARSER.get_or_init(|| {
        let wanted = std::env::var("TALLYSTICK_FUZZ").unwrap_or_default();
        let mut all = fuzz::entries().chain([("planted", planted as Parser)]);
        match all.clone().find(|(name, _)| *name == wanted) {
            Some((_, parser)) => parser,
            None => {
                let names: Vec<&str> = all.by_ref().map(|(name, _)| name).collect();
                panic!("TALLYSTICK_FUZZ must name one of: {}", names.join(" "))
            }
        }
    })
}

fn begin() {
    if let Some(sets) = std::env::var_os("TALLYSTICK_SEEDS") {
        let written = seeds::write(Path::new(&sets));
        if let Err(error) = &written {
            eprintln!("seeds: {error}");
        }
        std::process::exit(i32::from(written.is_err()));
    }
    parser();
}

libfuzzer_sys::fuzz_target!(init: begin(), |data: &[u8]| {
    parser()(data);
});
