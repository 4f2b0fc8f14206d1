//! Who is alive, without asking a central place: SWIM with Lifeguard, and Serf's layer above it, on Serf's wire.

#[allow(dead_code)]
pub mod count;
#[allow(dead_code)]
pub mod keyring;
#[allow(dead_code)]
pub mod random;
// The state machine that speaks it comes next.
#[allow(dead_code, unused_imports)]
pub mod wire;

#[cfg(test)]
mod tests;
