package caller_test

import (
	"encoding/base64"
	"os"
	"os/exec"
	"strings"
	"testing"
	"unicode"

	"github.com/go-signet/signet/internal/caller"
)

const (
	local  = "10.0.0.1:7000"
	remote = "10.0.0.2:51000"
)

var leaf = []byte("a leaf certificate in DER")

func TestReserved(t *testing.T) {
	for _, key := range []string{
		"Signet-Caller",
		"signet-caller",
		"SIGNET-CALLER",
		"sIGNET-cALLER",
		"Signet-Caller-Chain",
		"signet-callers",
		"\u017fignet-caller",       // long s, whose title case is S
		"\u017fIGNET-CALLER-extra", // the same with something behind it
		"S\u0131gnet-Caller",       // dotless i, whose upper case is I
		"S\u0130gnet-Caller",       // dotted I, whose lower case is i
	} {
		if !caller.Reserved(key) {
			t.Errorf("Reserved(%+q) is false", key)
		}
	}
	for _, key := range []string{
		"", "S", "Signet", "Signet-Calle", "Signet_Caller", "Signet-Topic", "Micro-Service",
		" Signet-Caller", "X-Signet-Caller", "Signet-\u017fcaller", "Signet-Calle\xff",
	} {
		if caller.Reserved(key) {
			t.Errorf("Reserved(%+q) is true", key)
		}
	}
}

// TestReservedCoversTitleCase: whatever go-micro's title-casing could turn into
// the header, in any position, is reserved.
func TestReservedCoversTitleCase(t *testing.T) {
	for r := rune(0x80); r <= unicode.MaxRune; r++ {
		title := unicode.ToTitle(r)
		if title >= 0x80 {
			continue
		}
		for i := range caller.Header {
			if !strings.EqualFold(string(title), caller.Header[i:i+1]) {
				continue
			}
			key := caller.Header[:i] + string(r) + caller.Header[i+1:]
			if !caller.Reserved(key) {
				t.Errorf("%+q is not reserved", key)
			}
		}
	}
}

func TestReservedAllocatesNothing(t *testing.T) {
	keys := []string{"Micro-Service", "signet-caller", "\u017fignet-caller"}
	if n := testing.AllocsPerRun(100, func() {
		for _, key := range keys {
			caller.Reserved(key)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestOpen(t *testing.T) {
	for _, home := range []bool{false, true} {
		seal := caller.Seal
		if home {
			seal = caller.SealHome
		}
		got, isHome, ok := caller.OpenHome(seal(leaf, local, remote), local, remote)
		if !ok || string(got) != string(leaf) || isHome != home {
			t.Errorf("home %v: got %q, %v, %v", home, got, isHome, ok)
		}
		if got, ok := caller.Open(seal(leaf, local, remote), local, remote); !ok || string(got) != string(leaf) {
			t.Errorf("home %v: Open gave %q, %v", home, got, ok)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	value := caller.Seal(leaf, local, remote)
	raw, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil {
		t.Fatal(err)
	}
	flip := func(i int) string {
		changed := append([]byte(nil), raw...)
		changed[i] ^= 1
		return base64.RawURLEncoding.EncodeToString(changed)
	}
	for name, c := range map[string]struct{ value, local, remote string }{
		"empty":                     {"", local, remote},
		"not base64":                {"!" + value[1:], local, remote},
		"tag changed":               {flip(0), local, remote},
		"made a peer of home":       {flip(32), local, remote},
		"leaf changed":              {flip(len(raw) - 1), local, remote},
		"cut":                       {value[:len(value)-4], local, remote},
		"longer":                    {value + "AAAA", local, remote},
		"a line break inside":       {value[:8] + "\n" + value[8:], local, remote},
		"tag only":                  {base64.RawURLEncoding.EncodeToString(raw[:33]), local, remote},
		"another local address":     {value, "10.0.0.1:7001", remote},
		"another remote address":    {value, local, "10.0.0.3:51000"},
		"addresses swapped":         {value, remote, local},
		"border of addresses":       {value, local + remote[:1], remote[1:]},
		"no addresses":              {value, "", ""},
		"far too long":              {strings.Repeat("A", 1<<20), local, remote},
		"sealed by another process": {sealElsewhere(t), local, remote},
	} {
		t.Run(name, func(t *testing.T) {
			if got, ok := caller.Open(c.value, c.local, c.remote); ok {
				t.Errorf("opened %d bytes", len(got))
			}
		})
	}
}

const elsewhere = "SIGNET_TEST_SEAL"

// sealElsewhere has a second process of this test seal the very same thing.
func sealElsewhere(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), elsewhere+"=1")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestMain(m *testing.M) {
	if os.Getenv(elsewhere) != "" {
		os.Stdout.WriteString(caller.Seal(leaf, local, remote))
		return
	}
	os.Exit(m.Run())
}

func FuzzOpen(f *testing.F) {
	f.Add(caller.Seal(leaf, local, remote), remote, local)
	f.Add("", local, remote)
	f.Fuzz(func(t *testing.T, value, l, r string) {
		got, home, ok := caller.OpenHome(value, l, r)
		if !ok {
			return
		}
		seal := caller.Seal
		if home {
			seal = caller.SealHome
		}
		if seal(got, l, r) != value {
			t.Error("accepted a value that Seal does not make")
		}
	})
}

func BenchmarkReserved(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		caller.Reserved("Micro-Service")
		caller.Reserved("Signet-Topic")
	}
}
