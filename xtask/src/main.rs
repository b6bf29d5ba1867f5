//! Build and maintenance commands of the repository.
fn main() {}
