//! Waiting for a condition: the one place in the tests that sleeps.

use std::time::{Duration, Instant};

/// Between two looks. Short, since what is waited for is on this machine.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits until `condition` is `Ok` and returns what it holds. Past `bound` it panics with the last `Err`, which
/// should say what was seen instead.
///
/// # Panics
/// When the bound is reached: the test has failed.
pub fn wait_for<T>(
    what: &str,
    bound: Duration,
    mut condition: impl FnMut() -> Result<T, String>,
) -> T {
    let begun = Instant::now();
    loop {
        match condition() {
            Ok(value) => return value,
            Err(seen) if begun.elapsed() >= bound => {
                panic!("waited {bound:?} for {what}; last seen: {seen}");
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_what_the_condition_found() {
        let mut looks = 0;
        let found = wait_for("the third look", Duration::from_secs(10), || {
            looks += 1;
            if looks == 3 {
                Ok(looks)
            } else {
                Err(format!("look {looks}"))
            }
        });
        assert_eq!(found, 3);
    }

    #[test]
    #[should_panic(expected = "for the moon; last seen: only clouds")]
    fn reports_what_was_last_seen() {
        wait_for("the moon", Duration::from_millis(1), || {
            Err::<(), _>("only clouds".to_owned())
        });
    }
}
