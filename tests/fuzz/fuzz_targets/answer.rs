//! Answers of Cloudflare of any kind: status, one header under four names, body.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: (u16, Vec<u8>, Vec<u8>)| {
    let (status, header, body) = input;
    cfshare::cloudflare::fuzz::answer(status % 600, &header, &body);
});
