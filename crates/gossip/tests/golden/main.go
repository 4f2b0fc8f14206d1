// Prints what HashiCorp's own codec, Go's own LZW and Go's own AES-GCM make of the messages that crates/gossip speaks, one
// `name hex` a line. The output is committed beside it as golden.txt, so that the tests need no Go:
//
//	go run . > golden.txt
//
// The structs carry the field names that travel on the wire; nothing else of memberlist or Serf is here.
package main

import (
	"bytes"
	"compress/lzw"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net"
	"time"

	"github.com/hashicorp/go-msgpack/codec"
)

type ping struct {
	SeqNo      uint32
	Node       string
	SourceAddr []byte `codec:",omitempty"`
	SourcePort uint16 `codec:",omitempty"`
	SourceNode string `codec:",omitempty"`
}
type indirect struct {
	SeqNo      uint32
	Target     []byte
	Port       uint16
	Node       string
	Nack       bool
	SourceAddr []byte `codec:",omitempty"`
	SourcePort uint16 `codec:",omitempty"`
	SourceNode string `codec:",omitempty"`
}
type ack struct {
	SeqNo   uint32
	Payload []byte
}
type nack struct{ SeqNo uint32 }
type errResp struct{ Error string }
type suspect struct {
	Incarnation uint32
	Node        string
	From        string
}
type alive struct {
	Incarnation uint32
	Node        string
	Addr        []byte
	Port        uint16
	Meta        []byte
	Vsn         []uint8
}
type header struct {
	Nodes        int
	UserStateLen int
	Join         bool
}
type userHeader struct{ UserMsgLen int }
type nodeState struct {
	Name        string
	Addr        []byte
	Port        uint16
	Meta        []byte
	Incarnation uint32
	State       int
	Vsn         []uint8
}
type compress struct {
	Algo uint8
	Buf  []byte
}
type ltime uint64
type join struct {
	LTime ltime
	Node  string
}
type leave struct {
	LTime ltime
	Node  string
	Prune bool
}
type userEvent struct {
	Name    string
	Payload []byte
}
type userEvents struct {
	LTime  ltime
	Events []userEvent
}
type pushPull struct {
	LTime        ltime
	StatusLTimes map[string]ltime
	LeftMembers  []string
	EventLTime   ltime
	Events       []*userEvents
	QueryLTime   ltime
}
type event struct {
	LTime   ltime
	Name    string
	Payload []byte
	CC      bool
}
type query struct {
	LTime       ltime
	ID          uint32
	Addr        []byte
	Port        uint16
	SourceNode  string
	Filters     [][]byte
	Flags       uint32
	RelayFactor uint8
	Timeout     time.Duration
	Name        string
	Payload     []byte
}
type response struct {
	LTime   ltime
	ID      uint32
	From    string
	Flags   uint32
	Payload []byte
}
type relay struct {
	DestAddr net.UDPAddr
	DestName string
}
type filterTag struct{ Tag, Expr string }
type member struct {
	Name        string
	Addr        net.IP
	Port        uint16
	Tags        map[string]string
	Status      int
	ProtocolMin uint8
	ProtocolMax uint8
	ProtocolCur uint8
	DelegateMin uint8
	DelegateMax uint8
	DelegateCur uint8
}

func pack(prefix []byte, values ...interface{}) []byte {
	buf := bytes.NewBuffer(append([]byte{}, prefix...))
	for _, value := range values {
		if raw, ok := value.(rawBytes); ok {
			buf.Write(raw)
			continue
		}
		if err := codec.NewEncoder(buf, &codec.MsgpackHandle{}).Encode(value); err != nil {
			panic(err)
		}
	}
	return buf.Bytes()
}

type rawBytes []byte

func say(name string, data []byte) { fmt.Printf("%s %x\n", name, data) }

func shrink(data []byte) []byte {
	var buf bytes.Buffer
	w := lzw.NewWriter(&buf, lzw.LSB, 8)
	w.Write(data)
	w.Close()
	return buf.Bytes()
}

func seal(version byte, key, plain, aad []byte) []byte {
	block, _ := aes.NewCipher(key)
	gcm, _ := cipher.NewGCM(block)
	nonce := []byte("twelve bytes")
	if version == 0 {
		more := 16 - len(plain)%16
		plain = append(append([]byte{}, plain...), bytes.Repeat([]byte{byte(more)}, more)...)
	}
	out := append([]byte{version}, nonce...)
	return append(out, gcm.Seal(nil, nonce, plain, aad)...)
}

