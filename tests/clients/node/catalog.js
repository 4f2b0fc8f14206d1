// The rest of the package's surface: catalog, health, agent, prepared queries, and its watch loop over them.
//
// Every name begins with `prefix`, so that clients can share a server. What the server does by itself (anti-entropy, health
// checks) is waited for; everything else must be so at once.

"use strict";

const assert = require("node:assert/strict");
const { setTimeout: sleep } = require("node:timers/promises");

// Anti-entropy and a check of an interval of a second have happened within this, on a busy machine.
const BOUND_MS = 20_000;
const PAUSE_MS = 50;

// Waits until `look` finds something that counts as true, and returns it.
async function until(what, look) {
  const end = Date.now() + BOUND_MS;
  for (;;) {
    const found = await look();
    if (found) return found;
    assert.ok(Date.now() < end, `${what}: not within ${BOUND_MS} ms`);
    await sleep(PAUSE_MS);
  }
}

const ids = (rows) => rows.map((row) => row.ServiceID ?? row.Service.ID);

function registerElsewhere(consul, prefix, number, tags, status) {
  const id = `${prefix}:web:${number}`;
  const node = `${prefix}-node-${number}`;
  return consul.catalog.register({
    node,
    address: `127.4.0.${number}`,
    nodemeta: { number: `${prefix}-${number}` },
    service: { service: `${prefix}-web`, id, tags, port: 8000 + number, meta: { colour: tags[0] } },
    check: { node, checkid: `${id}:alive`, name: "alive", status, serviceid: id },
  });
}

async function checkCatalog(consul, prefix) {
  const service = `${prefix}-web`;
  assert.deepEqual(await consul.catalog.datacenters(), ["dc1"]);
  await registerElsewhere(consul, prefix, 1, ["blue", "v1"], "passing");
  await registerElsewhere(consul, prefix, 2, ["green", "v1"], "critical");
  const nodes = await consul.catalog.nodes({ consistent: true });
  assert.ok(nodes.some((node) => node.Node === `${prefix}-node-1` && node.Address === "127.4.0.1"));
  const meta = await consul.catalog.node.list({ "node-meta": `number:${prefix}-2` });
  assert.deepEqual(meta.map((node) => node.Node), [`${prefix}-node-2`]);
  assert.deepEqual((await consul.catalog.services({ stale: true }))[service].sort(), ["blue", "green", "v1"]);
  const rows = await consul.catalog.service.nodes(service);
  assert.deepEqual(ids(rows), [`${prefix}:web:1`, `${prefix}:web:2`]);
  assert.deepEqual(rows[0].ServiceMeta, { colour: "blue" });
  assert.equal(rows[0].ServicePort, 8001);
  assert.deepEqual(ids(await consul.catalog.service.nodes({ service, tag: "green" })), [`${prefix}:web:2`]);
  const filter = 'ServiceMeta.colour == "blue"';
  assert.deepEqual(ids(await consul.catalog.service.nodes({ service, filter })), [`${prefix}:web:1`]);
  const node = await consul.catalog.node.services(`${prefix}-node-1`);
  assert.deepEqual(Object.keys(node.Services), [`${prefix}:web:1`]);
  assert.deepEqual(await consul.catalog.service.nodes(`${prefix}-nothing`), []);
  await assert.rejects(consul.catalog.nodes({ dc: "elsewhere" }), /No path to datacenter/);
}

async function checkHealth(consul, prefix) {
  const service = `${prefix}-web`;
  const rows = await consul.health.service(service);
  assert.deepEqual(rows.map((row) => row.Checks[0].Status), ["passing", "critical"]);
  assert.deepEqual(ids(await consul.health.service({ service, passing: true })), [`${prefix}:web:1`]);
  assert.deepEqual(ids(await consul.health.service({ service, tag: "green" })), [`${prefix}:web:2`]);
  const checks = await consul.health.checks(service);
  assert.deepEqual(checks.map((check) => check.ServiceTags), [["blue", "v1"], ["green", "v1"]]);
  const critical = await consul.health.state({ state: "critical", filter: `ServiceName == "${service}"` });
  assert.deepEqual(critical.map((check) => check.CheckID), [`${prefix}:web:2:alive`]);
  const ofNode = await consul.health.node(`${prefix}-node-2`);
  assert.deepEqual(ofNode.map((check) => check.CheckID), [`${prefix}:web:2:alive`]);
}

