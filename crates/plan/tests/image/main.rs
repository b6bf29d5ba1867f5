//! Images of real files, against what binutils, the loader and the sources they were built from say of them.

// Miri can neither start binutils nor read the memory a loader filled.
#![cfg(not(miri))]

mod built;
mod facts;
mod hostile;
mod memory;
mod tools;
