// Consul's own Go client over a running server: `client check|catalog|agent|hold|contend|semaphore HOST:PORT ...`.
//
// Says line by line what happens; the suite reads the lines and keeps the time. `check` (the store and its sessions),
// `catalog` and `agent` exercise what people use the client for and end with "ok"; `hold` takes a Lock and keeps it until
// it is killed; `contend` waits for the Lock, has it for a moment, and gives it back; `semaphore` does so several times
// with a Semaphore.
package main

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

// Between two tries while the server refuses.
const retry = 50 * time.Millisecond

func say(words ...any) { fmt.Println(words...) }

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func assert(holds bool, what string, seen ...any) {
	if !holds {
		fmt.Fprintln(os.Stderr, append([]any{"not so:", what}, seen...)...)
		os.Exit(1)
	}
}

// tattler says when a renewal was acknowledged: the Lock renews its session itself.
type tattler struct {
	inner http.RoundTripper
	name  string
}

func (t tattler) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := t.inner.RoundTrip(request)
	if err == nil && response.StatusCode == 200 && strings.HasPrefix(request.URL.Path, "/v1/session/renew/") {
		say("renewed", t.name)
	}
	return response, err
}

func connect(address, name string) *api.Client {
	config := api.DefaultNonPooledConfig()
	config.Address = address
	config.HttpClient = &http.Client{Transport: tattler{config.Transport, name}}
	client, err := api.NewClient(config)
	must(err)
	return client
}

func checkKV(kv *api.KV, prefix string) {
	key := prefix + "/a key/with:parts"
	pair, meta, err := kv.Get(key, nil)
	must(err)
	assert(pair == nil && meta.LastIndex > 0 && meta.KnownLeader, "a missing key has an index", pair, meta)
	_, err = kv.Put(&api.KVPair{Key: key, Value: []byte("one"), Flags: 42}, nil)
	must(err)
	pair, meta, err = kv.Get(key, nil)
	must(err)
	assert(string(pair.Value) == "one" && pair.Flags == 42 && pair.Key == key, "what was put is there", pair)
	assert(meta.LastIndex == pair.ModifyIndex, "the answer's index is the key's", meta, pair)
	done, _, err := kv.CAS(&api.KVPair{Key: key, Value: []byte("two"), ModifyIndex: pair.ModifyIndex - 1}, nil)
	must(err)
	assert(!done, "a stale check-and-set fails")
	done, _, err = kv.CAS(&api.KVPair{Key: key, Value: []byte("two"), ModifyIndex: pair.ModifyIndex}, nil)
	must(err)
	assert(done, "a fresh check-and-set works")
	pairs, _, err := kv.List(prefix+"/", &api.QueryOptions{AllowStale: true})
	must(err)
	assert(len(pairs) == 1, "one key is listed", pairs)
	keys, _, err := kv.Keys(prefix+"/", "/", &api.QueryOptions{RequireConsistent: true})
	must(err)
	assert(len(keys) == 1 && keys[0] == prefix+"/a key/", "keys stop at the separator", keys)
}

func checkWatch(kv *api.KV, prefix string) {
	key := prefix + "/watched"
	_, err := kv.Put(&api.KVPair{Key: key, Value: []byte("before")}, nil)
	must(err)
	_, meta, err := kv.Get(key, nil)
	must(err)
	woke := make(chan *api.KVPair, 1)
	go func() {
		pair, _, err := kv.Get(key, &api.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: 30 * time.Second})
		must(err)
		woke <- pair
	}()
	_, err = kv.Put(&api.KVPair{Key: prefix + "/other", Value: []byte("elsewhere")}, nil)
	must(err)
	select {
	case pair := <-woke:
		assert(false, "woke though another key was written", pair)
	case <-time.After(500 * time.Millisecond):
	}
	_, err = kv.Put(&api.KVPair{Key: key, Value: []byte("after")}, nil)
	must(err)
	select {
	case pair := <-woke:
		assert(string(pair.Value) == "after", "the new value is seen", pair)
	case <-time.After(10 * time.Second):
		assert(false, "a parked read woke")
	}
}

