//! Tests that look inside: the codec against bytes that HashiCorp's own wrote, and against anything else.

mod golden;
mod malformed;
mod round_trip;
