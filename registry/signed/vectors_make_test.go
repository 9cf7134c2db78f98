package signed

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/keys"
	"go-micro.dev/v4/registry"
)

// vectorMaker makes the vectors anew, with new keys.
type vectorMaker struct {
	t         testing.TB
	now       time.Time
	authority *identity.Authority
	caKey     any
	file      registryVectors
}

// making is one registration while it is made: its record, who signs it, what is
// signed, and what the registry then says.
type making struct {
	record  record
	signer  *identity.Identity
	as      string // the signer's ID in the subject
	purpose string
	service *registry.Service
	sign    func(header, subject []byte) []byte // in place of the signer's key
	tamper  func(*registry.Service)             // after it was signed
	raw     func(record []byte) []byte          // in place of the record
}

// ownKey is a copy of what an identity states.
func ownKey(id *identity.Identity) recordKey {
	own := id.SealKeys()[0].Public()
	return recordKey{own.X25519.Bytes(), own.PQ}
}

// pair states the signer's post-quantum key too.
func pair(m *making) { m.record.boxKeys = []recordKey{ownKey(m.signer)} }

func (m *making) node() *registry.Node { return m.service.Nodes[0] }

func (w *vectorMaker) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *vectorMaker) issue(a *identity.Authority, service string, opts ...identity.IssueOption) *identity.Identity {
	w.t.Helper()
	id, err := a.Issue(service, opts...)
	w.must(err)
	w.t.Cleanup(func() { _ = id.Close() })
	return id
}

// registration makes one of a node of greeter, as signer's.
func (w *vectorMaker) registration(signer *identity.Identity, modify func(*making)) (*registry.Service, record) {
	w.t.Helper()
	m := &making{
		signer: signer, as: signer.ID(), purpose: recordPurpose,
		record: record{issued: w.now.Unix(), lifetime: 600, sequence: uint64(w.now.UnixMicro())},
		service: &registry.Service{
			Name: "greeter", Version: "1.2.3",
			Metadata: map[string]string{"team": "front", "ä": ""},
			Endpoints: []*registry.Endpoint{{
				Name:     "Greeter.Hello",
				Request:  &registry.Value{Name: "HelloRequest", Type: "HelloRequest", Values: []*registry.Value{{Name: "name", Type: "string"}}},
				Response: &registry.Value{Name: "HelloResponse", Type: "HelloResponse"},
				Metadata: map[string]string{"stream": "false"},
			}},
			Nodes: []*registry.Node{{Id: "greeter-1", Address: "10.0.0.1:8080", Metadata: map[string]string{"protocol": "mucp", "region": "north"}}},
		},
	}
	cert, err := signer.TLSCertificate()
	w.must(err)
	m.record.certs = cert.Certificate
	m.record.boxKeys = []recordKey{{x25519: ownKey(signer).x25519}}
	if modify != nil {
		modify(m)
	}
	r := &m.record
	r.endpoints, err = endpointsDigest(m.service.Endpoints)
	w.must(err)
	r.metadata, err = metadataDigest(m.service.Metadata)
	w.must(err)
	said, err := subject(m.as, m.service.Name, m.service.Version, m.node())
	w.must(err)
	r.header = r.encodeHeader()
	if m.sign != nil {
		r.signature = m.sign(r.header, said)
	} else {
		r.signature, err = m.signer.Sign(m.purpose, r.header, said)
		w.must(err)
	}
	data := r.encode()
	if m.raw != nil {
		data = m.raw(data)
	}
	parts, err := split(data)
	w.must(err)
	carry(m.node(), parts)
	if m.tamper != nil {
		m.tamper(m.service)
	}
	return m.service, *r
}

