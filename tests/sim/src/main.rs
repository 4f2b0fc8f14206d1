//! The binary `rollcall-sim`: runs seeds and says which ones failed.

fn main() {}
