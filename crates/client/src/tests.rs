//! The client against a small server in the test, which records what it is asked and answers as it is told.
