//! The command `hotpatch`.
fn main() {}