func checkSession(client *api.Client, prefix string) {
	sessions := client.Session()
	id, _, err := sessions.Create(&api.SessionEntry{
		Name: "check", TTL: "10s", LockDelay: 1500 * time.Millisecond, Behavior: api.SessionBehaviorDelete,
	}, nil)
	must(err)
	entry, _, err := sessions.Info(id, nil)
	must(err)
	assert(entry.LockDelay == 1500*time.Millisecond && entry.TTL == "10s", "a session is as made", entry)
	renewed, _, err := sessions.Renew(id, nil)
	must(err)
	assert(renewed.ID == id, "a session is renewed", renewed)
	key := prefix + "/ephemeral"
	done, _, err := client.KV().Acquire(&api.KVPair{Key: key, Value: []byte("mine"), Session: id}, nil)
	must(err)
	assert(done, "a free key is acquired")
	_, err = sessions.Destroy(id, nil)
	must(err)
	pair, _, err := client.KV().Get(key, nil)
	must(err)
	assert(pair == nil, "behaviour delete takes the key along", pair)
	renewed, _, err = sessions.Renew(id, nil)
	assert(err == nil && renewed == nil, "a session that is gone is not renewed", err, renewed)
}

func checkTxn(client *api.Client, prefix string) {
	key := prefix + "/txn"
	ok, response, _, err := client.Txn().Txn(api.TxnOps{
		{KV: &api.KVTxnOp{Verb: api.KVSet, Key: key, Value: []byte("in a transaction")}},
		{KV: &api.KVTxnOp{Verb: api.KVGet, Key: key}},
	}, nil)
	must(err)
	assert(ok && len(response.Errors) == 0, "a transaction is applied", response)
	assert(string(response.Results[1].KV.Value) == "in a transaction", "and reads what it wrote", response)
	ok, response, _, err = client.Txn().Txn(api.TxnOps{
		{KV: &api.KVTxnOp{Verb: api.KVCheckNotExists, Key: key}},
	}, nil)
	must(err)
	assert(!ok && len(response.Errors) == 1, "a transaction is rolled back", response)
}

func check(address, prefix string) {
	client := connect(address, "check")
	checkKV(client.KV(), prefix)
	checkWatch(client.KV(), prefix)
	checkSession(client, prefix)
	checkTxn(client, prefix)
	leader, err := client.Status().Leader()
	must(err)
	assert(strings.Contains(leader, ":"), "the leader has an address", leader)
	raft, err := client.Operator().RaftGetConfiguration(nil)
	must(err)
	assert(len(raft.Servers) > 0, "there are servers", raft)
	_, err = client.KV().Put(&api.KVPair{Key: "toolarge", Value: make([]byte, 512*1024+1)}, nil)
	assert(err != nil && strings.Contains(err.Error(), "413"), "a value over the limit is refused", err)
	say("ok")
}

func lock(client *api.Client, key, name string, ttl, lockDelay int) (*api.Lock, <-chan struct{}) {
	for {
		lock, err := client.LockOpts(&api.LockOptions{
			Key:              key,
			Value:            []byte(name),
			SessionName:      name,
			SessionTTL:       strconv.Itoa(ttl) + "s",
			LockDelay:        time.Duration(lockDelay) * time.Second,
			MonitorRetries:   20,
			MonitorRetryTime: 200 * time.Millisecond,
		})
		must(err)
		lost, err := lock.Lock(nil)
		if err == nil {
			return lock, lost
		}
		say("refused", err)
		time.Sleep(retry)
	}
}

func hold(address, key, name string, ttl, lockDelay int) {
	_, lost := lock(connect(address, name), key, name, ttl, lockDelay)
	say("acquired", name)
	<-lost
	say("lost", name)
}

func contend(address, key, name string, ttl, lockDelay int) {
	lock, _ := lock(connect(address, name), key, name, ttl, lockDelay)
	say("acquired", name)
	time.Sleep(500 * time.Millisecond)
	say("released", name)
	must(lock.Unlock())
}

func semaphore(address, prefix, name string, limit, rounds int) {
	client := connect(address, name)
	for round := 0; round < rounds; round++ {
		semaphore, err := client.SemaphoreOpts(&api.SemaphoreOptions{
			Prefix: prefix, Limit: limit, SessionName: name, SessionTTL: "10s",
		})
		must(err)
		_, err = semaphore.Acquire(nil)
		must(err)
		say("acquired", name)
		time.Sleep(100 * time.Millisecond)
		say("released", name)
		must(semaphore.Release())
	}
	say("ok")
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	must(err)
	return value
}

func main() {
	command, address, rest := os.Args[1], os.Args[2], os.Args[3:]
	switch command {
	case "check":
		check(address, rest[0])
	case "catalog":
		catalog(address, rest[0])
	case "agent":
		agent(address, rest[0])
	case "hold":
		hold(address, rest[0], rest[1], number(rest[2]), number(rest[3]))
	case "contend":
		contend(address, rest[0], rest[1], number(rest[2]), number(rest[3]))
	case "semaphore":
		semaphore(address, rest[0], rest[1], number(rest[2]), number(rest[3]))
	default:
		assert(false, "the command is known", command)
	}
}
