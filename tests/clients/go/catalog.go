// What programs use Consul's Go client for besides the store: the catalog, the agent, prepared queries, watch plans.
//
// Every name begins with a prefix, so that clients can share a server. What the server does by itself (anti-entropy, health
// checks) is waited for; everything else must be so at once.
package main

import (
	"context"
	"fmt"
	"reflect"
	"sort"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

// Anti-entropy and a check of an interval of a second have happened within this, on a busy machine.
const bound = 20 * time.Second

// until waits for a condition, which says what it saw.
func until(what string, look func() (bool, any)) {
	end := time.Now().Add(bound)
	for {
		holds, seen := look()
		if holds {
			return
		}
		assert(time.Now().Before(end), what+fmt.Sprintf(" within %v", bound), seen)
		time.Sleep(50 * time.Millisecond)
	}
}

func equal(what string, seen, expected any) {
	assert(reflect.DeepEqual(seen, expected), what, seen, "instead of", expected)
}

// elsewhere registers an instance on a node of its own, as external services are.
func elsewhere(client *api.Client, prefix string, number int, tags []string, status string) {
	node, id := fmt.Sprintf("%s-node-%d", prefix, number), fmt.Sprintf("%s:web:%d", prefix, number)
	_, err := client.Catalog().Register(&api.CatalogRegistration{
		Node:     node,
		Address:  fmt.Sprintf("127.5.0.%d", number),
		NodeMeta: map[string]string{"prefix": prefix},
		Service:  &api.AgentService{ID: id, Service: prefix + "-web", Tags: tags, Port: 8000 + number, Meta: map[string]string{"n": "1"}},
		Checks:   api.HealthChecks{{Node: node, CheckID: id + ":alive", Name: "alive", Status: status, ServiceID: id}},
	}, nil)
	must(err)
}

func ids(entries []*api.ServiceEntry) []string {
	found := []string{}
	for _, entry := range entries {
		found = append(found, entry.Service.ID)
	}
	sort.Strings(found)
	return found
}

func checkCatalog(client *api.Client, prefix string) {
	catalog, health, web := client.Catalog(), client.Health(), prefix+"-web"
	first, second := prefix+":web:1", prefix+":web:2"
	elsewhere(client, prefix, 1, []string{"blue", "v1"}, api.HealthPassing)
	elsewhere(client, prefix, 2, []string{"green", "v1"}, api.HealthCritical)
	datacenters, err := catalog.Datacenters()
	must(err)
	equal("the datacenters", datacenters, []string{"dc1"})
	nodes, meta, err := catalog.Nodes(&api.QueryOptions{NodeMeta: map[string]string{"prefix": prefix}, RequireConsistent: true})
	must(err)
	assert(len(nodes) == 2 && meta.LastIndex > 0 && meta.KnownLeader, "two nodes have the meta", nodes, meta)
	services, _, err := catalog.Services(&api.QueryOptions{AllowStale: true})
	must(err)
	sort.Strings(services[web])
	equal("the tags of all instances", services[web], []string{"blue", "green", "v1"})
	rows, _, err := catalog.ServiceMultipleTags(web, []string{"v1", "green"}, nil)
	must(err)
	assert(len(rows) == 1 && rows[0].ServiceID == second, "tags are joined by and", rows)
	rows, _, err = catalog.Service(web, "", &api.QueryOptions{Filter: `ServiceTags contains blue and ServicePort == 8001`})
	must(err)
	assert(len(rows) == 1 && rows[0].ServiceID == first && rows[0].Address == "127.5.0.1", "a filter chooses", rows)
	node, _, err := catalog.Node(prefix+"-node-1", nil)
	must(err)
	assert(node.Services[first].Port == 8001 && node.Node.Meta["prefix"] == prefix, "a node has its service", node)
	list, _, err := catalog.NodeServiceList(prefix+"-node-1", nil)
	must(err)
	assert(len(list.Services) == 1 && list.Services[0].ID == first, "and lists it", list)

	entries, _, err := health.Service(web, "", true, &api.QueryOptions{UseCache: true, MaxAge: time.Second})
	must(err)
	equal("passing instances", ids(entries), []string{first})
	entries, _, err = health.ServiceMultipleTags(web, []string{"v1"}, false, nil)
	must(err)
	equal("all instances", ids(entries), []string{first, second})
	equal("the worst of its checks", entries[1].Checks.AggregatedStatus(), api.HealthCritical)
	checks, _, err := health.Checks(web, nil)
	must(err)
	assert(len(checks) == 2 && checks[0].ServiceTags[0] == "blue", "checks have the tags of their service", checks)
	checks, _, err = health.Node(prefix+"-node-2", nil)
	must(err)
	assert(len(checks) == 1 && checks[0].CheckID == second+":alive", "checks of a node", checks)
	checks, _, err = health.State(api.HealthCritical, &api.QueryOptions{NodeMeta: map[string]string{"prefix": prefix}})
	must(err)
	assert(len(checks) == 1, "checks in a state", checks)
	_, _, err = catalog.Nodes(&api.QueryOptions{Datacenter: "elsewhere"})
	assert(err != nil && strings.Contains(err.Error(), "No path to datacenter"), "there is one datacenter", err)
	_, _, err = catalog.Nodes(&api.QueryOptions{Filter: "Nothing == 1"})
	assert(err != nil && strings.Contains(err.Error(), `"Nothing"`), "a filter on a field that is not there is refused", err)
}

func checkQueries(client *api.Client, prefix string) {
	queries, name := client.PreparedQuery(), prefix+"-find"
	definition := api.PreparedQueryDefinition{
		Name:    name,
		Service: api.ServiceQuery{Service: prefix + "-web", OnlyPassing: true, Tags: []string{"v1", "!green"}},
		DNS:     api.QueryDNSOptions{TTL: "10s"},
	}
	id, _, err := queries.Create(&definition, nil)
	must(err)
	elsewhere(client, prefix, 2, []string{"green", "v1"}, api.HealthWarning)
	defined, _, err := queries.Get(id, nil)
	must(err)
	assert(len(defined) == 1 && defined[0].Name == name && defined[0].Service.Tags[1] == "!green", "a query is as defined", defined)
	all, _, err := queries.List(nil)
	must(err)
	assert(len(all) > 0, "it is listed", all)
	for _, which := range []string{id, name} {
		answer, _, err := queries.Execute(which, nil)
		must(err)
		assert(len(answer.Nodes) == 1 && answer.Nodes[0].Service.ID == prefix+":web:1", "it finds what it names", answer)
		assert(answer.Service == prefix+"-web" && answer.DNS.TTL == "10s" && answer.Datacenter == "dc1", "and says so", answer)
	}
	definition.ID, definition.Service.OnlyPassing, definition.Service.Tags = id, false, nil
	_, err = queries.Update(&definition, nil)
	must(err)
	answer, _, err := queries.Execute(name, nil)
	must(err)
	assert(len(answer.Nodes) == 2, "an update counts", answer)
	_, err = queries.Delete(id, nil)
	must(err)
	_, _, err = queries.Execute(name, nil)
	assert(err != nil && strings.Contains(err.Error(), "404"), "what was deleted is not found", err)
}

// statuses are those of every check of the service's only instance in the catalog.
func statuses(client *api.Client, service string) map[string]string {
	found := map[string]string{}
	entries, _, err := client.Health().Service(service, "", false, nil)
	must(err)
	for _, entry := range entries {
		for _, check := range entry.Checks {
			if check.ServiceID != "" {
				found[check.CheckID] = check.Status
			}
		}
	}
	return found
}

func checkAgentService(client *api.Client, address, prefix string) {
	agent, name, id := client.Agent(), prefix+"-db", prefix+"/db:1"
	registration := &api.AgentServiceRegistration{
		ID: id, Name: name, Address: "127.5.1.1", Port: 5432, Tags: []string{"sql"}, EnableTagOverride: true,
		Meta:    map[string]string{"shard": "7"},
		Weights: &api.AgentWeights{Passing: 3, Warning: 2},
		Checks: api.AgentServiceChecks{
			{CheckID: id + ":ttl", TTL: "30s"},
			{CheckID: id + ":http", HTTP: "http://" + address + "/v1/status/leader", Interval: "1s", Timeout: "2s"},
			{CheckID: id + ":tcp", TCP: address, Interval: "1s"},
		},
	}
	must(agent.ServiceRegister(registration))
	service, _, err := agent.Service(id, nil)
	must(err)
	assert(service.Service == name && service.Weights.Passing == 3 && service.ContentHash != "", "a service is as registered", service)
	services, err := agent.ServicesWithFilter(fmt.Sprintf("Service == `%s`", name))
	must(err)
	assert(len(services) == 1 && services[id].Port == 5432, "a filter chooses services", services)
	aggregated, info, err := agent.AgentHealthServiceByID(id)
	must(err)
	assert(aggregated == api.HealthCritical && info.Service.ID == id, "nobody has said that it is well", aggregated, info)
	until("the catalog has the checks", func() (bool, any) {
		seen := statuses(client, name)
		return seen[id+":ttl"] == "critical" && seen[id+":http"] == "passing" && seen[id+":tcp"] == "passing", seen
	})
	steps := []struct {
		tell   func(string, string) error
		status string
	}{{agent.WarnTTL, "warning"}, {agent.FailTTL, "critical"}, {agent.PassTTL, "passing"}}
	for _, step := range steps {
		must(step.tell(id+":ttl", "because "+step.status))
		checks, err := agent.Checks()
		must(err)
		check := checks[id+":ttl"]
		assert(check.Status == step.status && check.Output == "because "+step.status, "a TTL check is as told", check)
		aggregated, _, err := agent.AgentHealthServiceByName(name)
		must(err)
		equal("the agent's judgement", aggregated, step.status)
		until("the catalog follows", func() (bool, any) {
			seen := statuses(client, name)
			return seen[id+":ttl"] == step.status, seen
		})
	}
	must(agent.UpdateTTL(id+":ttl", "by its status", api.HealthWarning))
	must(agent.UpdateTTL(id+":ttl", "by its status", api.HealthPassing))
	must(agent.EnableServiceMaintenance(id, "for a test"))
	aggregated, _, err = agent.AgentHealthServiceByID(id)
	must(err)
	equal("in maintenance", aggregated, api.HealthCritical)
	until("the catalog knows", func() (bool, any) {
		entries, _, err := client.Health().Service(name, "", false, nil)
		must(err)
		return len(entries) == 1 && entries[0].Checks.AggregatedStatus() == api.HealthMaint, entries
	})
	must(agent.DisableServiceMaintenance(id))
	registration.Checks = registration.Checks[:1]
	must(agent.ServiceRegisterOpts(registration, api.ServiceRegisterOpts{ReplaceExistingChecks: true}.WithContext(context.Background())))
	until("only the check that was named is left", func() (bool, any) {
		seen := statuses(client, name)
		_, there := seen[id+":ttl"]
		return len(seen) == 1 && there, seen
	})
	must(agent.ServiceDeregister(id))
	until("the catalog forgets the instance", func() (bool, any) {
		rows, _, err := client.Catalog().Service(name, "", nil)
		must(err)
		return len(rows) == 0, rows
	})
	aggregated, info, err = agent.AgentHealthServiceByID(id)
	must(err)
	assert(aggregated == api.HealthCritical && info == nil, "what is not there is critical", aggregated, info)
}

func checkAgentNode(client *api.Client, prefix string) {
	agent := client.Agent()
	name, err := agent.NodeName()
	must(err)
	members, err := agent.Members(false)
	must(err)
	assert(len(members) > 0 && members[0].Tags["role"] == "consul", "a server is a member", members)
	version, err := agent.Version()
	must(err)
	assert(version["HumanVersion"] != nil, "the agent says its version", version)
	metrics, err := agent.Metrics()
	must(err)
	assert(len(metrics.Gauges) > 0, "there are gauges", metrics)
	must(agent.Reload())
	short := prefix + "-short"
	must(agent.CheckRegister(&api.AgentCheckRegistration{
		ID: short, Name: "short", AgentServiceCheck: api.AgentServiceCheck{TTL: "1s", Status: api.HealthPassing},
	}))
	onNode := func(id, status string) func() (bool, any) {
		return func() (bool, any) {
			checks, _, err := client.Health().Node(name, nil)
			must(err)
			for _, check := range checks {
				if check.CheckID == id {
					return check.Status == status, check
				}
			}
			return status == "", checks
		}
	}
	until("a TTL that nobody serves ends", onNode(short, "critical"))
	must(agent.CheckDeregister(short))
	until("the check is gone", onNode(short, ""))
	must(agent.EnableNodeMaintenance("for a test"))
	until("the node is in maintenance", onNode(api.NodeMaint, "critical"))
	must(agent.DisableNodeMaintenance())
	until("and no more", onNode(api.NodeMaint, ""))
	logs := make(chan struct{})
	lines, err := agent.Monitor("debug", logs, nil)
	must(err)
	must(agent.CheckRegister(&api.AgentCheckRegistration{Name: short, AgentServiceCheck: api.AgentServiceCheck{TTL: "30s"}}))
	select {
	case line := <-lines:
		assert(line != "", "the agent's log is streamed")
	case <-time.After(bound):
		assert(false, "the agent's log is streamed")
	}
	close(logs)
	must(agent.CheckDeregister(short))
}

func checkCatalogTransaction(client *api.Client, prefix string) {
	node := prefix + "-node-t"
	ok, response, _, err := client.Txn().Txn(api.TxnOps{
		{Node: &api.NodeTxnOp{Verb: api.NodeSet, Node: api.Node{Node: node, Address: "127.5.2.1"}}},
		{Service: &api.ServiceTxnOp{Verb: api.ServiceSet, Node: node, Service: api.AgentService{ID: node, Service: node}}},
		{Check: &api.CheckTxnOp{Verb: api.CheckSet, Check: api.HealthCheck{
			Node: node, CheckID: node, Name: "alive", Status: api.HealthPassing, ServiceID: node,
			Definition: api.HealthCheckDefinition{TCP: "127.5.2.1:1", IntervalDuration: 10 * time.Second},
		}}},
	}, nil)
	must(err)
	assert(ok && len(response.Results) == 3, "a transaction over the catalog is applied", response)
	checks, _, err := client.Health().Checks(node, nil)
	must(err)
	equal("a definition comes back", checks[0].Definition.IntervalDuration, 10*time.Second)
	ok, response, _, err = client.Txn().Txn(api.TxnOps{
		{Node: &api.NodeTxnOp{Verb: api.NodeDelete, Node: api.Node{Node: node}}},
		{Service: &api.ServiceTxnOp{Verb: api.ServiceGet, Node: node, Service: api.AgentService{ID: "missing"}}},
	}, nil)
	must(err)
	assert(!ok && len(response.Errors) == 1 && response.Errors[0].OpIndex == 1, "a transaction is rolled back", response)
	_, err = client.Catalog().Deregister(&api.CatalogDeregistration{Node: node}, nil)
	must(err)
	found, _, err := client.Catalog().Node(node, nil)
	must(err)
	assert(found == nil, "a node goes with all it has", found)
}

func catalog(address, prefix string) {
	client := connect(address, "catalog")
	checkCatalog(client, prefix)
	checkQueries(client, prefix)
	checkCatalogTransaction(client, prefix)
	checkPlans(client, address, prefix)
	say("ok")
}

func agent(address, prefix string) {
	client := connect(address, "agent")
	checkAgentService(client, address, prefix)
	checkAgentNode(client, prefix)
	say("ok")
}
