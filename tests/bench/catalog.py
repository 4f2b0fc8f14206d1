#!/usr/bin/env python3
"""The catalog of Rollcall, and of Consul beside it in the same run where there is one: tests/bench/catalog.py [--consul PATH].

    rates     registrations, health queries and memory, one server each: 1,000 services of 10 instances, 10,000 of 5
    parked    10,000 parked queries over 100 services and on one, one server each; and three servers of Rollcall: parked on the
              leader, on a follower, and while the leader is killed

Rollcall keeps every registration on disk before it answers; Consul runs as `-dev` does, in memory. One system runs at a time. Build
first: cargo build --release --bin rollcall
"""

import argparse
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request

from cluster import Consul, Rollcall

ROOT = pathlib.Path(__file__).resolve().parents[2]
STEP_TIMEOUT_SECONDS = 900
# What is parked on: the services and instances behind the parked queries.
PARKED_SIZE = (1_000, 10)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binaries", type=pathlib.Path, default=ROOT / "target" / "release")
    parser.add_argument("--consul", help="Consul's program; without it only Rollcall is measured")
    parser.add_argument("--data-dir", type=pathlib.Path, help="a directory on the disk to measure (default: the temporary directory)")
    parser.add_argument("--parts", default="rates,parked")
    parser.add_argument("--sizes", default="1000x10,10000x5")
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--parked", type=int, default=10_000)
    parser.add_argument("--changes", type=int, default=20, help="a fifth of them where all queries are on one service")
    parser.add_argument("--json", type=pathlib.Path, help="write every single result here as well")
    arguments = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="rollcall-bench-", dir=arguments.data_dir) as directory:
        bench = Bench(arguments, directory)
        found = {part: {"rates": bench.rates, "parked": bench.parked}[part]() for part in arguments.parts.split(",")}
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))
    print("\n\n".join({"rates": rates_text, "parked": parked_text}[part](rows) for part, rows in found.items()))


def say(words):
    print(words, file=sys.stderr, flush=True)


