//! Checkers of histories: what clients saw, against what a correct registry may show.
//!
//! Pure: a history goes in, a verdict comes out; no simulation, clock or randomness. `wgl` is the search for a
//! linearization, `kv` and `lock` are the models it searches with, `stale` holds what also binds reads that are
//! not linearizable, `ttl` what time says about sessions and locks.

pub mod kv;
pub mod lock;
pub mod stale;
pub mod ttl;
pub mod wgl;
