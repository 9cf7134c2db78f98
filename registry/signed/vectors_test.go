package signed

import (
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/keys"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/registry"
)

var update = flag.Bool("update", false, "make the test vectors anew")

const vectorsFile = "../../testdata/vectors/registry.json"

type registryVectors struct {
	Version string           `json:"version"`
	Comment string           `json:"comment"`
	Now     time.Time        `json:"now"`
	CA      string           `json:"ca"`
	CAKey   string           `json:"ca_key"`
	CRL     string           `json:"crl"`
	Vectors []registryVector `json:"vectors"`
}

type registryVector struct {
	Name         string            `json:"name"`
	After        []string          `json:"after,omitempty"`
	Registration *registry.Service `json:"registration"`
	Class        string            `json:"class"`
	Peer         string            `json:"peer,omitempty"`
	Sequence     uint64            `json:"sequence,omitempty"`
	Until        time.Time         `json:"until,omitzero"`
}

// vectorClasses are what may come of a registration, beside "ok" and "withdrawn".
var vectorClasses = []Reason{
	Limit, Unsigned, Malformed, NotYetValid, Expired, Untrusted, Revoked, Unauthorised, Replayed, Equivocation, Altered, Endpoints, Metadata,
}

func readVectors(t testing.TB) registryVectors {
	t.Helper()
	data, err := os.ReadFile(filepath.FromSlash(vectorsFile))
	if err != nil {
		t.Fatal(err)
	}
	var file registryVectors
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestRegistryVectors reads the vectors at the time that they are for: the clock of
// a bubble starts at the beginning of the year 2000.
func TestRegistryVectors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if *update {
			writeVectors(t)
			return
		}
		file := readVectors(t)
		time.Sleep(time.Until(file.Now))
		named := make(map[string]registryVector)
		for _, v := range file.Vectors {
			if _, twice := named[v.Name]; twice {
				t.Errorf("two vectors %q", v.Name)
			}
			named[v.Name] = v
		}
		seen := make(map[string]bool)
		for _, v := range file.Vectors {
			seen[v.Class] = true
			r := newVectorReader(t, file)
			for _, name := range v.After {
				r.read(t, named[name])
			}
			r.read(t, v)
			r.close(t)
		}
		for _, class := range vectorClasses {
			if !seen[string(class)] {
				t.Errorf("no vector of class %s", class)
			}
		}
		if !seen["ok"] || !seen["withdrawn"] {
			t.Error("no vector of class ok, or none of class withdrawn")
		}
	})
}

// vectorReader is a client of the trust domain of the vectors.
type vectorReader struct {
	*signedRegistry
	id         *identity.Identity
	inner      *oneService
	rejections []Rejection
}

