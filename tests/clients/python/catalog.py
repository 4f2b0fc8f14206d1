"""The rest of py-consul's surface: catalog, health, agent, prepared queries, transactions over the catalog.

`check` runs what needs the servers only, `check_agent` what needs a node's own half; every name begins with `prefix`, so that
clients can share a server. What the server does by itself (anti-entropy, health checks) is waited for; everything else must be so at once.
"""

import json
import threading
import time

import consul
import consul.exceptions
from consul.callback import CB

# Anti-entropy and a check of an interval of a second have happened within this, on a busy machine.
BOUND_SECONDS = 20
PAUSE_SECONDS = 0.05


def until(what, look):
    """Waits until `look` finds something that counts as true, and returns it."""
    end = time.monotonic() + BOUND_SECONDS
    while not (found := look()):
        assert time.monotonic() < end, f"{what}: not within {BOUND_SECONDS} s"
        time.sleep(PAUSE_SECONDS)
    return found


def raises(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


def register_elsewhere(c, prefix, number, tags, status):
    """An instance on a node of its own, as external services are registered."""
    node, instance = f"{prefix}-node-{number}", f"{prefix}:web:{number}"
    service = {"Service": f"{prefix}-web", "ID": instance, "Tags": tags, "Port": 8000 + number, "Meta": {"number": str(number)}}
    check = {"Node": node, "CheckID": f"{instance}:alive", "Name": "alive", "Status": status, "ServiceID": instance}
    assert c.catalog.register(node, f"127.3.0.{number}", service=service, check=check) is True
    return node


def check_catalog(c, prefix):
    web = f"{prefix}-web"
    assert c.catalog.datacenters() == ["dc1"]
    first = register_elsewhere(c, prefix, 1, ["blue", "v1"], "passing")
    second = register_elsewhere(c, prefix, 2, ["green", "v1"], "critical")
    index, nodes = c.catalog.nodes(consistency="consistent")
    assert int(index) > 0 and {first, second} <= {node["Node"] for node in nodes}, nodes
    assert any(node["ID"] for node in nodes), nodes
    _, services = c.catalog.services()
    assert sorted(services[web]) == ["blue", "green", "v1"], services
    _, services = c.catalog.services(filter_expr=f'ServiceName == "{web}"')
    assert list(services) == [web], services
    _, rows = c.catalog.service(web)
    assert [row["ServiceID"] for row in rows] == [f"{prefix}:web:1", f"{prefix}:web:2"], rows
    row = rows[0]
    assert row["Node"] == first and row["Address"] == "127.3.0.1" and row["ServiceAddress"] == "", row
    assert row["ServicePort"] == 8001 and row["ServiceTags"] == ["blue", "v1"] and row["ServiceMeta"] == {"number": "1"}, row
    assert row["ServiceWeights"] == {"Passing": 1, "Warning": 1}, row
    for found in (c.catalog.service(web, tag="green")[1], c.catalog.service(web, filter_expr='"green" in ServiceTags')[1]):
        assert [row["ServiceID"] for row in found] == [f"{prefix}:web:2"], found
    _, node = c.catalog.node(first)
    assert node["Node"]["Address"] == "127.3.0.1" and list(node["Services"]) == [f"{prefix}:web:1"], node
    assert c.catalog.node(f"{prefix}-nobody")[1] is None
    assert c.catalog.service(f"{prefix}-nothing")[1] == []
    error = raises(consul.ConsulException, lambda: c.catalog.nodes(dc="elsewhere"))
    assert "No path to datacenter" in str(error), error
    raises(consul.ConsulException, lambda: c.catalog.services(filter_expr="ServiceName ="))


def check_health(c, connect, address, prefix):
    web = f"{prefix}-web"
    _, rows = c.health.service(web)
    assert [row["Checks"][0]["Status"] for row in rows] == ["passing", "critical"], rows
    assert rows[0]["Service"]["ID"] == f"{prefix}:web:1" and rows[0]["Node"]["Node"] == f"{prefix}-node-1", rows
    index, rows = c.health.service(web, passing=True)
    assert [row["Service"]["ID"] for row in rows] == [f"{prefix}:web:1"], rows
    assert [row["Service"]["ID"] for row in c.health.service(web, tag=["green", "v1"])[1]] == [f"{prefix}:web:2"]
    assert c.health.service(web, tag=["green", "blue"])[1] == []
    _, checks = c.health.checks(web)
    assert [check["Status"] for check in checks] == ["passing", "critical"], checks
    assert checks[0]["ServiceTags"] == ["blue", "v1"] and checks[0]["ServiceName"] == web, checks
    _, checks = c.health.state("critical", filter_expr=f'ServiceName == "{web}"')
    assert [check["CheckID"] for check in checks] == [f"{prefix}:web:2:alive"], checks
    assert f"{prefix}:web:1:alive" in [check["CheckID"] for check in c.health.state("any")[1]]
    _, checks = c.health.node(f"{prefix}-node-2")
    assert [check["CheckID"] for check in checks] == [f"{prefix}:web:2:alive"], checks

    # A parked query wakes when an instance of its service becomes well, and not when another service changes.
    found = []
    parked = threading.Thread(
        target=lambda: found.append(connect(address).health.service(web, passing=True, index=index, wait="30s"))
    )
    parked.start()
    assert c.catalog.register(f"{prefix}-other", "127.3.0.9", service={"Service": f"{prefix}-other"}) is True
    parked.join(0.5)
    assert not found, found
    register_elsewhere(c, prefix, 2, ["green", "v1"], "passing")
    parked.join(BOUND_SECONDS)
    assert found and len(found[0][1]) == 2 and int(found[0][0]) > int(index), found

    assert c.catalog.deregister(f"{prefix}-node-2", check_id=f"{prefix}:web:2:alive") is True
    assert c.health.node(f"{prefix}-node-2")[1] == []
    assert c.catalog.deregister(f"{prefix}-node-2", service_id=f"{prefix}:web:2") is True
    assert [row["ServiceID"] for row in c.catalog.service(web)[1]] == [f"{prefix}:web:1"]
    assert c.catalog.deregister(f"{prefix}-node-2") is True
    assert c.catalog.node(f"{prefix}-node-2")[1] is None


def statuses(c, service):
    """The status of every check of the service's only instance in the catalog, by the check's id; {} without one."""
    _, rows = c.health.service(service)
    return {check["CheckID"]: check["Status"] for row in rows for check in row["Checks"] if check["ServiceID"]}


def check_agent_service(c, address, prefix):
    # A raw `/` in the id, as Patroni has it.
    db, instance = f"{prefix}-db", f"{prefix}/db:1"
    url = f"http://{address}/v1/status/leader"
    host, port = address.rsplit(":", 1)
    register = lambda checks, **more: c.agent.service.register(
        db, service_id=instance, address="127.3.1.1", port=5432, tags=["sql"], meta={"shard": "7"},
        check=checks[0], extra_checks=checks[1:], enable_tag_override=True, **more,
    )  # fmt: skip
    checks = [consul.Check.ttl("30s"), consul.Check.http(url, "1s", timeout="2s", header={"x-from": ["tests"]})]
    checks += [consul.Check.tcp(host, int(port), "1s")]
    assert register(checks, weights={"Passing": 3, "Warning": 2}, tagged_addresses={"lan": {"Address": "127.3.1.2", "Port": 99}}) is True
    service = c.agent.services()[instance]
    assert service["Service"] == db and service["Port"] == 5432 and service["Meta"] == {"shard": "7"}, service
    assert service["Weights"] == {"Passing": 3, "Warning": 2} and service["EnableTagOverride"] is True, service
    assert service["TaggedAddresses"]["lan"] == {"Address": "127.3.1.2", "Port": 99}, service
    assert list(c.agent.services(filter_expr=f'Service == "{db}"')) == [instance]
    definition = c.agent.service_definition(instance)
    assert definition["ID"] == instance and definition["ContentHash"], definition
    ids = [f"service:{instance}:{number}" for number in (1, 2, 3)]
    own = c.agent.checks(filter_expr=f'ServiceName == "{db}"')
    assert sorted(own) == ids and own[ids[0]]["Status"] == "critical" and own[ids[0]]["ServiceTags"] == ["sql"], own
    # HTTP and TCP checks become well by themselves, and the catalog follows; the TTL waits to be told.
    until("checks in the catalog", lambda: statuses(c, db) == dict(zip(ids, ["critical", "passing", "passing"])))
    for tell, status in ((c.agent.check.ttl_warn, "warning"), (c.agent.check.ttl_fail, "critical"), (c.agent.check.ttl_pass, "passing")):
        assert tell(ids[0], notes=f"because {status}") is True
        check = c.agent.checks()[ids[0]]
        assert check["Status"] == status and check["Output"] == f"because {status}", check
        until(f"{status} in the catalog", lambda: statuses(c, db).get(ids[0]) == status)
    until("a passing instance", lambda: len(c.health.service(db, passing=True)[1]) == 1)

    assert c.agent.service.maintenance(instance, True, "for a test") is True
    maintenance = f"_service_maintenance:{instance}"
    assert c.agent.checks()[maintenance]["Notes"] == "for a test"
    until("maintenance in the catalog", lambda: statuses(c, db).get(maintenance) == "critical")
    assert c.health.service(db, passing=True)[1] == []
    assert c.agent.service.maintenance(instance, False) is True
    until("the end of maintenance", lambda: maintenance not in statuses(c, db))

    assert register(checks[:1], replace_existing_checks=True) is True
    until("only the checks that were named", lambda: list(statuses(c, db)) == [f"service:{instance}"])
    assert c.agent.check.register("disk", consul.Check.ttl("30s"), check_id=f"{instance}:disk", service_id=instance, notes="n") is True
    until("a check of its own", lambda: f"{instance}:disk" in statuses(c, db))
    assert c.agent.check.deregister(f"{instance}:disk") is True
    until("its end", lambda: f"{instance}:disk" not in statuses(c, db))
    assert c.agent.service.deregister(instance) is True
    assert instance not in c.agent.services()
    until("the instance's end", lambda: c.catalog.service(db)[1] == [])
    assert c.agent.service_definition(instance) is None
    assert c.agent.service.deregister(instance) is False, "a 404"


def check_agent_node(c, prefix):
    own = c.agent.self()
    name = own["Config"]["NodeName"]
    assert own["Config"]["Datacenter"] == "dc1" and own["Config"]["Server"] is True and own["Member"]["Name"] == name, own
    assert [int(part) for part in own["Config"]["Version"].split(".")] >= [1, 20, 1], own
    assert name in [member["Name"] for member in c.agent.members()]
    # A TTL that nobody serves ends in time.
    assert c.agent.check.register("short", consul.Check.ttl("1s"), check_id=f"{prefix}-short") is True
    assert c.agent.check.ttl_pass(f"{prefix}-short") is True
    assert c.agent.checks()[f"{prefix}-short"]["Status"] == "passing"
    until("the TTL to end", lambda: c.agent.checks()[f"{prefix}-short"]["Status"] == "critical")
    assert "TTL expired" in c.agent.checks()[f"{prefix}-short"]["Output"]
    on_node = lambda: {check["CheckID"]: check["Status"] for check in c.health.node(name)[1]}
    until("it in the catalog", lambda: on_node().get(f"{prefix}-short") == "critical")
    assert c.agent.check.deregister(f"{prefix}-short") is True
    assert c.agent.maintenance(True, "for a test") is True
    until("maintenance of the node", lambda: on_node().get("_node_maintenance") == "critical")
    assert c.agent.maintenance(False) is True
    until("its end", lambda: "_node_maintenance" not in on_node())
    assert c.agent.reload() is True
    assert {"Gauges", "Counters", "Samples"} <= set(c.agent.metrics())
    assert "# TYPE" in c.agent.metrics(format_prometheus=True)
    raises(consul.exceptions.ACLDisabled, lambda: c.agent.token.set_default("00000000-0000-0000-0000-000000000000"))


def check_query(c, prefix):
    register_elsewhere(c, prefix, 2, ["green", "v1"], "warning")
    # py-consul makes a template of every query that it creates or updates, which Rollcall does not know yet: so those are
    # written past it.
    name, data = f"{prefix}-find", {"Service": f"{prefix}-web", "OnlyPassing": True, "Tags": ["v1", "!green"]}
    post = lambda data: c.http.post(CB.json(), "/v1/query", data=json.dumps(data))
    query = post({"Name": name, "Service": data, "DNS": {"TTL": "10s"}})["ID"]
    assert query in [one["ID"] for one in c.query.list()]
    one = c.query.get(query)[0]
    assert one["Service"]["Service"] == f"{prefix}-web" and one["Service"]["Tags"] == ["v1", "!green"], one
    for which in (query, name):
        answer = c.query.execute(which)
        assert [node["Service"]["ID"] for node in answer["Nodes"]] == [f"{prefix}:web:1"], answer
        assert answer["DNS"]["TTL"] == "10s" and answer["Datacenter"] == "dc1" and answer["Failovers"] == 0, answer
    other = post({"Name": f"{prefix}-all", "Service": {"Service": f"{prefix}-web"}})["ID"]
    assert len(c.query.execute(other)["Nodes"]) == 2
    assert len(c.query.execute(other, limit=1)["Nodes"]) == 1
    assert c.query.delete(query) is True and c.query.delete(other) is True
    assert c.query.get(query) is None and c.query.execute(name) is None


def check_transaction(c, prefix):
    node, instance = f"{prefix}-node-t", f"{prefix}-t"
    service = {"ID": instance, "Service": instance, "Port": 1, "Tags": ["one"]}
    check = {"Node": node, "CheckID": f"{instance}-check", "Name": "alive", "Status": "passing", "ServiceID": instance}
    answer = c.txn.put([
        {"Node": {"Verb": "set", "Node": {"Node": node, "Address": "127.3.2.1"}}},
        {"Service": {"Verb": "set", "Node": node, "Service": service}},
        {"Check": {"Verb": "set", "Check": check}},
    ])  # fmt: skip
    assert answer["Errors"] is None and len(answer["Results"]) == 3, answer
    assert answer["Results"][1]["Service"]["Port"] == 1, answer
    assert [row["Service"]["ID"] for row in c.health.service(instance, passing=True)[1]] == [instance]
    old = dict(service, Port=2, ModifyIndex=answer["Results"][1]["Service"]["ModifyIndex"] - 1)
    cas = [
        {"Check": {"Verb": "delete", "Check": {"Node": node, "CheckID": f"{instance}-check"}}},
        {"Service": {"Verb": "cas", "Node": node, "Service": old}},
    ]
    error = raises(consul.exceptions.ClientError, lambda: c.txn.put(cas))
    assert "409" in str(error), error
    assert len(c.health.service(instance)[1][0]["Checks"]) == 1, "nothing of a transaction that fails is done"
    answer = c.txn.put([{"Node": {"Verb": "delete", "Node": {"Node": node}}}])
    assert answer["Errors"] is None, answer
    assert c.catalog.node(node)[1] is None and c.catalog.service(instance)[1] == []


def check(connect, address, prefix):
    c = connect(address)
    check_catalog(c, prefix)
    check_health(c, connect, address, prefix)
    check_query(c, prefix)
    check_transaction(c, prefix)


def check_agent(connect, address, prefix):
    c = connect(address)
    check_agent_service(c, address, prefix)
    check_agent_node(c, prefix)
