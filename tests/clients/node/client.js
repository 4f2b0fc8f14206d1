// The npm package consul over a running server: `client.js check|catalog|agent|hold|contend HOST:PORT ...`.
//
// Says line by line what happens; the suite reads the lines and keeps the time. `check` (the store and its sessions),
// `catalog` and `agent` exercise what people use the package for and end with "ok"; `hold` takes a lock and keeps it until it is killed; `contend` waits for the lock,
// has it for a moment, and gives it back.

"use strict";

const assert = require("node:assert/strict");
const { setTimeout: sleep } = require("node:timers/promises");
const Consul = require("consul");
const surface = require("./catalog.js");

// What Consul's own client puts on the key of a lock; as text, since it is beyond what a number can hold.
const LOCK_FLAGS = "3304740253564472344";
// Between two tries while the server refuses (lock-delay, no leader).
const RETRY_MS = 50;
const RENEW_MS = 1000;

const say = (...words) => process.stdout.write(words.join(" ") + "\n");

function connect(address) {
  const [host, port] = address.split(":");
  return new Consul({ host, port });
}

async function checkKv(consul, prefix) {
  const key = `${prefix}/a key/with%odd:parts`;
  assert.equal(await consul.kv.get(key), undefined);
  assert.equal(await consul.kv.set({ key, value: "one", flags: 42 }), true);
  const row = await consul.kv.get(key);
  assert.equal(row.Value, "one");
  assert.equal(row.Flags, 42);
  assert.equal(row.Key, key);
  // The package makes undefined of the body `false`, Consul's as well as ours.
  assert.equal(await consul.kv.set({ key, value: "two", cas: row.ModifyIndex - 1 }), undefined);
  assert.equal(await consul.kv.set({ key, value: "two", cas: row.ModifyIndex }), true);
  assert.equal(await consul.kv.set(`${prefix}/empty`, ""), true);
  assert.equal((await consul.kv.get(`${prefix}/empty`)).Value, null);
  const rows = await consul.kv.get({ key: `${prefix}/`, recurse: true });
  assert.deepEqual(rows.map((one) => one.Key), [key, `${prefix}/empty`]);
  const keys = await consul.kv.keys({ key: `${prefix}/`, separator: "/" });
  assert.deepEqual(keys, [`${prefix}/a key/`, `${prefix}/empty`]);
  assert.equal(await consul.kv.del(`${prefix}/empty`), true);
  assert.equal(await consul.kv.get(`${prefix}/empty`), undefined);
}

// The package's own watch loop: it insists on an index above 0 and starts again when the index falls.
async function checkWatch(consul, prefix) {
  const key = `${prefix}/watched`;
  await consul.kv.set(key, "before");
  const seen = [];
  const watch = consul.watch({ method: consul.kv.get, options: { key, wait: "30s" } });
  const until = (value) =>
    new Promise((resolve, reject) => {
      watch.on("error", reject);
      watch.on("change", (row) => {
        seen.push(row.Value);
        if (row.Value === value) resolve();
      });
    });
  await until("before");
  await consul.kv.set(`${prefix}/other`, "elsewhere");
  const changed = until("after");
  await consul.kv.set(key, "after");
  await changed;
  watch.end();
  assert.deepEqual([...new Set(seen)], ["before", "after"]);
}

async function checkSession(consul, prefix) {
  const { ID: session } = await consul.session.create({
    name: "check",
    lockdelay: "1s",
    behavior: "delete",
    ttl: "10s",
  });
  const listed = await consul.session.list();
  assert.ok(listed.some((one) => one.ID === session));
  const info = await consul.session.info(session);
  assert.equal(info.Name, "check");
  assert.equal(info.LockDelay, 1e9);
  assert.ok((await consul.session.node(info.Node)).some((one) => one.ID === session));
  assert.equal((await consul.session.renew(session))[0].ID, session);
  const key = `${prefix}/ephemeral`;
  assert.equal(await consul.kv.set({ key, value: "mine", acquire: session }), true);
  assert.equal((await consul.kv.get(key)).Session, session);
  await consul.session.destroy(session);
  assert.equal(await consul.kv.get(key), undefined, "behaviour delete takes the key along");
  await assert.rejects(consul.session.renew(session), (error) => error.statusCode === 404);
}

async function checkTransaction(consul, prefix) {
  const key = `${prefix}/txn`;
  const value = Buffer.from("in a transaction").toString("base64");
  const answer = await consul.transaction.create([
    { KV: { Verb: "set", Key: key, Value: value } },
    { KV: { Verb: "get", Key: key } },
  ]);
  assert.equal(answer.Errors, null);
  assert.equal(answer.Results[1].KV.Value, value);
  const rolledBack = consul.transaction.create([{ KV: { Verb: "check-not-exists", Key: key } }]);
  await assert.rejects(rolledBack, (error) => error.statusCode === 409);
}

async function check(address, prefix) {
  const consul = connect(address);
  await checkKv(consul, prefix);
  await checkWatch(consul, prefix);
  await checkSession(consul, prefix);
  await checkTransaction(consul, prefix);
  const leader = await consul.status.leader();
  assert.ok((await consul.status.peers()).includes(leader));
  const tooLarge = consul.kv.set("toolarge", "x".repeat(512 * 1024 + 1));
  await assert.rejects(tooLarge, (error) => error.statusCode === 413);
  say("ok");
}

async function catalog(address, prefix) {
  await surface.check(connect(address), prefix);
  say("ok");
}

async function agent(address, prefix) {
  await surface.checkAgent(connect(address), address, prefix);
  say("ok");
}

// Waits until the lock is ours; the session is renewed meanwhile.
async function acquire(consul, key, name, ttl, lockDelay) {
  let session;
  for (;;) {
    try {
      if (!session) {
        const lockdelay = `${lockDelay}s`;
        session = (await consul.session.create({ name, ttl: `${ttl}s`, lockdelay })).ID;
      }
      await consul.session.renew(session);
      if (await consul.kv.set({ key, value: name, acquire: session, flags: LOCK_FLAGS })) return session;
    } catch (error) {
      if (error.statusCode === 404) session = undefined;
      else say("refused", error.message);
    }
    await sleep(RETRY_MS);
  }
}

async function hold(address, key, name, ttl, lockDelay) {
  const consul = connect(address);
  const session = await acquire(consul, key, name, ttl, lockDelay);
  say("acquired", name);
  for (;;) {
    await sleep(RENEW_MS);
    try {
      await consul.session.renew(session);
      say("renewed", name);
    } catch (error) {
      if (error.statusCode === 404) return say("lost", name);
      say("refused", error.message);
    }
  }
}

async function contend(address, key, name, ttl, lockDelay) {
  const consul = connect(address);
  const session = await acquire(consul, key, name, ttl, lockDelay);
  say("acquired", name);
  await sleep(500);
  say("released", name);
  for (;;) {
    try {
      await consul.kv.set({ key, value: name, release: session, flags: LOCK_FLAGS });
      await consul.session.destroy(session);
      return;
    } catch (error) {
      say("refused", error.message);
      await sleep(RETRY_MS);
    }
  }
}

const [command, address, ...rest] = process.argv.slice(2);
const commands = { check, catalog, agent, hold, contend };
commands[command](address, ...rest).then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
