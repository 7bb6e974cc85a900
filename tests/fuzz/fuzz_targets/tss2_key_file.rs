#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyward_fuzz::tss2_key_file(data));
