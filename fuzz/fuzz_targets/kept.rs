//! Bytes of all kinds taken for a kept plan: what is read ends, does not panic, and can be emitted or is refused.
#![no_main]

use std::sync::LazyLock;

use hotpatch_plan::image::Image;
use hotpatch_plan::store;
use libfuzzer_sys::fuzz_target;

/// The loader: small, and everywhere.
static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    std::fs::read("/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2").expect("the loader is there")
});

fuzz_target!(|bytes: &[u8]| {
    let image = Image::from_file(&FILE).expect("the loader is whole");
    if let Some(plan) = store::decode(bytes, &image) {
        let _ = plan.emit(&image, image.span().end + 0x1000, 0);
    }
});
