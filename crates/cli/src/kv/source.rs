//! Where a value or an import comes from: the argument itself, `@FILE`, or `-` for standard input.

use std::fs::File;
use std::io::{self, Cursor, Read};

use anyhow::Context as _;

/// A source that is open.
pub(super) struct Source {
    /// The bytes.
    pub(super) reader: Box<dyn Read + Send>,
    /// How many there are, where that is known.
    pub(super) length: Option<u64>,
}

/// Opens what the argument names.
pub(super) fn open(data: &str) -> anyhow::Result<Source> {
    if data == "-" {
        return Ok(Source {
            reader: Box::new(io::stdin()),
            length: None,
        });
    }
    match data.strip_prefix('@') {
        None => {
            let bytes = data.as_bytes().to_vec();
            Ok(Source {
                length: Some(bytes.len() as u64),
                reader: Box::new(Cursor::new(bytes)),
            })
        }
        Some(path) => {
            let file = File::open(path).with_context(|| format!("Failed to read file: {path}"))?;
            // A pipe has a length of 0 and is no shorter for it.
            let length = file
                .metadata()
                .ok()
                .filter(|data| data.is_file())
                .map(|data| data.len());
            Ok(Source {
                reader: Box::new(file),
                length,
            })
        }
    }
}
