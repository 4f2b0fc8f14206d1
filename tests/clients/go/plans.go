// Watch plans: what `consul watch` and many programs are built on.
package main

import (
	"io"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/consul/api/watch"
)

// plan runs a watch and hands on what it sees.
type plan struct {
	kind string
	seen chan any
	stop func()
}

func start(address, kind string, parameters map[string]any) plan {
	parameters["type"] = kind
	parsed, err := watch.Parse(parameters)
	must(err)
	seen := make(chan any, 100)
	parsed.Handler = func(_ uint64, found any) { seen <- found }
	parsed.LogOutput = io.Discard
	go func() { must(parsed.Run(address)) }()
	return plan{kind, seen, parsed.Stop}
}

// until waits for something that it is called with.
func (p plan) until(what string, holds func(any) bool) {
	end := time.After(bound)
	var last any
	for {
		select {
		case last = <-p.seen:
			if holds(last) {
				return
			}
		case <-end:
			assert(false, "a plan of type "+p.kind+" sees "+what, last)
		}
	}
}

// silent asserts that it is not called for a while.
func (p plan) silent(why string) {
	select {
	case found := <-p.seen:
		assert(false, "a plan of type "+p.kind+" is silent: "+why, found)
	case <-time.After(300 * time.Millisecond):
	}
}

func checkPlans(client *api.Client, address, prefix string) {
	web := prefix + "-web"
	services := start(address, "services", map[string]any{})
	nodes := start(address, "nodes", map[string]any{})
	service := start(address, "service", map[string]any{"service": web, "passingonly": true})
	checks := start(address, "checks", map[string]any{"service": web})
	keys := start(address, "keyprefix", map[string]any{"prefix": prefix + "/plan/"})
	hasService := func(found any) bool { _, there := found.(map[string][]string)[web]; return there }
	services.until("the service", hasService)
	nodes.until("the nodes", func(found any) bool { return len(found.([]*api.Node)) >= 2 })
	service.until("the passing instance", func(found any) bool { return len(found.([]*api.ServiceEntry)) == 1 })
	checks.until("both checks", func(found any) bool { return len(found.([]*api.HealthCheck)) == 2 })

	elsewhere(client, prefix, 2, []string{"green", "v1"}, api.HealthPassing)
	service.until("the second instance", func(found any) bool { return len(found.([]*api.ServiceEntry)) == 2 })
	checks.until("that it is well", func(found any) bool {
		for _, check := range found.([]*api.HealthCheck) {
			if check.Status != api.HealthPassing {
				return false
			}
		}
		return true
	})
	services.silent("no name and no tag has changed")
	_, err := client.KV().Put(&api.KVPair{Key: prefix + "/plan/key", Value: []byte("v")}, nil)
	must(err)
	keys.until("the key", func(found any) bool { return len(found.(api.KVPairs)) == 1 })
	elsewhere(client, prefix, 3, []string{"red"}, api.HealthPassing)
	nodes.until("the new node", func(found any) bool {
		for _, node := range found.([]*api.Node) {
			if node.Node == prefix+"-node-3" {
				return true
			}
		}
		return false
	})
	services.until("the new tag", func(found any) bool { return len(found.(map[string][]string)[web]) == 4 })
	for _, plan := range []plan{services, nodes, service, checks, keys} {
		plan.stop()
	}
}
