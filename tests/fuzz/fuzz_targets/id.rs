//! Anything where an id belongs.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| cfshare::cloudflare::fuzz::id(text));