class Bench:
    def __init__(self, arguments, directory):
        self.arguments = arguments
        self.directory = pathlib.Path(directory)
        self.binary = str(arguments.binaries / "rollcall")
        self.number = 0

    def fresh(self):
        self.number += 1
        return self.directory / str(self.number)

    def single_servers(self):
        """One server of every system, one after the other; each is stopped before the next begins."""
        makers = [lambda: Rollcall(self.fresh(), self.binary, 1)]
        if self.arguments.consul:
            makers.append(lambda: Consul(self.fresh(), self.arguments.consul))
        for make in makers:
            with make() as cluster:
                yield cluster

    def command(self, size, ports, *flags):
        services, instances = size
        # As many instances on a node as a busy machine has, and at least as many nodes as a service has instances.
        nodes = max(100, services * instances // 100)
        urls = ",".join(f"http://127.0.0.1:{port}" for port in ports)
        command = [self.binary, "bench", "catalog", "--format", "json", "--target", urls, "--services", str(services)]
        return command + ["--instances", str(instances), "--nodes", str(nodes), *map(str, flags)]

    def register(self, cluster, size):
        return self.run(cluster, size, "registrations", "--seconds", 0)

    def health(self, cluster, size):
        return self.run(cluster, size, "health_queries", "--registered", "--seconds", self.arguments.seconds)

    def run(self, cluster, size, phase, *flags):
        command = self.command(size, cluster.ports, *flags)
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=STEP_TIMEOUT_SECONDS)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)}\n{done.stderr}\n{cluster.last_words()}")
        result = json.loads(done.stdout)[phase]
        if result["errors"]:
            say(f"  {result['errors']} errors: {result['error']}")
        return result

    # --- rates

    def rates(self):
        rows = []
        for size in (tuple(map(int, size.split("x"))) for size in self.arguments.sizes.split(",")):
            for cluster in self.single_servers():
                empty = settled(cluster)
                register = self.register(cluster, size)
                loaded = settled(cluster)
                health = self.health(cluster, size)
                rows.append(dict(system=cluster.name, size=size, empty=empty, loaded=loaded, register=register, health=health))
                say(f"{cluster.name} {size}: {register['rate']:.0f} registrations/s, {health['rate']:.0f} queries/s, {loaded} KiB")
        return rows

    # --- parked

    def parked(self):
        rows = []
        for cluster in self.single_servers():
            self.register(cluster, PARKED_SIZE)
            for over in (100, 1):
                rows.append(self.wake(cluster, "one server", over, cluster.ports, cluster.processes[0].pid))
        with Rollcall(self.fresh(), self.binary, 3) as cluster:
            self.register(cluster, PARKED_SIZE)
            leader = leader_of(cluster)
            others = [number for number in range(3) if number != leader]
            for place, number in (("leader of three", leader), ("follower of three", others[0])):
                for over in (100, 1):
                    rows.append(self.wake(cluster, place, over, [cluster.ports[number]], cluster.processes[number].pid))
            ports = [cluster.ports[number] for number in others]
            kill = lambda: (cluster.processes[leader].kill(), cluster.processes[leader].wait())
            rows.append(self.wake(cluster, "both followers, leader killed", 100, ports, cluster.processes[others[0]].pid, kill))
        return rows

    def wake(self, cluster, place, over, ports, pid, meanwhile=lambda: None):
        """Parks, looks at the memory, lets `meanwhile` happen, and has the services changed."""
        changes = self.arguments.changes if over > 1 else max(1, self.arguments.changes // 5)
        flags = ["--registered", "--seconds", 0, "--parked", self.arguments.parked, "--watched", over, "--changes", changes, "--pause"]
        before = memory_kib(pid)
        command = self.command(PARKED_SIZE, ports, *flags)
        client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            if client.stdout.readline().strip() != "parked":
                raise SystemExit(f"{' '.join(command)}: it did not park\n{cluster.last_words()}")
            parked = memory_kib(pid)
            meanwhile()
            out, _ = client.communicate("\n", timeout=STEP_TIMEOUT_SECONDS)
        finally:
            client.kill()
            client.wait()
        result = json.loads(out)["parked_queries"]
        # Only of the server that was looked at; with several targets it has its share.
        result["kib_each"] = (parked - before) / (self.arguments.parked / len(ports))
        result.update(system=cluster.name, place=place, services=over)
        say(
            f"{cluster.name}, {place}, over {over}: last after {result['last_woken_median_ms']:.0f} ms (at most {result['last_woken_worst_ms']:.0f}),"
            f" {result['kib_each']:.1f} KiB each, lost {result['lost']}, early {result['early']}, asked again {result['errors']}"
        )
        return result


def memory_kib(pid):
    """RssAnon, after a pause in which freed memory is given back."""
    time.sleep(2)
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))


def settled(cluster):
    """(RssAnon, VmRSS) in KiB of the only server, once what was needed for loading had time to go."""
    time.sleep(3)
    return cluster.memory()[0]


def leader_of(cluster):
    with urllib.request.urlopen(f"http://127.0.0.1:{cluster.ports[0]}/v1/status/leader", timeout=5) as answer:
        port = int(json.load(answer).rsplit(":", 1)[1])
    return cluster.peer_ports.index(port)


# --- tables


def rates_text(rows):
    lines = [
        "| | services x instances | registrations/s | p99 ms | health queries/s | p50 ms | p99 ms | RssAnon / VmRSS MiB | KiB an instance |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        services, instances = row["size"]
        register, health = row["register"], row["health"]
        anonymous, resident = (kib / 1024 for kib in row["loaded"])
        each = (row["loaded"][0] - row["empty"][0]) / (services * instances)
        lines.append(
            f"| {row['system']} | {services:,} x {instances} | {register['rate']:,.0f} | {register['p99_us'] / 1e3:.1f} | {health['rate']:,.0f} |"
            f" {health['p50_us'] / 1e3:.2f} | {health['p99_us'] / 1e3:.2f} | {anonymous:,.0f} / {resident:,.0f} | {each:.1f} |"
        )
    return "\n".join(lines)


def parked_text(rows):
    lines = [
        "| | parked on | queries | services | KiB each | last of a service after ms: median | at most | lost | early | asked again |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        lines.append(
            f"| {row['system']} | {row['place']} | {row['parked']:,} | {row['services']} | {row['kib_each']:.1f} | {row['last_woken_median_ms']:,.1f} |"
            f" {row['last_woken_worst_ms']:,.1f} | {row['lost']} | {row['early']} | {sum(row['errors'].values())} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
