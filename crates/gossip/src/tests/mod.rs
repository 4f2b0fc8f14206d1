//! Tests that look inside: the codec against bytes that HashiCorp's own wrote, and against anything else.

pub(crate) mod golden;
mod malformed;
mod round_trip;
