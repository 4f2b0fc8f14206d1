//! Check runners: they run what a [`crate::definition::Definition`] says and report results.
