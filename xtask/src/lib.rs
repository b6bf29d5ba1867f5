//! What the repository asks of its own products.

pub mod gate;
pub mod header;
