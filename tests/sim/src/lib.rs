//! The real servers in one process over a simulated network, clock and disk, and the checkers of what clients saw.
//!
//! A seed decides everything: the faults, the workload, every delay and every lost write. The same seed gives the
//! same run, in any process. `check` is pure and always built; the rest needs the feature `sim`, which must not be
//! turned on for the workspace's real binary (see Cargo.toml).

#[cfg(feature = "sim")]
mod afterwards;
pub mod check;
pub mod client;
#[cfg(feature = "sim")]
pub mod cluster;
pub mod disk;
pub mod faults;
pub mod history;
#[cfg(feature = "sim")]
pub mod scenario;
#[cfg(feature = "sim")]
pub mod stories;
pub mod workload;