// add makes a vector. class may be followed by the names of those to be read before.
func (w *vectorMaker) add(name, class string, signer *identity.Identity, modify func(*making), after ...string) {
	w.t.Helper()
	service, r := w.registration(signer, modify)
	v := registryVector{Name: name, After: after, Registration: service, Class: class}
	switch class {
	case "ok", "withdrawn", string(Endpoints), string(Metadata):
		v.Sequence, v.Until = r.sequence, r.expiresAt().UTC()
		leaf, err := x509.ParseCertificate(r.certs[0])
		w.must(err)
		if class != "withdrawn" && leaf.NotAfter.Before(v.Until) {
			v.Until = leaf.NotAfter.UTC()
		}
		v.Peer = signer.ID()
	case string(Unauthorised), string(Replayed), string(Equivocation), string(Altered):
		v.Peer = signer.ID()
	}
	w.file.Vectors = append(w.file.Vectors, v)
}

// leaf makes a leaf like another one, but for what is modified.
func (w *vectorMaker) leaf(like []byte, modify func(*x509.Certificate)) [][]byte {
	w.t.Helper()
	template, err := x509.ParseCertificate(like)
	w.must(err)
	template.SerialNumber, template.SignatureAlgorithm = big.NewInt(int64(len(w.file.Vectors)+1)), 0
	modify(template)
	leaf, err := x509.CreateCertificate(rand.Reader, template, w.authority.Certificate(), template.PublicKey, w.caKey)
	w.must(err)
	return [][]byte{leaf}
}

// rsaSigner makes a leaf of greeter with an RSA key, and signs as spec/registry.md
// says, without the code that other vectors are signed with.
func (w *vectorMaker) rsaSigner() func(*making) {
	w.t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	w.must(err)
	return func(m *making) {
		m.record.certs = w.leaf(m.record.certs[0], func(leaf *x509.Certificate) { leaf.PublicKey = &key.PublicKey })
		m.sign = func(header, subject []byte) []byte {
			message := []byte(strings.Repeat(" ", 64) + "signet/registry-record/v1\x00")
			for _, field := range [][]byte{header, subject} {
				message = append(binary.BigEndian.AppendUint64(message, uint64(len(field))), field...)
			}
			sum := sha256.Sum256(message)
			sig, err := rsa.SignPSS(rand.Reader, key, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: 32})
			w.must(err)
			return sig
		}
	}
}

// writeVectors makes the authority, the signers and the file.
func writeVectors(t testing.TB) {
	t.Helper()
	w := &vectorMaker{t: t}
	a, err := identity.NewAuthority("shop.internal")
	w.must(err)
	w.authority = a
	dir := t.TempDir()
	w.must(a.Save(dir))
	revoked := w.issue(a, "greeter", identity.ValidFor(365*24*time.Hour))
	w.must(a.Revoke(revoked))
	soon := w.issue(a, "greeter", identity.ValidFor(24*time.Hour+5*time.Minute))
	time.Sleep(24 * time.Hour)
	w.now = time.Now()
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, name))
		w.must(err)
		return data
	}
	block, _ := pem.Decode(read(keys.CAKeyFile))
	w.caKey, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	w.must(err)
	w.file = registryVectors{
		Version: "signet/registry-record/v1",
		Comment: "spec/registry.md; ca_key is PKCS #8 in hexadecimal, for the reader's own certificate",
		Now:     w.now.UTC(), CA: string(read(keys.CAFile)), CAKey: hex.EncodeToString(block.Bytes), CRL: string(read(keys.CRLFile)),
	}
	greeter := w.issue(a, "greeter", identity.ValidFor(365*24*time.Hour))
	w.addGood(greeter, w.issue(a, "greeter", identity.Ed25519()), soon)
	w.addMalformed(greeter)
	w.addUntrusted(greeter, revoked)
	w.addHistory(greeter)
	w.addAltered(greeter)

	out, err := json.MarshalIndent(w.file, "", " ")
	w.must(err)
	w.must(os.WriteFile(filepath.FromSlash(vectorsFile), append(out, '\n'), 0o644))
}

