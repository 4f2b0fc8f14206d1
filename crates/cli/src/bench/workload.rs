//! What a run does: which operation comes next, on which key, with which value.
//!
//! The flags are shared with the etcd client in tests/bench, so that both systems get the same work. Keys are drawn evenly; a
//! skewed choice would measure one hot key's lock, which is another question.

use std::time::Duration;

use clap::{Args, ValueEnum};

/// Operations in one transaction while keys are loaded: the most that Consul and etcd take by default.
pub(super) const LOAD_BATCH: u64 = 128;
/// Most bytes of values in one loading transaction, so that large values stay below body limits (Consul: 512 KiB of JSON with base64).
const LOAD_BATCH_BYTES: u64 = 256 * 1024;

/// What the clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Mix {
    /// Writes.
    Put,
    /// Linearizable reads.
    Get,
    /// Reads from whatever the asked server has.
    StaleGet,
    /// Nine linearizable reads to one write.
    Mixed,
}

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    /// Writes a key.
    Put,
    /// Reads a key, linearizably.
    Get,
    /// Reads a key as the asked server has it.
    StaleGet,
}

/// The flags that say what is measured.
#[derive(Debug, Clone, Args)]
pub(super) struct WorkloadArgs {
    /// What the clients do
    #[arg(long = "op", value_enum, default_value = "put")]
    pub(super) mix: Mix,
    /// Clients; each has one request in flight
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) clients: u32,
    /// Bytes of a key, prefix included
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(8..=4096))]
    pub(super) key_size: u32,
    /// Bytes of a value
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(0..=512 * 1024))]
    pub(super) value_size: u32,
    /// Number of different keys
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) keys: u64,
    /// What every key begins with
    #[arg(long, default_value = "bench/")]
    pub(super) prefix: String,
    /// Seconds that are measured
    #[arg(long, default_value_t = 10)]
    pub(super) seconds: u64,
    /// Seconds of the same work before that, not measured
    #[arg(long, default_value_t = 1)]
    pub(super) warmup: u64,
    /// Write this many keys first, in transactions, not measured (default: --keys when they are read, else none)
    #[arg(long)]
    pub(super) load: Option<u64>,
}

impl WorkloadArgs {
    /// Keys to write before the run.
    pub(super) fn keys_to_load(&self) -> u64 {
        match (self.load, self.mix) {
            (Some(load), _) => load,
            (None, Mix::Put) => 0,
            (None, Mix::Get | Mix::StaleGet | Mix::Mixed) => self.keys,
        }
    }

    /// Keys in one loading transaction.
    pub(super) fn load_batch(&self) -> u64 {
        (LOAD_BATCH_BYTES / u64::from(self.value_size).max(1)).clamp(1, LOAD_BATCH)
    }

    /// How long is measured.
    pub(super) fn measured(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// The name of a key, of exactly `key_size` bytes as long as prefix and number fit.
    pub(super) fn key(&self, number: u64) -> String {
        let digits = (self.key_size as usize).saturating_sub(self.prefix.len());
        format!("{}{number:0digits$}", self.prefix)
    }
}

/// One client's source of operations, keys and values; the same seed gives the same sequence.
#[derive(Debug)]
pub(super) struct Generator {
    state: u64,
    value: Vec<u8>,
}

impl Generator {
    /// A generator for one client.
    pub(super) fn new(args: &WorkloadArgs, seed: u64) -> Self {
        let mut generator = Self {
            state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            value: Vec::new(),
        };
        let size = args.value_size as usize;
        while generator.value.len() < size {
            let word = generator.next().to_le_bytes();
            generator.value.extend_from_slice(&word);
        }
        generator.value.truncate(size);
        generator
    }

    /// The operation that comes next.
    pub(super) fn operation(&mut self, mix: Mix) -> Operation {
        match mix {
            Mix::Put => Operation::Put,
            Mix::Get => Operation::Get,
            Mix::StaleGet => Operation::StaleGet,
            Mix::Mixed if self.next().is_multiple_of(10) => Operation::Put,
            Mix::Mixed => Operation::Get,
        }
    }

    /// The number of the key it works on.
    pub(super) fn key_number(&mut self, keys: u64) -> u64 {
        self.next() % keys
    }

    /// A value that differs from the last one and does not compress: random bytes of which the first eight change every time.
    pub(super) fn value(&mut self) -> &[u8] {
        let word = self.next().to_le_bytes();
        let changed = self.value.len().min(word.len());
        self.value[..changed].copy_from_slice(&word[..changed]);
        &self.value
    }

    /// xorshift64*: a few cycles, and even enough to choose keys.
    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 8
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        workload: WorkloadArgs,
    }

    fn workload(flags: &[&str]) -> WorkloadArgs {
        Flags::try_parse_from(["bench"].iter().chain(flags))
            .unwrap()
            .workload
    }

    #[test]
    fn keys_have_the_size_asked_for_and_keep_the_prefix() {
        let args = workload(&["--key-size", "20", "--prefix", "a/b/"]);
        assert_eq!(args.key(7), "a/b/0000000000000007");
        assert_eq!(args.key(7).len(), 20);
    }

    #[test]
    fn what_is_read_is_loaded_first_unless_told_otherwise() {
        assert_eq!(
            workload(&["--op", "get", "--keys", "50"]).keys_to_load(),
            50
        );
        assert_eq!(workload(&["--op", "put", "--keys", "50"]).keys_to_load(), 0);
        assert_eq!(workload(&["--op", "get", "--load", "0"]).keys_to_load(), 0);
    }

    #[test]
    fn large_values_make_small_loading_transactions() {
        assert_eq!(workload(&["--value-size", "256"]).load_batch(), 128);
        assert_eq!(workload(&["--value-size", "524288"]).load_batch(), 1);
        assert_eq!(workload(&["--value-size", "0"]).load_batch(), 128);
    }

    #[test]
    fn a_mixed_run_writes_about_one_time_in_ten_and_two_values_in_a_row_differ() {
        let args = workload(&[]);
        let mut generator = Generator::new(&args, 3);
        let writes = (0..10_000)
            .filter(|_| generator.operation(Mix::Mixed) == Operation::Put)
            .count();
        assert!((800..1200).contains(&writes), "{writes} writes");
        let first = generator.value().to_vec();
        assert_eq!(first.len(), 256);
        assert_ne!(first, generator.value());
    }
}
