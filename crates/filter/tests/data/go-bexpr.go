// Asks go-bexpr v0.1.2, the version in Consul 1.20.1, about the texts on standard input (one JSON string a line) and about
// so many random ones, and prints what tests/go_bexpr.rs reads:
//   go mod init x && go get github.com/hashicorp/go-bexpr@v0.1.2 && go build -o bex . && ./bex 600 < texts > go-bexpr.jsonl
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"strings"

	bexpr "github.com/hashicorp/go-bexpr"
)

type Address struct {
	Address string
	Port    int
}
type Check struct {
	CheckID string
	Status  string
	Tags    []string
}
type Row struct {
	Name    string
	Port    int
	On      bool
	Tags    []string
	Meta    map[string]string
	Weights struct{ Passing int }
	Checks  []*Check
	Tagged  map[string]Address
}

func rows() []*Row {
	a := &Row{Name: "web", Port: 80, On: true, Tags: []string{"v1", "prod"}, Meta: map[string]string{"rack": "r1", "a b": "x"}}
	a.Weights.Passing = 10
	a.Checks = []*Check{{CheckID: "c1", Status: "passing"}, {CheckID: "c2", Status: "critical", Tags: []string{"t"}}}
	a.Tagged = map[string]Address{"wan": {"1.2.3.4", 443}}
	b := &Row{Name: "", Port: -1}
	return []*Row{a, b}
}

type Case struct {
	Text  string  `json:"text"`
	Error string  `json:"error,omitempty"`
	Rows  []bool `json:"rows,omitempty"`
}

func run(text string) (c Case) {
	c.Text = text
	defer func() {
		if r := recover(); r != nil {
			c.Error = fmt.Sprintf("PANIC %v", r)
		}
	}()
	ev, err := bexpr.CreateEvaluatorForType(text, nil, (*Row)(nil))
	if err != nil {
		c.Error = err.Error()
		return
	}
	for _, r := range rows() {
		ok, err := ev.Evaluate(r)
		if err != nil {
			c.Error = "EVAL " + err.Error()
			return
		}
		c.Rows = append(c.Rows, ok)
	}
	return
}

func main() {
	n := 0
	fmt.Sscan(os.Args[1], &n)
	rnd := rand.New(rand.NewSource(int64(n)))
	w := bufio.NewWriter(os.Stdout)
	defer w.Flush()
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	sc := bufio.NewScanner(os.Stdin)
	sc.Buffer(make([]byte, 1<<20), 1<<20)
	for sc.Scan() {
		var t string
		if json.Unmarshal(sc.Bytes(), &t) == nil {
			enc.Encode(run(t))
		}
	}
	toks := []string{"Name", "Port", "On", "Tags", "Meta", "Meta.rack", "Meta[\"a b\"]", "Meta.none", "Weights", "Weights.Passing", "Checks", "Checks.Status", "Checks.Tags", "Tagged.wan.Port", "Tagged", "Tagged.lan.Address", "Bogus", "Name.x",
		"==", "!=", " in ", " not in ", " not ", " and ", " or ", "(", ")", " is empty", " is not empty", " contains ", " matches ", " not matches ", "web", "\"web\"", "`w.b`", "80", "-1", "0x50", "true", "1", "\"\"", "v1", "passing", "rack", "443", "\"", "`", "[", "]", ".", " ", "\n", "é", "\\", "not", "3x", "1.5", "wan"}
	sel := toks[:18]
	ops := []string{" == ", "!=", " contains ", " not contains ", " matches ", " not matches ", " is empty", " is not empty"}
	vals := []string{"web", "\"web\"", "`w.b`", "80", "-1", "0x50", "true", "1", "\"\"", "v1", "passing", "rack", "443", "wan", "`(`", "\"\\d\"", "t", "c1"}
	pick := func(l []string) string { return l[rnd.Intn(len(l))] }
	match := func() string {
		switch rnd.Intn(4) {
		case 0:
			return pick(vals) + pick([]string{" in ", " not in "}) + pick(sel)
		default:
			o := pick(ops)
			if strings.HasSuffix(o, "y") {
				return pick(sel) + o
			}
			return pick(sel) + o + pick(vals)
		}
	}
	seen := map[string]bool{}
	for i := 0; i < n; i++ {
		var t string
		switch i % 3 {
		case 0:
			t = match()
		case 1:
			k := rnd.Intn(4)
			t = match()
			for j := 0; j < k; j++ {
				switch rnd.Intn(5) {
				case 0:
					t = "(" + t + ")"
				case 1:
					t = "not " + t
				case 2:
					t = t + " and " + match()
				case 3:
					t = match() + " or " + t
				default:
					if len(t) > 0 {
						p := rnd.Intn(len(t))
						t = t[:p] + t[p+1:]
					}
				}
			}
		default:
			k := rnd.Intn(8)
			for j := 0; j < k; j++ {
				t += pick(toks)
			}
		}
		if seen[t] {
			continue
		}
		seen[t] = true
		enc.Encode(run(t))
	}
}