// The package's own watch loop: it insists on an index above 0 and starts again when the index falls.
async function checkWatch(consul, prefix) {
  const service = `${prefix}-web`;
  const seen = [];
  const watch = consul.watch({ method: consul.health.service, options: { service, passing: true, wait: "30s" } });
  const until = (count) =>
    new Promise((resolve, reject) => {
      watch.on("error", reject);
      watch.on("change", (rows) => {
        seen.push(rows.length);
        if (rows.length === count) resolve();
      });
    });
  await until(1);
  // Another service changes: the loop must not come round.
  await consul.catalog.register({ node: `${prefix}-other`, address: "127.4.0.9", service: { service: `${prefix}-other` } });
  await sleep(500);
  assert.deepEqual(seen, [1]);
  const changed = until(2);
  await registerElsewhere(consul, prefix, 2, ["green", "v1"], "passing");
  await changed;
  watch.end();
  await consul.catalog.deregister({ node: `${prefix}-node-2`, checkid: `${prefix}:web:2:alive` });
  assert.deepEqual(await consul.health.node(`${prefix}-node-2`), []);
  await consul.catalog.deregister({ node: `${prefix}-node-2`, serviceid: `${prefix}:web:2` });
  assert.deepEqual(ids(await consul.catalog.service.nodes(service)), [`${prefix}:web:1`]);
  await consul.catalog.deregister(`${prefix}-node-2`);
  assert.ok(!(await consul.catalog.nodes()).some((node) => node.Node === `${prefix}-node-2`));
}

// The status of every check of the service's only instance in the catalog, by the check's id.
async function statuses(consul, service) {
  const rows = await consul.health.service(service);
  const checks = rows.flatMap((row) => row.Checks).filter((check) => check.ServiceID);
  return Object.fromEntries(checks.map((check) => [check.CheckID, check.Status]));
}

async function checkAgent(consul, address, prefix) {
  const name = `${prefix}-db`;
  // The package escapes ids: `/` comes as %2F.
  const id = `${prefix}/db:1`;
  await consul.agent.service.register({
    name,
    id,
    address: "127.4.1.1",
    port: 5432,
    tags: ["sql"],
    meta: { shard: "7" },
    taggedaddresses: { lan: { address: "127.4.1.2", port: 99 } },
    checks: [
      { ttl: "30s", name: "told", status: "warning" },
      { http: `http://${address}/v1/status/leader`, interval: "1s", timeout: "2s" },
      { tcp: address, interval: "1s", checkid: `${id}:tcp` },
    ],
  });
  const services = await consul.agent.services();
  assert.equal(services[id].Service, name);
  assert.deepEqual(services[id].TaggedAddresses.lan, { Address: "127.4.1.2", Port: 99 });
  const told = `service:${id}:1`;
  const own = await consul.agent.checks();
  assert.equal(own[told].Status, "warning");
  assert.equal(own[told].Name, "told");
  await until("checks in the catalog", async () => {
    const found = await statuses(consul, name);
    return found[told] === "warning" && found[`service:${id}:2`] === "passing" && found[`${id}:tcp`] === "passing";
  });
  for (const [tell, status] of [["fail", "critical"], ["warn", "warning"], ["pass", "passing"]]) {
    await consul.agent.check[tell]({ id: told, note: `because ${status}` });
    const check = (await consul.agent.check.list())[told];
    assert.deepEqual([check.Status, check.Output], [status, `because ${status}`]);
    await until(`${status} in the catalog`, async () => (await statuses(consul, name))[told] === status);
  }
  await until("a passing instance", async () => (await consul.health.service({ service: name, passing: true })).length === 1);

  const maintenance = `_service_maintenance:${id}`;
  await consul.agent.service.maintenance({ id, enable: true, reason: "for a test" });
  await until("maintenance in the catalog", async () => (await statuses(consul, name))[maintenance] === "critical");
  await consul.agent.service.maintenance({ id, enable: false });
  await until("the end of maintenance", async () => !(maintenance in (await statuses(consul, name))));
  await consul.agent.check.register({ id: `${id}:disk`, name: "disk", serviceid: id, ttl: "30s", notes: "n" });
  await until("a check of its own", async () => `${id}:disk` in (await statuses(consul, name)));
  await consul.agent.check.deregister(`${id}:disk`);
  await until("its end", async () => !(`${id}:disk` in (await statuses(consul, name))));
  await consul.agent.service.register({ name: `${prefix}-front`, check: { aliasservice: id } });
  const front = async () => (await consul.agent.checks())[`service:${prefix}-front`].Status;
  await until("an alias of an instance", async () => (await front()) === "passing");
  await consul.agent.check.fail(told);
  await until("that it follows", async () => (await front()) === "critical");
  await consul.agent.service.deregister(`${prefix}-front`);
  await consul.agent.service.deregister(id);
  assert.ok(!(id in (await consul.agent.services())));
  await until("the instance's end", async () => (await consul.catalog.service.nodes(name)).length === 0);
  await assert.rejects(consul.agent.service.deregister(id), (error) => error.statusCode === 404);
  await assert.rejects(consul.agent.check.pass(told), (error) => error.statusCode === 404);

  const self = await consul.agent.self();
  assert.equal(self.Config.Datacenter, "dc1");
  const member = self.Config.NodeName;
  assert.ok((await consul.agent.members()).some((one) => one.Name === member));
  const onNode = async () => (await consul.health.node(member)).map((check) => check.CheckID);
  await consul.agent.maintenance({ enable: true, reason: "for a test" });
  await until("maintenance of the node", async () => (await onNode()).includes("_node_maintenance"));
  await consul.agent.maintenance(false);
  await until("its end", async () => !(await onNode()).includes("_node_maintenance"));
  await consul.agent.reload();
}

