//! Decoding takes a bounded multiple of the bytes that came, whatever they claim.
#![allow(unsafe_code, clippy::unwrap_used, clippy::arithmetic_side_effects)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use keyward_protocol::frame::MAX_FRAME;
use keyward_protocol::message::{ClientMessage, ServerMessage};
use minicbor::Encoder;

/// The largest factor: a text of one byte becomes a `String` of 24 in a `Vec` that doubles.
const FACTOR: usize = 48;

#[test]
fn many_small_items_take_a_bounded_multiple() {
    let hello = message(|e| {
        e.map(5)?.u8(0)?.u8(0)?.u8(1)?.u8(1)?.u8(2)?.u8(1)?;
        e.u8(3)?.array(65_000)?;
        for _ in 0..65_000 {
            e.str("")?;
        }
        e.u8(4)?.str("")?.ok()
    });
    let formats = create(|e| {
        e.u8(4)?.array(65_000)?;
        for _ in 0..65_000 {
            e.u8(1)?;
        }
        Ok(())
    });
    let tags = create(|e| {
        e.u8(5)?.map(13_000)?;
        for n in 0..13_000_u32 {
            // Three bytes of text in ascending order.
            e.str(&format!("{n:03x}"))?.str("")?;
        }
        Ok(())
    });
    for (name, bytes) in [("hello", hello), ("formats", formats), ("tags", tags)] {
        let (message, peak) = measured(|| ClientMessage::decode(&bytes));
        assert!(
            peak <= FACTOR * bytes.len(),
            "{name}: {peak} for {}",
            bytes.len()
        );
        assert!(name == "tags" || message.is_ok(), "{name}: {message:?}");
    }
}

#[test]
fn claims_take_nothing() {
    for claim in [
        "5bffffffffffffffff",
        "7bffffffffffffffff",
        "9bffffffffffffffff",
        "bbffffffffffffffff",
        "9a7fffffff",
        "ba7fffffff",
    ] {
        for head in [
            "",
            "a50000010102010300 04",
            "a4000101070201 03",
            "a4000101070218200 3a3000101010 4",
            "a300010107 02",
        ] {
            let hex = format!("{head}{claim}").replace(' ', "");
            let bytes: Vec<u8> = (0..hex.len() / 2)
                .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
                .collect();
            let (result, peak) = measured(|| {
                (
                    ClientMessage::decode(&bytes).is_err(),
                    ServerMessage::decode(&bytes).is_err(),
                )
            });
            assert_eq!((result, peak), ((true, true), 0), "{hex}");
        }
    }
}

fn create(
    field: impl FnOnce(
        &mut Encoder<&mut Vec<u8>>,
    ) -> Result<(), minicbor::encode::Error<std::convert::Infallible>>,
) -> Vec<u8> {
    message(|e| {
        e.map(4)?.u8(0)?.u8(1)?.u8(1)?.u8(7)?.u8(2)?.u8(32)?;
        e.u8(3)?.map(3)?.u8(0)?.u8(1)?.u8(1)?.u8(1)?;
        field(e)
    })
}

fn message(
    items: impl FnOnce(
        &mut Encoder<&mut Vec<u8>>,
    ) -> Result<(), minicbor::encode::Error<std::convert::Infallible>>,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    items(&mut Encoder::new(&mut bytes)).unwrap();
    assert!(bytes.len() <= MAX_FRAME + 14_000, "{}", bytes.len());
    bytes
}

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

/// What `work` gives, and the most memory that it held at once.
fn measured<T>(work: impl FnOnce() -> T) -> (T, usize) {
    LIVE.set(0);
    PEAK.set(0);
    let result = work();
    (result, PEAK.get())
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator as it is; the counters don't allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.set(LIVE.get().saturating_add(layout.size()));
        PEAK.set(PEAK.get().max(LIVE.get()));
        // SAFETY: the caller keeps to the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get().saturating_sub(layout.size()));
        // SAFETY: the caller keeps to the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}
