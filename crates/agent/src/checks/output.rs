//! What a run found, and its words cut to size.
//!
//! Output is for people and stands in every answer about the check, so it is bounded where it arises. Bytes that are no
//! UTF-8 become U+FFFD, as Go's JSON makes them.

use crate::definition::Status;

/// What one run of a check found, before thresholds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Of this run alone.
    pub status: Status,
    /// For people, cut already.
    pub output: String,
}

impl Outcome {
    /// All is well.
    pub fn passing(output: impl Into<String>) -> Self {
        Outcome {
            status: Status::Passing,
            output: output.into(),
        }
    }

    /// Not so well.
    pub fn warning(output: impl Into<String>) -> Self {
        Outcome {
            status: Status::Warning,
            output: output.into(),
        }
    }

    /// Not well, or not there.
    pub fn critical(output: impl Into<String>) -> Self {
        Outcome {
            status: Status::Critical,
            output: output.into(),
        }
    }
}

/// The first `limit` bytes of a text, or a little less where that would split a character.
pub(super) fn head(text: &[u8], limit: usize) -> String {
    let kept = &text[..text.len().min(limit)];
    let whole = match std::str::from_utf8(kept) {
        // Only a character that the cut split is left out; other strange bytes are shown as such.
        Err(error) if error.error_len().is_none() && text.len() > limit => {
            &kept[..error.valid_up_to()]
        }
        _ => kept,
    };
    cut_lossy(whole, limit)
}

/// As UTF-8, where each strange byte may have become three: cut again.
fn cut_lossy(bytes: &[u8], limit: usize) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    if text.len() > limit {
        let mut end = limit;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    text
}

/// Keeps the last bytes of a stream of any length, and counts all of them: what a script says last matters most.
#[derive(Debug)]
pub(super) struct Tail {
    limit: usize,
    kept: Vec<u8>,
    total: u64,
}

impl Tail {
    /// Keeps `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Tail {
            limit,
            kept: Vec::new(),
            total: 0,
        }
    }

    /// Takes the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        if bytes.len() >= self.limit {
            self.kept.clear();
            self.kept
                .extend_from_slice(&bytes[bytes.len() - self.limit..]);
            return;
        }
        let surplus = (self.kept.len() + bytes.len()).saturating_sub(self.limit);
        self.kept.drain(..surplus);
        self.kept.extend_from_slice(bytes);
    }

    /// How many bytes came in all.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The text; when some is missing, a line before it says how much, in Consul's words.
    pub(super) fn text(&self) -> String {
        let kept = &self.kept;
        if self.total <= kept.len() as u64 {
            return cut_lossy(kept, self.limit);
        }
        // Begin at a character, not in the middle of one.
        let begin = kept
            .iter()
            .take(3)
            .take_while(|byte| **byte & 0b1100_0000 == 0b1000_0000)
            .count();
        let text = cut_lossy(&kept[begin..], self.limit);
        format!(
            "Captured {} of {} bytes\n...\n{text}",
            kept.len(),
            self.total
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cut_never_splits_a_character() {
        assert_eq!(head("aé".as_bytes(), 2), "a");
        assert_eq!(head("aé".as_bytes(), 3), "aé");
        assert_eq!(head(b"a\xff\xff", 10), "a\u{fffd}\u{fffd}");
        assert_eq!(head(b"", 10), "");
    }

    #[test]
    fn the_tail_says_how_much_is_missing() {
        let mut tail = Tail::new(4);
        tail.push(b"ab");
        assert_eq!(tail.text(), "ab");
        tail.push(b"cdef");
        assert_eq!(tail.text(), "Captured 4 of 6 bytes\n...\ncdef");
    }

    proptest! {
        #[test]
        fn output_is_never_longer_than_its_limit(bytes: Vec<u8>, limit in 0usize..40) {
            let text = head(&bytes, limit);
            prop_assert!(text.len() <= limit);
        }

        #[test]
        fn a_tail_is_the_end_of_all_that_came(parts in prop::collection::vec("[a-z]{0,9}", 0..9), limit in 1usize..12) {
            let mut tail = Tail::new(limit);
            for part in &parts {
                tail.push(part.as_bytes());
            }
            let all = parts.concat();
            let text = tail.text();
            prop_assert!(text.ends_with(&all[all.len().saturating_sub(limit)..]));
            prop_assert_eq!(text.starts_with("Captured "), all.len() > limit);
        }
    }
}
