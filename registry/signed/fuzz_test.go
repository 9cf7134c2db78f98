package signed

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/registry"
)

// FuzzRecord: parsing does not panic, and what is accepted encodes to the very same
// bytes.
func FuzzRecord(f *testing.F) {
	f.Add(sampleRecord(nil).encode())
	f.Add(sampleRecord(func(r *record) { r.withdrawn, r.boxKeys = true, nil }).encode())
	f.Add(sampleRecord(func(r *record) { r.boxKeys[0].pq = make([]byte, pqKeySize) }).encode())
	for _, v := range readVectors(f).Vectors {
		if parts, err := join(v.Registration.Nodes[0].Metadata); err == nil {
			if data, err := unpack(parts); err == nil {
				f.Add(data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseRecord(data)
		if err != nil {
			return
		}
		if !bytes.Equal(r.encode(), data) || !bytes.Equal(r.encodeHeader(), r.header) {
			t.Error("an accepted record encodes otherwise")
		}
		if !r.issuedAt().Before(r.expiresAt()) {
			t.Errorf("from %v to %v", r.issuedAt(), r.expiresAt())
		}
	})
}

// FuzzJoin: metadata that somebody has changed an entry of carries a record in the
// one way there is, or none.
func FuzzJoin(f *testing.F) {
	f.Add([]byte("record"), "signet-0", "AAAA")
	f.Add(bytes.Repeat([]byte{0xff}, 376), "signet-1", "__8")
	f.Add(bytes.Repeat([]byte{0xff}, 376), "signet-2", "")
	f.Add(make([]byte, maxRecordSize), "signet-32", "AA==")
	f.Add([]byte{}, "signet-00", "\n")
	f.Fuzz(func(t *testing.T, record []byte, key, value string) {
		node := &registry.Node{Metadata: map[string]string{"region": "north"}}
		if parts, err := split(record); err == nil {
			carry(node, parts)
		}
		node.Metadata[key] = value
		parts, err := join(node.Metadata)
		if parts == nil || err != nil {
			return
		}
		data, err := unpack(parts)
		if err != nil {
			return
		}
		again, err := split(data)
		if err != nil {
			t.Fatal(err)
		}
		anew := &registry.Node{Metadata: maps.Clone(node.Metadata)}
		carry(anew, again)
		if !maps.Equal(anew.Metadata, node.Metadata) {
			t.Errorf("%q is carried otherwise: %q", node.Metadata, anew.Metadata)
		}
	})
}

// answers is a registry that says whatever it is told to.
type answers struct {
	registry.Registry
	services []*registry.Service
}

func (a *answers) GetService(string, ...registry.GetOption) ([]*registry.Service, error) {
	return a.services, nil
}

func (a *answers) String() string { return "fake" }

// FuzzService: of whatever a registry says, nothing comes out but the one node that
// was ever signed, as it was signed.
func FuzzService(f *testing.F) {
	a, err := identity.NewAuthority("shop.internal")
	if err != nil {
		f.Fatal(err)
	}
	maker := &vectorMaker{t: f, now: time.Now(), authority: a}
	good, _ := maker.registration(maker.issue(a, "greeter"), func(m *making) { m.record.lifetime = 86400 })
	// Each process that fuzzes has keys of its own, so inputs have stand-ins for the
	// parts of the record.
	parts, err := join(good.Nodes[0].Metadata)
	if err != nil {
		f.Fatal(err)
	}
	var toParts, toStandIns []string
	for i, part := range parts {
		standIn := fmt.Sprintf("@%d", i)
		toParts, toStandIns = append(toParts, standIn, part), append(toStandIns, part, standIn)
	}
	filled, emptied := strings.NewReplacer(toParts...), strings.NewReplacer(toStandIns...)
	seed := func(services ...*registry.Service) {
		data, err := json.Marshal(services)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(emptied.Replace(string(data)))
	}
	seed(good)
	seed(good, nil, good)
	for _, v := range readVectors(f).Vectors {
		seed(good, v.Registration)
	}
	f.Add(`[null,{"name":"greeter","nodes":[null,{}],"endpoints":[null,{"request":{"values":[null]}}]}]`)

	inner := new(answers)
	r := NewRegistry(Wrap(inner), Identity(maker.issue(a, "reader")), registry.Logger(logger.NewLogger(logger.WithLevel(logger.FatalLevel)))).(*signedRegistry)
	f.Cleanup(func() {
		if err := r.Close(); err != nil {
			f.Error(err)
		}
	})
	inner.services = []*registry.Service{good}
	if answer, err := r.GetService(good.Name); err != nil || len(answer) != 1 || !asSigned(f, answer[0], good) {
		f.Fatalf("the one that was signed: %v, %v", answer, err)
	}
	f.Fuzz(func(t *testing.T, data string) {
		inner.services = nil
		if json.Unmarshal([]byte(filled.Replace(data)), &inner.services) != nil {
			return
		}
		answer, err := r.GetService(good.Name)
		if err != nil || answer == nil || len(answer) > 1 {
			t.Fatalf("%v, %v", answer, err)
		}
		for _, s := range answer {
			if !asSigned(t, s, good) {
				t.Errorf("let through: %s", text(t, s))
			}
		}
	})
}

// asSigned reports whether s is good, with one node, but for endpoints and metadata
// that may be missing, and other spellings of the address.
func asSigned(t testing.TB, s, good *registry.Service) bool {
	t.Helper()
	if len(s.Nodes) != 1 || s.Nodes[0] == nil || !maps.Equal(s.Nodes[0].Metadata, good.Nodes[0].Metadata) {
		return false
	}
	said, err := subject("", s.Name, s.Version, s.Nodes[0])
	want, errWant := subject("", good.Name, good.Version, good.Nodes[0])
	if err != nil || errWant != nil || !bytes.Equal(said, want) {
		return false
	}
	endpoints, err := endpointsDigest(s.Endpoints)
	wantEndpoints, _ := endpointsDigest(good.Endpoints)
	if len(s.Endpoints) > 0 && (err != nil || endpoints != wantEndpoints) {
		return false
	}
	return len(s.Metadata) == 0 || maps.Equal(s.Metadata, good.Metadata)
}