async function checkQuery(consul, prefix) {
  await registerElsewhere(consul, prefix, 2, ["green", "v1"], "warning");
  const service = { service: `${prefix}-web`, onlypassing: true, tags: ["v1", "!green"] };
  const name = `${prefix}-find`;
  const { ID: query } = await consul.query.create({ name, service, dns: { ttl: "10s" } });
  assert.ok((await consul.query.list()).some((one) => one.ID === query));
  const one = await consul.query.get(query);
  assert.deepEqual([one.Name, one.Service.Tags], [name, ["v1", "!green"]]);
  for (const which of [query, name]) {
    const answer = await consul.query.execute(which);
    assert.deepEqual(ids(answer.Nodes), [`${prefix}:web:1`]);
    assert.equal(answer.DNS.TTL, "10s");
  }
  await consul.query.update({ query, name, service: { service: `${prefix}-web` } });
  assert.equal((await consul.query.execute(name)).Nodes.length, 2);
  await consul.query.destroy(query);
  await assert.rejects(consul.query.execute(name), (error) => error.statusCode === 404);
  await assert.rejects(consul.query.get(query), (error) => error.statusCode === 404);
}

async function checkTransaction(consul, prefix) {
  const node = `${prefix}-node-t`;
  const answer = await consul.transaction.create([
    { Node: { Verb: "set", Node: { Node: node, Address: "127.4.2.1" } } },
    { Service: { Verb: "set", Node: node, Service: { ID: node, Service: node, Port: 1 } } },
    { Check: { Verb: "set", Check: { Node: node, CheckID: node, Name: "alive", Status: "passing", ServiceID: node } } },
  ]);
  assert.equal(answer.Errors, null);
  assert.deepEqual(ids(await consul.health.service({ service: node, passing: true })), [node]);
  const missing = { Check: { Verb: "get", Check: { Node: node, CheckID: "missing" } } };
  const remove = { Node: { Verb: "delete", Node: { Node: node } } };
  await assert.rejects(consul.transaction.create([remove, missing]), (error) => error.statusCode === 409);
  assert.equal((await consul.catalog.service.nodes(node)).length, 1);
  assert.equal((await consul.transaction.create([remove])).Errors, null);
  assert.deepEqual(await consul.catalog.service.nodes(node), []);
}

async function check(consul, prefix) {
  await checkCatalog(consul, prefix);
  await checkHealth(consul, prefix);
  await checkWatch(consul, prefix);
  await checkQuery(consul, prefix);
  await checkTransaction(consul, prefix);
}

module.exports = { check, checkAgent };
