module rollcall.dev/gossip-golden

go 1.22

require github.com/hashicorp/go-msgpack v0.5.3
