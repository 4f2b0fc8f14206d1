//! What every process says of itself, from Linux's `/proc`.

use std::fs;

use crate::{Descriptor, Registry, Unit};

/// The version of this build.
pub const BUILD: Descriptor =
    Descriptor::gauge("build", "info", "Always 1, with the version as label");
/// Memory.
pub const RESIDENT: Descriptor =
    Descriptor::gauge("process", "resident", "Memory that is resident").in_unit(Unit::Bytes);
/// Processor time.
pub const CPU: Descriptor = Descriptor::counter(
    "process",
    "cpu",
    "Whole seconds on a processor, user and system",
)
.in_unit(Unit::Seconds);
/// File descriptors.
pub const OPEN_FILES: Descriptor =
    Descriptor::gauge("process", "open_files", "File descriptors that are open");

/// Clock ticks a second in `/proc`, the same on every Linux.
const TICKS: u64 = 100;

impl Registry {
    /// Exports this process' own numbers.
    pub fn add_process(&self, version: &'static str) {
        self.gauges(BUILD, move |line| line(&[("version", version)], 1.0));
        self.gauge(RESIDENT, || resident_bytes().unwrap_or_default());
        self.counters(CPU, |line| line(&[], cpu_seconds().unwrap_or_default()));
        self.gauge(OPEN_FILES, || {
            fs::read_dir("/proc/self/fd").map_or(0.0, |files| files.count() as f64)
        });
    }
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024.0)
}

fn cpu_seconds() -> Option<u64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name, in parentheses, may hold anything; after it the state is the first field, utime the twelfth.
    let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Exposition;

    #[test]
    fn a_process_knows_its_memory_and_its_files() {
        assert!(
            resident_bytes().is_some_and(|bytes| bytes > 1e5),
            "{:?}",
            resident_bytes()
        );
        assert!(cpu_seconds().is_some());
        let registry = Registry::default();
        registry.add_process("1.2.3");
        let text = registry.text(Exposition::Text);
        assert!(
            text.contains("rollcall_build_info{version=\"1.2.3\"} 1.0\n"),
            "{text}"
        );
        assert!(
            text.contains("# TYPE rollcall_process_cpu_seconds_total counter\n"),
            "{text}"
        );
        assert!(
            !text.contains("rollcall_process_open_files 0.0\n"),
            "{text}"
        );
    }
}