func (w *vectorMaker) addGood(greeter, modern, soon *identity.Identity) {
	ok := func(name string, modify func(*making)) { w.add(name, "ok", greeter, modify) }
	ok("P-256", nil)
	w.add("Ed25519", "ok", modern, nil)
	ok("RSA", w.rsaSigner())
	w.add("leaf ends before the record", "ok", soon, nil)
	ok("as long as may be", func(m *making) { m.record.lifetime = 86400 })
	ok("issued a minute ahead", func(m *making) {
		m.record.issued, m.record.sequence = m.record.issued+60, m.record.sequence+60e6
	})
	ok("in its last second", func(m *making) { m.record.issued -= 599 })
	ok("no box keys", func(m *making) { m.record.boxKeys = nil })
	ok("a post-quantum box key", pair)
	ok("two post-quantum box keys for one X25519 key, and one without", func(m *making) {
		pair(m)
		other := ownKey(w.issue(w.authority, "greeter"))
		m.record.boxKeys = append(m.record.boxKeys, recordKey{m.record.boxKeys[0].x25519, other.pq}, recordKey{x25519: other.x25519})
	})
	ok("four box keys", func(m *making) {
		for len(m.record.boxKeys) < maxRecordKeys {
			key, err := keys.NewBoxKey()
			w.must(err)
			m.record.boxKeys = append(m.record.boxKeys, recordKey{x25519: key.PublicKey().Bytes()})
		}
	})
	ok("the least", func(m *making) {
		m.service.Version, m.service.Endpoints, m.service.Metadata = "", nil, nil
		*m.node() = registry.Node{Id: "1"}
	})
	ok("full ID as name", func(m *making) { m.service.Name = m.signer.ID() })
	ok("address in another spelling", func(m *making) {
		m.node().Address = "greeter.shop.internal:8080"
		m.tamper = func(s *registry.Service) { s.Nodes[0].Address = "Greeter.Shop.Internal.:08080" }
	})
	ok("address that is no host and port", func(m *making) { m.node().Address = "/run/greeter.sock" })
	ok("nothing in place of empty values", func(m *making) {
		m.service.Endpoints[0].Response = new(registry.Value)
		m.service.Endpoints[0].Metadata = nil
		m.tamper = func(s *registry.Service) {
			s.Endpoints[0].Response, s.Endpoints[0].Metadata = nil, map[string]string{}
		}
	})
	ok("endpoints and metadata left out", func(m *making) {
		m.tamper = func(s *registry.Service) { s.Endpoints, s.Metadata = nil, nil }
	})
	w.add("withdrawn", "withdrawn", greeter, func(m *making) { m.record.withdrawn = true })
	w.add("other endpoints", string(Endpoints), greeter, func(m *making) {
		m.tamper = func(s *registry.Service) { s.Endpoints[0].Name = "Greeter.Bye" }
	})
	w.add("other service metadata", string(Metadata), greeter, func(m *making) {
		m.tamper = func(s *registry.Service) { s.Metadata["team"] = "back" }
	})
	w.add("no record", string(Unsigned), greeter, func(m *making) {
		m.tamper = func(s *registry.Service) {
			maps.DeleteFunc(s.Nodes[0].Metadata, func(k, _ string) bool { return reserved(k) })
		}
	})
}

