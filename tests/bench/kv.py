#!/usr/bin/env python3
"""Rollcall and etcd side by side: three servers each, the same load, the same disk, one run.

    tests/bench/kv.py table      rates and latencies, as Markdown
    tests/bench/kv.py memory     memory of a million keys: loaded, restarted, while a snapshot is taken
    tests/bench/kv.py snapshot   latency of puts while snapshots of a million keys are taken, and without

One system runs at a time (an idle one still beats its heart), in rounds A B A B, each from an empty directory; shown is the median of
the rounds, since machines get warm and neighbours noisy. Build first: cargo build --release --bin rollcall --bin rollcall-bench-etcd
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from cluster import Etcd, MemoryPeak, Rollcall

ROOT = pathlib.Path(__file__).resolve().parents[2]
OPERATIONS = ["put", "get", "stale-get"]
VALUE_SIZE = 256


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["table", "memory", "snapshot"])
    parser.add_argument("--binaries", type=pathlib.Path, default=ROOT / "target" / "release")
    parser.add_argument("--data-dir", type=pathlib.Path, help="a directory on the disk to measure (default: the temporary directory)")
    parser.add_argument("--systems", default="rollcall,etcd")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--clients", default="1,16,64,256")
    parser.add_argument("--ops", default=",".join(OPERATIONS))
    parser.add_argument("--keys", type=int, help="default: 10,000 for the table, a million otherwise")
    parser.add_argument("--json", type=pathlib.Path, help="write every single result here as well")
    arguments = parser.parse_args()
    mode = {"table": table, "memory": memory, "snapshot": snapshot}[arguments.mode]
    results, text = mode(arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))
    print(text)


def clusters(arguments, directory):
    """A fresh cluster of every system, one after the other; each is stopped before the next begins."""
    makers = {
        "rollcall": lambda at: Rollcall(at, str(arguments.binaries / "rollcall")),
        "etcd": lambda at: Etcd(at, str(arguments.binaries / "rollcall-bench-etcd")),
    }
    for system in arguments.systems.split(","):
        with tempfile.TemporaryDirectory(prefix="rollcall-bench-", dir=directory) as at:
            with makers[system](at) as cluster:
                yield cluster


def bench(cluster, **flags):
    """Runs the load to its end."""
    listed = [part for name, value in flags.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    command = cluster.bench(listed + ["--value-size", str(VALUE_SIZE)])
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    result = json.loads(done.stdout)
    if result["errors"]:
        print(f"  {result['errors']} errors: {result['error_kinds']}", file=sys.stderr)
    return result


def say(words):
    print(words, file=sys.stderr, flush=True)


# --- table


def table(arguments):
    keys = arguments.keys or 10_000
    found = {}
    for number in range(arguments.rounds):
        for cluster in clusters(arguments, arguments.data_dir):
            bench(cluster, op="put", seconds=0, load=keys, keys=keys)
            for operation in arguments.ops.split(","):
                for clients in map(int, arguments.clients.split(",")):
                    result = bench(cluster, op=operation, clients=clients, seconds=arguments.seconds, keys=keys, load=0)
                    found.setdefault((operation, clients), {}).setdefault(cluster.name, []).append(result)
                    say(
                        f"round {number + 1} {cluster.name:8} {operation:9} {clients:3} clients: {result['rate']:8.0f}/s"
                        f"  p50 {result['p50_us'] / 1e3:.2f} ms  p99 {result['p99_us'] / 1e3:.2f} ms  errors {result['errors']}"
                    )
    results = [
        {"op": operation, "clients": clients, "system": system, "rounds": rounds}
        for (operation, clients), systems in found.items()
        for system, rounds in systems.items()
    ]
    return results, table_text(found)


def table_text(found):
    lines = [
        "| | clients | Rollcall /s | p50 ms | p99 ms | etcd /s | p50 ms | p99 ms | ratio |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for (operation, clients), systems in found.items():
        cells, rates = [], []
        for system in ("rollcall", "etcd"):
            rounds = systems.get(system, [])
            rate, p50, p99 = (
                statistics.median(result[field] for result in rounds) if rounds else 0
                for field in ("rate", "p50_us", "p99_us")
            )
            rates.append(rate)
            cells += [f"{rate:,.0f}", f"{p50 / 1e3:.2f}", f"{p99 / 1e3:.2f}"]
        ratio = f"{rates[0] / rates[1]:.1f}" if rates[1] else "–"
        lines.append(f"| {operation} | {clients} | {' | '.join(cells)} | {ratio} |")
    return "\n".join(lines)


# --- memory


def memory(arguments):
    keys = arguments.keys or 1_000_000
    results = {}
    for cluster in clusters(arguments, arguments.data_dir):
        found = results[cluster.name] = {}
        with MemoryPeak(cluster) as peak:
            loaded = bench(cluster, op="put", seconds=0, load=keys, keys=keys)
        say(f"{cluster.name}: {keys} keys loaded in {loaded['load_seconds']:.1f} s")
        found["peak while loading"] = peak.peak
        found["loaded"] = settled(cluster)
        with MemoryPeak(cluster) as peak:
            size = while_putting(cluster, keys, cluster.save_snapshot)
        say(f"{cluster.name}: snapshot of {size} bytes")
        found["peak while a snapshot is saved under puts"] = peak.peak
        found["disk of all servers"] = (cluster.disk_bytes() // 1024, 0)
        cluster.stop()
        begun = time.monotonic()
        cluster.start()
        say(f"{cluster.name}: restarted in {time.monotonic() - begun:.1f} s")
        found["restarted"] = settled(cluster)
    return results, memory_text(results)


def settled(cluster):
    """The largest server's memory when three samples a second apart no longer fall, 15 s at most."""
    last = largest(cluster)
    for _ in range(5):
        time.sleep(3)
        now = largest(cluster)
        if now[1] >= last[1] * 0.99:
            break
        last = now
    return largest(cluster)


