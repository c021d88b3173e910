#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| walstone_tests::fuzz::decode(data));