func newVectorReader(t testing.TB, file registryVectors) *vectorReader {
	t.Helper()
	key, err := hex.DecodeString(file.CAKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, data := range map[string]string{
		keys.CAFile: file.CA, keys.CRLFile: file.CRL,
		keys.CAKeyFile: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a, err := identity.LoadAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	id, err := a.Issue("reader")
	if err != nil {
		t.Fatal(err)
	}
	r := &vectorReader{id: id, inner: new(oneService)}
	r.signedRegistry = NewRegistry(Wrap(r.inner), Identity(id),
		registry.Logger(logger.NewLogger(logger.WithLevel(logger.FatalLevel))),
		OnReject(func(j Rejection) { r.rejections = append(r.rejections, j) }),
	).(*signedRegistry)
	return r
}

func (r *vectorReader) close(t testing.TB) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := r.id.Close(); err != nil {
		t.Error(err)
	}
}

// read looks a registration up, and holds what comes of it against the vector.
func (r *vectorReader) read(t testing.TB, v registryVector) {
	t.Helper()
	if v.Registration == nil {
		t.Fatalf("no registration in vector %q", v.Name)
	}
	r.rejections, r.inner.service = nil, v.Registration
	answer, err := r.GetService(v.Registration.Name)
	if err != nil {
		t.Fatalf("%s: %v", v.Name, err)
	}
	if got := r.class(answer); got != v.Class {
		t.Errorf("%s: %s; want %s", v.Name, got, v.Class)
		return
	}
	peer := ""
	if len(r.rejections) == 1 {
		peer = r.rejections[0].Peer.ID
	}
	state, node := r.live.engine.state(v.Registration.Name, false), v.Registration.Nodes[0]
	var sequence uint64
	var until time.Time
	entry := state.lookup(&offer{service: v.Registration.Name, version: v.Registration.Version, node: node})
	switch {
	case entry != nil:
		peer, sequence, until = entry.signer(), entry.record.sequence, entry.until()
	case v.Class == "withdrawn":
		f, ok := state.floor(node.Id, v.Peer, time.Now())
		if ok && f.withdrawn {
			peer, sequence, until = v.Peer, f.sequence, f.until
		}
	}
	if peer != v.Peer || sequence != v.Sequence || !until.Equal(v.Until) {
		t.Errorf("%s: peer %q, sequence %d, until %v; want %q, %d, %v", v.Name, peer, sequence, until.UTC(), v.Peer, v.Sequence, v.Until)
	}
	if len(answer) == 1 {
		r.compare(t, v, answer[0])
	}
}

// class names what came of a registration of one node.
func (r *vectorReader) class(answer []*registry.Service) string {
	through := len(answer) == 1 && len(answer[0].Nodes) == 1
	switch {
	case len(r.rejections) > 1 || len(answer) > 1:
		return fmt.Sprintf("%d services, rejections %v", len(answer), r.rejections)
	case len(r.rejections) == 1 && r.rejections[0].Passed == through:
		return string(r.rejections[0].Reason)
	case len(r.rejections) == 1:
		return fmt.Sprintf("let through: %v, for %v", through, r.rejections[0].Err)
	case through:
		return "ok"
	case len(answer) == 0:
		return "withdrawn"
	}
	return fmt.Sprintf("services %v", answer)
}

// compare: what is let through is what was registered, but for the part at fault.
func (r *vectorReader) compare(t testing.TB, v registryVector, got *registry.Service) {
	t.Helper()
	want := copyService(v.Registration)
	want.Nodes = copyNodes(v.Registration.Nodes)
	switch v.Class {
	case string(Endpoints):
		want.Endpoints = nil
	case string(Metadata):
		want.Metadata = nil
	}
	if text(t, got) != text(t, want) {
		t.Errorf("%s: got %s\nwant %s", v.Name, text(t, got), text(t, want))
	}
}

func text(t testing.TB, s *registry.Service) string {
	t.Helper()
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// oneService is a registry that answers with what it was given, good or bad.
type oneService struct {
	registry.Registry
	service *registry.Service
}

func (o *oneService) GetService(string, ...registry.GetOption) ([]*registry.Service, error) {
	return []*registry.Service{o.service}, nil
}

func (o *oneService) String() string { return "fake" }

// TestRegistrySpec: the numbers on the page are those of the code.
func TestRegistrySpec(t *testing.T) {
	data, err := os.ReadFile("../../spec/registry.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	quoted := func(context string) string { return strings.TrimSuffix(context, "\x00") }
	for _, line := range []string{
		fmt.Sprintf("# Registrations: `signet/%s/v%d`", recordPurpose, recordVersion),
		fmt.Sprintf("64 × 0x20 ‖ \"signet/%s/v%d\" ‖ 0x00", recordPurpose, recordVersion),
		fmt.Sprintf("Version (8) = %d,", recordVersion),
		fmt.Sprintf("Endpoints Digest (%d),", 8*digestSize),
		fmt.Sprintf("Metadata Digest (%d),", 8*digestSize),
		fmt.Sprintf("X25519 Key (%d),", 8*boxKeySize),
		fmt.Sprintf("Form (%d),", 8*formSize),
		fmt.Sprintf("[Post-Quantum Key (%d)],", 8*pqKeySize),
		fmt.Sprintf("| form | %d: no post-quantum key follows; %d: one does;", formClassic, formPair),
		fmt.Sprintf("| withdrawn | 0x%02x |", flagWithdrawn),
		fmt.Sprintf("`%s`, `%s`, …", partKey(0), partKey(1)),
		fmt.Sprintf("| parts | 1 to %d |", partsMost),
		fmt.Sprintf("| part | %d characters, the last 1 to %d |", partSize, partSize),
		fmt.Sprintf("| record | %d bytes |", maxRecordSize),
		fmt.Sprintf("| number | 1 to %d bytes |", maxVarintSize),
		fmt.Sprintf("| issued | at most %d, the end of the year 9999 |", int64(maxRecordTime)),
		fmt.Sprintf("| lifetime | 1 to %d seconds (%d hours) |", int(longestValidity.Seconds()), int(longestValidity.Hours())),
		fmt.Sprintf("| box keys | 0 to %d |", maxRecordKeys),
		fmt.Sprintf("| signature | 1 to %d bytes |", maxRecordSig),
		fmt.Sprintf("| certificates | 1 to %d,", keys.MaxChain),
		fmt.Sprintf("| service name | 1 to %d bytes |", MaxName),
		fmt.Sprintf("| service version | %d bytes |", MaxName),
		fmt.Sprintf("| node ID | 1 to %d bytes |", MaxNodeID),
		fmt.Sprintf("| address | %d bytes |", MaxAddress),
		fmt.Sprintf("| node metadata without the record | %d entries, %d bytes of keys and values |", MaxMetadataKeys, MaxNodeMetadata),
		fmt.Sprintf("| service metadata, metadata of an endpoint | %d entries |", MaxMetadataKeys),
		fmt.Sprintf("| endpoints | %d |", MaxEndpoints),
		fmt.Sprintf("| values in one another | %d levels |", MaxValueDepth),
		fmt.Sprintf("| what a digest is made of | %d bytes |", MaxEndpointData),
		fmt.Sprintf("%q ‖ 0x00 ‖ Endpoints", quoted(endpointsContext)),
		fmt.Sprintf("%q ‖ 0x00 ‖ Pairs", quoted(metadataContext)),
		fmt.Sprintf("%d seconds ahead", int(clockSkew.Seconds())),
		fmt.Sprintf("%d minutes where", int(DefaultValidity.Minutes())),
		fmt.Sprintf("%d minutes elsewhere", int(DefaultRecreateValidity.Minutes())),
	} {
		if !strings.Contains(page, line) {
			t.Errorf("the page lacks %q", line)
		}
	}
	for _, class := range append([]Reason{"ok", "withdrawn"}, vectorClasses...) {
		if !strings.Contains(page, "| "+string(class)+" | ") {
			t.Errorf("the page lacks class %s", class)
		}
	}
}

// TestVectorClassesAreAll: a new reason needs a vector.
func TestVectorClassesAreAll(t *testing.T) {
	source, err := os.ReadFile("reject.go")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(string(source)) {
		if fields := strings.Fields(line); len(fields) > 3 && fields[1] == "Reason" && fields[2] == "=" {
			found = append(found, strings.Trim(fields[3], `"`))
		}
	}
	var want []string
	for _, class := range vectorClasses {
		want = append(want, string(class))
	}
	slices.Sort(found)
	slices.Sort(want)
	if !slices.Equal(found, want) {
		t.Errorf("reasons %q, vectors for %q", found, want)
	}
}