def largest(cluster):
    samples = cluster.memory()
    return max(anonymous for anonymous, _ in samples), max(resident for _, resident in samples)


def while_putting(cluster, keys, action):
    """Runs `action` while 64 clients write."""
    load = threading.Thread(target=bench, args=(cluster,), kwargs=dict(op="put", clients=64, seconds=8, keys=keys))
    load.start()
    time.sleep(2)
    try:
        return action()
    finally:
        load.join()


def memory_text(results):
    systems = list(results)
    lines = [
        "| RssAnon / VmRSS, MiB, largest server | " + " | ".join(systems) + " |",
        "|---|" + "--:|" * len(systems),
    ]
    for moment in results[systems[0]]:
        cells = [" / ".join(f"{kib / 1024:,.0f}" for kib in results[system][moment]) for system in systems]
        lines.append(f"| {moment} | {' | '.join(cells)} |")
    return "\n".join(lines)


# --- snapshot


def snapshot(arguments):
    keys = arguments.keys or 1_000_000
    flags = dict(op="put", clients=64, seconds=arguments.seconds, keys=keys, load=0)
    results = {}
    for cluster in clusters(arguments, arguments.data_dir):
        bench(cluster, op="put", seconds=0, load=keys, keys=keys)
        rounds = results[cluster.name] = {"without": [], "during": []}
        for number in range(arguments.rounds):
            rounds["without"].append(bench(cluster, **flags))
            stopped, taken = threading.Event(), []
            saver = threading.Thread(target=save_snapshots, args=(cluster, stopped, taken))
            saver.start()
            rounds["during"].append(bench(cluster, **flags))
            stopped.set()
            saver.join()
            for moment in ("without", "during"):
                result = rounds[moment][-1]
                say(f"round {number + 1} {cluster.name} {moment}: {result['rate']:.0f}/s p99 {result['p99_us'] / 1e3:.2f} ms")
            say(f"  snapshots taken: {len(taken)}, seconds each: {[round(seconds, 1) for seconds in taken]}")
    return results, snapshot_text(results)


def save_snapshots(cluster, stopped, taken):
    """One snapshot after the other, so that every measured put falls into one."""
    while not stopped.is_set():
        begun = time.monotonic()
        cluster.save_snapshot()
        taken.append(time.monotonic() - begun)


def snapshot_text(results):
    lines = ["| put, 64 clients | rate /s | p99 ms | rate /s, snapshot | p99 ms, snapshot | ratio of p99 |", "|---|--:|--:|--:|--:|--:|"]
    for system, moments in results.items():
        cells, tails = [], []
        for moment in ("without", "during"):
            rate, tail = (statistics.median(result[field] for result in moments[moment]) for field in ("rate", "p99_us"))
            tails.append(tail)
            cells += [f"{rate:,.0f}", f"{tail / 1e3:.2f}"]
        lines.append(f"| {system} | {' | '.join(cells)} | {tails[1] / tails[0]:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
