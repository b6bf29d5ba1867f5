//! Values that are nothing but bytes.

/// A type for which any bytes are a value, and which has no padding: what may be copied to and from a program.
///
/// # Safety
/// Any bytes are a value of the type, and it has no padding.
///
/// ```
/// use hotpatch_hook::Plain;
///
/// #[repr(C)]
/// #[derive(Clone, Copy)]
/// struct Timespec {
///     seconds: i64,
///     nanoseconds: i64,
/// }
///
/// // SAFETY: two words, and each takes any value.
/// unsafe impl Plain for Timespec {}
/// ```
pub unsafe trait Plain: Copy + 'static {}

macro_rules! plain {
    ($($integer:ty)*) => {
        $(
            // SAFETY: an integer.
            unsafe impl Plain for $integer {}
        )*
    };
}

plain!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);

// SAFETY: elements stand side by side.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}
