"""Servers of one system on this machine, for kv.py and catalog.py: started, waited for, sampled, ended by their process ids.

Loopback only, ports chosen by the kernel. All keep their data under the same directory, hence on the same disk, with
the durability they ship with. Only Python's standard library, so that the comparison runs where Python does.
"""

import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time

START_TIMEOUT_SECONDS = 60
STOP_TIMEOUT_SECONDS = 60
SERVERS = 3
SAMPLE_SECONDS = 0.05


def free_ports(count):
    """Ports that were free a moment ago; all held at once so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for held in sockets:
            held.bind(("127.0.0.1", 0))
        return [held.getsockname()[1] for held in sockets]
    finally:
        for held in sockets:
            held.close()


def fetch(port, path, timeout=5):
    """Status and body of a GET; (0, b"") when nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


class Cluster:
    """What both systems share."""

    name = ""
    servers = SERVERS

    def __init__(self, directory):
        self.directory = pathlib.Path(directory) / self.name
        self.directory.mkdir(parents=True)
        self.processes = []
        ports = free_ports(2 * self.servers)
        self.ports, self.peer_ports = ports[: self.servers], ports[self.servers :]

    def command(self, number):
        raise NotImplementedError

    def answers(self, port):
        """Whether the server on this port answers a linearizable read."""
        raise NotImplementedError

    def start(self):
        for number in range(self.servers):
            log = open(self.directory / f"server-{number}.log", "ab")
            process = subprocess.Popen(self.command(number), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
            log.close()
            self.processes.append(process)
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        for port in self.ports:
            while not self.answers(port):
                if time.monotonic() > deadline:
                    raise SystemExit(f"{self.name}: port {port} does not serve:\n{self.last_words()}")
                for process in self.processes:
                    if process.poll() is not None:
                        raise SystemExit(f"{self.name}: a server ended with {process.returncode}:\n{self.last_words()}")
                time.sleep(0.1)

    def last_words(self):
        """The last lines of every server's log: the directory goes when the run ends."""
        logs = sorted(self.directory.glob("*.log"))
        return "\n".join(line for log in logs for line in log.read_text(errors="replace").splitlines()[-8:])

    def stop(self):
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = []

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def memory(self):
        """[(RssAnon, VmRSS)] in KiB, a server each."""
        return [memory_of(process.pid) for process in self.processes]

    def disk_bytes(self):
        """Bytes of all files of all servers."""
        files = (entry for entry in self.directory.rglob("*") if entry.is_file())
        return sum(entry.stat().st_blocks * 512 for entry in files)


def memory_of(pid):
    fields = {}
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        for line in status:
            name, _, value = line.partition(":")
            fields[name] = value
    return int(fields["RssAnon"].split()[0]), int(fields["VmRSS"].split()[0])


class MemoryPeak:
    """Samples a cluster's memory on a thread while the body of `with` runs; `peak` is the largest of any server."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.peak = (0, 0)
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.sample)

    def sample(self):
        while not self.stopped.wait(SAMPLE_SECONDS):
            for anonymous, resident in self.cluster.memory():
                self.peak = (max(self.peak[0], anonymous), max(self.peak[1], resident))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()


class Rollcall(Cluster):
    name = "rollcall"

    def __init__(self, directory, binary, servers=SERVERS, settings=None):
        self.binary = binary
        self.servers = servers
        super().__init__(directory)
        for number in range(servers):
            config = {
                "node_name": f"server-{number}",
                "data_dir": str(self.directory / f"data-{number}"),
                "server": True,
                "bootstrap_expect": servers,
                "bind_addr": "127.0.0.1",
                "client_addr": "127.0.0.1",
                "ports": {"http": self.ports[number], "server": self.peer_ports[number], "dns": -1},
                "retry_join": [f"127.0.0.1:{port}" for port in self.peer_ports],
                "retry_interval": "500ms",
                "log_level": "info",
            }
            config.update(settings or {})
            config.update(json.loads(os.environ.get("ROLLCALL_BENCH_CONFIG", "{}")))
            (self.directory / f"server-{number}.yaml").write_text(json.dumps(config))

    def command(self, number):
        return [self.binary, "server", "--config-file", str(self.directory / f"server-{number}.yaml")]

    def answers(self, port):
        return fetch(port, "/v1/kv/bench-is-there")[0] == 404

    def bench(self, flags):
        targets = ",".join(f"http://127.0.0.1:{port}" for port in self.ports)
        return [self.binary, "bench", "kv", "--target", targets, "--format", "json", *flags]

    def save_snapshot(self):
        """Reads a whole snapshot from the leader (or whichever answers) and counts its bytes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[0], timeout=120)
        connection.request("GET", "/v1/snapshot")
        answer = connection.getresponse()
        if answer.status != 200:
            raise SystemExit(f"rollcall: snapshot: {answer.status} {answer.read(200)}")
        size = 0
        while chunk := answer.read(1 << 20):
            size += len(chunk)
        connection.close()
        return size


class Consul(Cluster):
    """One server in memory, as `consul agent -dev` is."""

    name = "consul"
    servers = 1

    def __init__(self, directory, binary, settings=None):
        self.binary = binary
        super().__init__(directory)
        (self.serf_port,) = free_ports(1)
        off = {"grpc": -1, "grpc_tls": -1, "dns": -1, "serf_wan": -1}
        config = {"ports": off, "log_level": "warn", "disable_update_check": True, **(settings or {})}
        (self.directory / "consul.json").write_text(json.dumps(config))

    def command(self, number):
        return [
            self.binary, "agent", "-dev", "-bind", "127.0.0.1", "-client", "127.0.0.1", "-http-port", str(self.ports[number]),
            "-server-port", str(self.peer_ports[number]), "-serf-lan-port", str(self.serf_port),
            "-config-file", str(self.directory / "consul.json"),
        ]  # fmt: skip

    def answers(self, port):
        return fetch(port, "/v1/kv/bench-is-there")[0] == 404


class Etcd(Cluster):
    name = "etcd"

    def __init__(self, directory, client):
        self.client = client
        super().__init__(directory)

    def command(self, number):
        url, peer = (f"http://127.0.0.1:{ports[number]}" for ports in (self.ports, self.peer_ports))
        everybody = ",".join(f"s{n}=http://127.0.0.1:{port}" for n, port in enumerate(self.peer_ports))
        return [
            "etcd", "--name", f"s{number}", "--data-dir", str(self.directory / f"data-{number}"),
            "--listen-client-urls", url, "--advertise-client-urls", url,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", everybody, "--quota-backend-bytes", str(8 << 30), "--logger", "zap",
        ]  # fmt: skip

    def answers(self, port):
        status, body = fetch(port, "/health")
        return status == 200 and b"true" in body

    def bench(self, flags):
        targets = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return [self.client, "--target", targets, "--json", *flags]

    def save_snapshot(self):
        target = self.directory / "snapshot.db"
        environment = dict(os.environ, ETCDCTL_API="3")
        subprocess.run(
            ["etcdctl", "--endpoints", f"127.0.0.1:{self.ports[0]}", "snapshot", "save", str(target)],
            env=environment, check=True, capture_output=True, timeout=300,
        )  # fmt: skip
        size = target.stat().st_size
        target.unlink()
        return size
