//! See `fuzz::witness_log`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzz::witness_log(data);
});