func main() {
	v4, v6 := []byte{127, 0, 0, 1}, []byte(net.ParseIP("2001:db8::1"))
	vsn := []uint8{1, 5, 2, 2, 5, 5}
	say("ping", pack([]byte{0}, ping{7, "b", v4, 8301, "a"}))
	say("ping-bare", pack([]byte{0}, ping{SeqNo: 4000000000, Node: "b"}))
	say("indirect", pack([]byte{1}, indirect{300, v4, 8301, "c", true, v6, 7946, "a"}))
	say("ack", pack([]byte{2}, ack{70000, []byte("payload")}))
	say("ack-empty", pack([]byte{2}, ack{128, nil}))
	say("suspect", pack([]byte{3}, suspect{2, "b", "a"}))
	say("alive", pack([]byte{4}, alive{65536, "node-one", v6, 8301, pack([]byte{255}, map[string]string{"role": "consul"}), vsn}))
	say("alive-empty", pack([]byte{4}, alive{Incarnation: 1, Node: "x", Addr: v4, Port: 1, Vsn: vsn}))
	say("dead", pack([]byte{5}, suspect{255, "b", "b"}))
	long := bytes.Repeat([]byte("n"), 300)
	say("push-pull", pack([]byte{6}, header{2, 3, true},
		nodeState{"a", v4, 8301, []byte{255, 128}, 1, 0, vsn},
		nodeState{string(long[:40]), v6, 8301, long, 200, 3, vsn}, rawBytes("xyz")))
	say("push-pull-big", pack([]byte{6}, header{200, 70000, false})[:])
	say("user", append([]byte{8}, pack([]byte{1}, join{9, "a"})...))
	say("user-stream", pack([]byte{8}, userHeader{5}, rawBytes("hello")))
	say("nack", pack([]byte{11}, nack{70000}))
	say("err", pack([]byte{13}, errResp{"no"}))

	text := bytes.Repeat([]byte("the quick brown fox "), 40)
	say("lzw", shrink(text))
	varied := make([]byte, 9000)
	for i := range varied {
		varied[i] = byte(i * i / 7)
	}
	say("lzw-long", shrink(varied))
	say("compress", pack([]byte{9}, compress{0, shrink(text)}))
	one, two := pack([]byte{0}, ping{SeqNo: 1, Node: "b"}), pack([]byte{3}, suspect{2, "b", "a"})
	compound := []byte{7, 2, 0, byte(len(one)), 0, byte(len(two))}
	compound = append(append(compound, one...), two...)
	say("compound", compound)
	crc := make([]byte, 5)
	crc[0] = 12
	binary.BigEndian.PutUint32(crc[1:], crc32.ChecksumIEEE(compound))
	say("crc", append(crc, compound...))
	for _, size := range []int{16, 24, 32} {
		key := bytes.Repeat([]byte{byte(size)}, size)
		say(fmt.Sprintf("packet-v1-%d", size), seal(1, key, compound, nil))
		say(fmt.Sprintf("packet-v0-%d", size), seal(0, key, compound, nil))
	}
	key := bytes.Repeat([]byte{16}, 16)
	framed := []byte{10, 0, 0, 0, byte(len(one) + 29)}
	say("stream-v1", append(framed, seal(1, key, one, framed)...))
	say("packet-label", append([]byte{244, 4, 't', 'e', 's', 't'}, seal(1, key, one, []byte("test"))...))

	say("serf-leave", pack([]byte{0}, leave{1 << 40, "b", true}))
	say("serf-join", pack([]byte{1}, join{1, "a"}))
	say("serf-push-pull", pack([]byte{2}, pushPull{300, map[string]ltime{"a": 5}, []string{"b"}, 9,
		[]*userEvents{nil, {8, []userEvent{{"deploy", []byte("1")}, {"deploy", nil}}}, nil}, 70000}))
	say("serf-push-pull-empty", pack([]byte{2}, pushPull{1, map[string]ltime{}, []string{}, 1, make([]*userEvents, 3), 1}))
	say("serf-event", pack([]byte{3}, event{4, "deploy", []byte("v1"), true}))
	nodes := pack([]byte{0}, []string{"a", "b"})
	tag := pack([]byte{1}, filterTag{"role", "^consul$"})
	say("filter-nodes", nodes)
	say("filter-tag", tag)
	say("serf-query", pack([]byte{4}, query{3, 2000000000, v4, 8301, "a", [][]byte{nodes, tag}, 1, 2, 15 * time.Second, "load", []byte("?")}))
	say("serf-query-bare", pack([]byte{4}, query{LTime: 3, ID: 1, Addr: v4, Port: 8301, SourceNode: "a", Name: "load"}))
	say("serf-response", pack([]byte{5}, response{3, 2000000000, "b", 0, []byte("0.5")}))
	say("serf-ack", pack([]byte{5}, response{LTime: 3, ID: 9, From: "b", Flags: 1}))
	resp := pack([]byte{5}, response{LTime: 3, ID: 9, From: "b", Flags: 1})
	say("serf-relay", pack([]byte{9}, relay{net.UDPAddr{IP: v4, Port: 8301}, "a"}, rawBytes(resp)))
	say("serf-conflict", pack([]byte{6}, member{"b", v4, 8301, map[string]string{"role": "x"}, 1, 1, 5, 2, 2, 5, 5}))
	say("serf-conflict-none", pack([]byte{6}, (*member)(nil)))
	say("tags", pack([]byte{255}, map[string]string{"role": "node"}))
	say("tags-long", pack([]byte{255}, map[string]string{"k": string(long)}))
}
