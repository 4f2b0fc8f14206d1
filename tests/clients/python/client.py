"""py-consul over a running server: `client.py check|catalog|agent|hold|contend HOST:PORT ...`.

Says line by line what happens; the suite reads the lines and keeps the time. `check` (the store and its sessions), `catalog`
and `agent` exercise what people use py-consul for and end with "ok"; `hold` takes a lock and keeps it until it is killed; `contend` waits for the lock, has it for a
moment, and gives it back.
"""

import base64
import sys
import threading
import time

import catalog
import consul

# What Consul's own client puts on the key of a lock; it refuses to share a lock with anything else.
LOCK_FLAGS = 0x2DDCCBC058A50C18
# Between two tries while the server refuses (lock-delay, no leader).
RETRY_SECONDS = 0.05
RENEW_SECONDS = 1


def say(*words):
    print(*words, flush=True)


def connect(address):
    host, port = address.rsplit(":", 1)
    return consul.Consul(host=host, port=int(port))


def check_kv(c, prefix):
    key = f"{prefix}/a key/with%odd:parts"
    index, row = c.kv.get(key)
    assert row is None and int(index) > 0, (index, row)
    assert c.kv.put(key, "one", flags=42) is True
    index, row = c.kv.get(key)
    assert row["Value"] == b"one" and row["Flags"] == 42 and row["Key"] == key, row
    assert int(index) == row["ModifyIndex"], (index, row)
    assert c.kv.put(key, "two", cas=row["ModifyIndex"] - 1) is False
    assert c.kv.put(key, "two", cas=row["ModifyIndex"]) is True
    assert c.kv.put(f"{prefix}/empty", "") is True
    assert c.kv.get(f"{prefix}/empty")[1]["Value"] is None
    _, rows = c.kv.get(prefix + "/", recurse=True)
    assert [row["Key"] for row in rows] == [key, f"{prefix}/empty"], rows
    _, keys = c.kv.get(prefix + "/", keys=True, separator="/")
    assert keys == [f"{prefix}/a key/", f"{prefix}/empty"], keys
    assert c.kv.delete(f"{prefix}/empty") is True
    assert c.kv.get(f"{prefix}/empty")[1] is None


def check_watch(c, address, prefix):
    """A parked read wakes when its key is written, and not before."""
    key = f"{prefix}/watched"
    c.kv.put(key, "before")
    index, _ = c.kv.get(key)
    found = []
    parked = threading.Thread(target=lambda: found.append(connect(address).kv.get(key, index=index, wait="30s")))
    begun = time.monotonic()
    parked.start()
    c.kv.put(f"{prefix}/other", "elsewhere")
    parked.join(0.5)
    assert not found, "woke though another key was written"
    c.kv.put(key, "after")
    parked.join(10)
    assert found and found[0][1]["Value"] == b"after", found
    assert int(found[0][0]) > int(index)
    assert time.monotonic() - begun < 10


def check_session(c, prefix):
    session = c.session.create(name="check", lock_delay=1, behavior="delete", ttl=10)
    _, sessions = c.session.list()
    assert session in [one["ID"] for one in sessions], sessions
    _, info = c.session.info(session)
    assert info["Name"] == "check" and info["Behavior"] == "delete" and info["TTL"] == "10s", info
    assert info["LockDelay"] == 1_000_000_000, info
    _, of_node = c.session.node(info["Node"])
    assert session in [one["ID"] for one in of_node]
    assert c.session.renew(session)["ID"] == session
    key = f"{prefix}/ephemeral"
    assert c.kv.put(key, "mine", acquire=session) is True
    other = c.session.create(lock_delay=0, ttl=10)
    assert c.kv.put(key, "theirs", acquire=other) is False
    assert c.kv.get(key)[1]["Session"] == session
    assert c.session.destroy(session) is True
    assert c.kv.get(key)[1] is None, "behaviour delete takes the key along"
    c.session.destroy(other)
    try:
        c.session.renew(session)
    except consul.NotFound:
        pass
    else:
        raise AssertionError("a session that is gone was renewed")


def check_transaction(c, prefix):
    value = base64.b64encode(b"in a transaction").decode()
    key = f"{prefix}/txn"
    answer = c.txn.put(
        [
            {"KV": {"Verb": "set", "Key": key, "Value": value}},
            {"KV": {"Verb": "get", "Key": key}},
        ]
    )
    assert answer["Errors"] is None and answer["Results"][1]["KV"]["Value"] == value, answer
    # The client raises for statuses above 400 only where it knows them; a rolled-back transaction is a 409.
    try:
        answer = c.txn.put([{"KV": {"Verb": "check-not-exists", "Key": key}}])
        assert answer["Errors"], answer
    except consul.ConsulException as error:
        assert "409" in str(error), error


def check_rest(c):
    assert ":" in c.status.leader()
    assert c.status.leader() in c.status.peers()
    servers = c.operator.raft_config()["Servers"]
    assert any(server["Leader"] for server in servers), servers
    try:
        c.kv.put("toolarge", "x" * (512 * 1024 + 1))
    except consul.ConsulException as error:
        assert "413" in str(error), error
    else:
        raise AssertionError("a value over the limit was taken")


def check(address, prefix):
    c = connect(address)
    check_kv(c, prefix)
    check_watch(c, address, prefix)
    check_session(c, prefix)
    check_transaction(c, prefix)
    check_rest(c)
    say("ok")


def acquire(c, key, name, ttl, lock_delay):
    """Waits until the lock is ours; the session is renewed meanwhile."""
    session = None
    while True:
        try:
            if session is None:
                session = c.session.create(name=name, ttl=ttl, lock_delay=lock_delay)
            c.session.renew(session)
            if c.kv.put(key, name, acquire=session, flags=LOCK_FLAGS):
                return session
        except consul.NotFound:
            session = None
        except (consul.ConsulException, OSError) as error:
            say("refused", repr(error))
        time.sleep(RETRY_SECONDS)


def hold(address, key, name, ttl, lock_delay):
    c = connect(address)
    session = acquire(c, key, name, ttl, lock_delay)
    say("acquired", name)
    while True:
        time.sleep(RENEW_SECONDS)
        try:
            c.session.renew(session)
            say("renewed", name)
        except consul.NotFound:
            say("lost", name)
            return
        except (consul.ConsulException, OSError) as error:
            say("refused", repr(error))


def contend(address, key, name, ttl, lock_delay):
    c = connect(address)
    session = acquire(c, key, name, ttl, lock_delay)
    say("acquired", name)
    time.sleep(0.5)
    say("released", name)
    while True:
        try:
            c.kv.put(key, name, release=session, flags=LOCK_FLAGS)
            c.session.destroy(session)
            return
        except (consul.ConsulException, OSError) as error:
            say("refused", repr(error))
            time.sleep(RETRY_SECONDS)


def main():
    command, address, *rest = sys.argv[1:]
    if command == "check":
        check(address, *rest)
    elif command == "catalog":
        catalog.check(connect, address, *rest)
        say("ok")
    elif command == "agent":
        catalog.check_agent(connect, address, *rest)
        say("ok")
    else:
        key, name, ttl, lock_delay = rest
        {"hold": hold, "contend": contend}[command](address, key, name, int(ttl), int(lock_delay))


main()