func (w *vectorMaker) addMalformed(greeter *identity.Identity) {
	bad := func(name string, modify func(*making)) { w.add(name, string(Malformed), greeter, modify) }
	raw := func(name string, change func([]byte) []byte) {
		bad(name, func(m *making) { m.raw = change })
	}
	node := func(name string, change func(*registry.Node)) {
		bad(name, func(m *making) { m.tamper = func(s *registry.Service) { change(s.Nodes[0]) } })
	}
	raw("another version", func(r []byte) []byte { r[0] = 2; return r })
	raw("unknown flag", func(r []byte) []byte { r[1] = 2; return r })
	raw("number not in its shortest form", func(r []byte) []byte { r[6] |= 0x80; return slices.Insert(r, 7, 0) })
	raw("truncated", func(r []byte) []byte { return r[:len(r)-1] })
	raw("a byte too many", func(r []byte) []byte { return append(r, 0) })
	bad("no life", func(m *making) { m.record.lifetime = 0 })
	bad("too long a life", func(m *making) { m.record.lifetime = 86401 })
	bad("issued after the year 9999", func(m *making) { m.record.issued = maxRecordTime + 1 })
	bad("five box keys", func(m *making) { m.record.boxKeys = slices.Repeat(m.record.boxKeys, 5) })
	badKey := func(name string, modify func(*making)) {
		bad(name, modify)
		w.file.Vectors[len(w.file.Vectors)-1].Peer = greeter.ID() // keys are looked at after the signature
	}
	badKey("box key of low order", func(m *making) { m.record.boxKeys = []recordKey{{x25519: make([]byte, boxKeySize)}} })
	badKey("post-quantum box key that is not reduced", func(m *making) {
		pair(m)
		copy(m.record.boxKeys[0].pq, []byte{0xff, 0xff, 0xff}) // 12 bits a coefficient: the modulus is 3329
	})
	badKey("post-quantum box key with an X25519 half of low order", func(m *making) {
		pair(m)
		clear(m.record.boxKeys[0].pq[pqKeySize-boxKeySize:])
	})
	bad("post-quantum box key a byte short", func(m *making) {
		pair(m)
		m.record.boxKeys[0].pq = m.record.boxKeys[0].pq[1:]
	})
	bad("unknown form of box key", func(m *making) { m.raw = func(r []byte) []byte { r[17+2*digestSize+1+boxKeySize] = 2; return r } })
	bad("no signature", func(m *making) { m.sign = func(_, _ []byte) []byte { return nil } })
	bad("no certificates", func(m *making) { m.record.certs = nil })
	bad("nine certificates", func(m *making) { m.record.certs = slices.Repeat(m.record.certs, 9) })
	bad("not a certificate", func(m *making) { m.record.certs = [][]byte{[]byte("hello")} })
	node("first part missing", func(n *registry.Node) { delete(n.Metadata, "signet-0") })
	node("another key of ours", func(n *registry.Node) { n.Metadata["signet-key"] = "AAAA" })
	node("parts cut elsewhere", func(n *registry.Node) {
		first := n.Metadata["signet-0"]
		n.Metadata["signet-0"], n.Metadata["signet-1"] = first[:499], first[499:]+n.Metadata["signet-1"]
	})
	node("line break", func(n *registry.Node) { n.Metadata["signet-1"] += "\n" })
	node("padding", func(n *registry.Node) { n.Metadata["signet-1"] += "=" })
	node("no node id", func(n *registry.Node) { n.Id = "" })
}

func (w *vectorMaker) addUntrusted(greeter, revoked *identity.Identity) {
	w.add("node id of 256 bytes", string(Limit), greeter, func(m *making) {
		m.tamper = func(s *registry.Service) { s.Nodes[0].Id = strings.Repeat("i", MaxNodeID+1) }
	})
	w.add("issued more than a minute ahead", string(NotYetValid), greeter, func(m *making) { m.record.issued += 61 })
	w.add("sequence more than a minute ahead", string(NotYetValid), greeter, func(m *making) { m.record.sequence += 60e6 + 1 })
	w.add("ended", string(Expired), greeter, func(m *making) { m.record.issued -= 600 })
	w.add("leaf ended", string(Expired), greeter, func(m *making) {
		m.record.certs = w.leaf(m.record.certs[0], func(leaf *x509.Certificate) { leaf.NotAfter = w.now.Add(-time.Hour) })
	})
	other, err := identity.NewAuthority("shop.internal")
	w.must(err)
	w.add("CA of the same name", string(Untrusted), w.issue(other, "greeter"), nil)
	foreign, err := identity.NewAuthority("other.org")
	w.must(err)
	w.add("another trust domain", string(Untrusted), w.issue(foreign, "greeter"), nil)
	w.add("the CA's certificate first", string(Untrusted), greeter, func(m *making) {
		m.record.certs = [][]byte{w.authority.Certificate().Raw, m.record.certs[0]}
	})
	w.add("revoked", string(Revoked), revoked, nil)
	w.add("another service", string(Unauthorised), w.issue(w.authority, "billing"), nil)
}

