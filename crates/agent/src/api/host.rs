//! `GET host`: figures of the machine, as far as `/proc` has them.

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use hyper::Response;
use rollcall_edge::{Body, Call, Error};
use rollcall_rt as rt;
use serde_json::{Value, json};

use super::AgentApi;

/// `GET host`.
pub(super) async fn host(_: &AgentApi, call: &Call<'_>) -> Result<Response<Body>, Error> {
    let answer = rt::blocking(collect).await;
    Ok(call.json(&answer))
}

fn collect() -> Value {
    let mut errors: Vec<String> = Vec::new();
    let mut read = |path: &str| match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            errors.push(format!("{path}: {error}"));
            String::new()
        }
    };
    let memory = memory(&read("/proc/meminfo"));
    let processors = processors(&read("/proc/cpuinfo"));
    let uptime: f64 = (read("/proc/uptime").split(' ').next())
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or_default();
    let host = json!({
        "hostname": read("/proc/sys/kernel/hostname").trim(),
        "uptime": uptime as u64,
        "os": std::env::consts::OS,
        "kernelVersion": read("/proc/sys/kernel/osrelease").trim(),
        "kernelArch": std::env::consts::ARCH,
    });
    let now = rt::time_of_day()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    errors.push("disk: not collected".to_owned());
    json!({
        "Memory": memory,
        "CPU": processors,
        "Host": host,
        "Disk": null,
        "CollectionTime": u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
        "Errors": errors,
    })
}

/// Bytes by gopsutil's names.
fn memory(text: &str) -> Value {
    let kilobytes: BTreeMap<&str, u64> = (text.lines())
        .filter_map(|line| {
            let (name, rest) = line.split_once(':')?;
            Some((name, rest.split_whitespace().next()?.parse().ok()?))
        })
        .collect();
    let bytes = |name: &str| kilobytes.get(name).copied().unwrap_or(0) * 1024;
    let (total, available) = (bytes("MemTotal"), bytes("MemAvailable"));
    let used = total.saturating_sub(available);
    json!({
        "total": total,
        "available": available,
        "used": used,
        "usedPercent": if total > 0 { used as f64 * 100.0 / total as f64 } else { 0.0 },
        "free": bytes("MemFree"),
        "buffers": bytes("Buffers"),
        "cached": bytes("Cached"),
        "swapTotal": bytes("SwapTotal"),
        "swapFree": bytes("SwapFree"),
    })
}

fn processors(text: &str) -> Vec<Value> {
    let of = |block: &str, name: &str| {
        let line = block
            .lines()
            .find(|line| line.split(':').next().is_some_and(|key| key.trim() == name));
        let value = line
            .and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim().to_owned());
        value.unwrap_or_default()
    };
    (text.split("\n\n"))
        .filter(|block| block.contains("processor"))
        .map(|block| {
            json!({
                "cpu": of(block, "processor").parse::<u32>().unwrap_or(0),
                "vendorId": of(block, "vendor_id"),
                "modelName": of(block, "model name"),
                "mhz": of(block, "cpu MHz").parse::<f64>().unwrap_or(0.0),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_taken_from_what_the_kernel_writes() {
        let memory = memory("MemTotal:       2048 kB\nMemFree:  1 kB\nMemAvailable:   1024 kB\n");
        assert_eq!(memory["total"], 2048 * 1024);
        assert_eq!(memory["usedPercent"], 50.0);
        let processors =
            processors("processor\t: 0\nmodel name\t: A: B\n\nprocessor\t: 1\nmodel name\t: C\n");
        assert_eq!(processors.len(), 2);
        assert_eq!(processors[0]["modelName"], "A: B");
        assert_eq!(processors[1]["cpu"], 1);
    }
}
