//! Images of real files, against what binutils, the loader and the sources they were built from say of them.

mod built;
mod facts;
mod hostile;
mod memory;
mod tools;