func (w *vectorMaker) addHistory(greeter *identity.Identity) {
	now := uint64(w.now.UnixMicro())
	w.add("newer", "ok", greeter, func(m *making) { m.record.sequence = now + 1 }, "P-256")
	w.add("older than the newer", string(Replayed), greeter, func(m *making) { m.record.sequence = now }, "newer")
	w.add("as old as the withdrawal", string(Replayed), greeter, nil, "withdrawn")
	w.add("older than the withdrawal", string(Replayed), greeter, func(m *making) { m.record.sequence = now - 1 }, "withdrawn")
	w.add("registered after the withdrawal", "ok", greeter, func(m *making) { m.record.sequence = now + 1 }, "withdrawn")
	w.add("withdrawn later", "withdrawn", greeter, func(m *making) { m.record.withdrawn, m.record.sequence = true, now+2 }, "newer")
	w.add("two statements of one sequence", string(Equivocation), greeter, func(m *making) { m.node().Address = "10.0.0.2:8080" }, "P-256")
	w.add("another signature of the same statement", "ok", greeter, nil, "P-256")
	w.add("another certificate for the same key and ID", "ok", greeter, func(m *making) {
		m.record.certs = w.leaf(m.record.certs[0], func(*x509.Certificate) {})
	}, "P-256")
	w.add("withdrawn twice", "withdrawn", greeter, func(m *making) { m.record.withdrawn = true }, "withdrawn")
	w.add("older for another node", "ok", greeter, func(m *making) {
		m.record.sequence, m.node().Id = now-1, "greeter-2"
	}, "newer")
}

func (w *vectorMaker) addAltered(greeter *identity.Identity) {
	alias := w.issue(w.authority, "greeter", identity.DNSNames("hello"))
	bad := func(name string, modify func(*making)) { w.add(name, string(Altered), alias, modify) }
	said := func(name string, change func(*registry.Service)) {
		bad(name, func(m *making) { m.tamper = change })
	}
	raw := func(name string, change func([]byte) []byte) {
		bad(name, func(m *making) { m.raw = change })
	}
	said("name changed to another of the signer's", func(s *registry.Service) { s.Name = "hello" })
	said("version changed", func(s *registry.Service) { s.Version = "1.2.4" })
	said("node id changed", func(s *registry.Service) { s.Nodes[0].Id = "greeter-2" })
	said("address changed", func(s *registry.Service) { s.Nodes[0].Address = "10.0.0.2:8080" })
	said("node metadata changed", func(s *registry.Service) { s.Nodes[0].Metadata["region"] = "south" })
	said("node metadata added", func(s *registry.Service) { s.Nodes[0].Metadata["a"] = "" })
	said("node metadata removed", func(s *registry.Service) { delete(s.Nodes[0].Metadata, "region") })
	said("node metadata under another key", func(s *registry.Service) {
		delete(s.Nodes[0].Metadata, "region")
		s.Nodes[0].Metadata["regio"] = "nnorth"
	})
	raw("made a withdrawal", func(r []byte) []byte { r[1] = flagWithdrawn; return r })
	raw("lifetime changed", func(r []byte) []byte { r[7]++; return r })
	raw("sequence changed", func(r []byte) []byte { r[9]++; return r })
	raw("digest of endpoints changed", func(r []byte) []byte { r[17] ^= 1; return r })
	raw("digest of service metadata changed", func(r []byte) []byte { r[17+digestSize] ^= 1; return r })
	raw("box key changed", func(r []byte) []byte { r[17+2*digestSize+1] ^= 1; return r })
	bad("post-quantum box key of another", func(m *making) {
		pair(m)
		m.raw = func(r []byte) []byte {
			copy(r[17+2*digestSize+1+boxKeySize+formSize:], ownKey(greeter).pq)
			return r
		}
	})
	bad("signature changed", func(m *making) {
		m.sign = func(header, subject []byte) []byte {
			sig, err := m.signer.Sign(m.purpose, header, subject)
			w.must(err)
			sig = bytes.Clone(sig)
			sig[len(sig)-1] ^= 1
			return sig
		}
	})
	bad("signed by another", func(m *making) { m.signer = greeter })
	bad("signed for another purpose", func(m *making) { m.purpose = "card" })
	bad("signed with another's ID", func(m *making) { m.as = "spiffe://shop.internal/billing" })
}
