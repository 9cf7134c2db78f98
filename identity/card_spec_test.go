package identity

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-signet/signet/internal/keys"
)

// TestCardSpec: the numbers on the page are those of the code.
func TestCardSpec(t *testing.T) {
	data, err := os.ReadFile("../spec/card.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	for _, line := range []string{
		fmt.Sprintf("# Cards: `%s%s%s`", signPrefix, cardPurpose, signSuffix),
		fmt.Sprintf("Magic (%d) = %q", 8*len(cardMagic), cardMagic),
		fmt.Sprintf("Version (8) = %d", cardVersion),
		fmt.Sprintf("Statement Length (%d)", 8*cardLengthSize),
		fmt.Sprintf("ID Length (%d)", 8*cardLengthSize),
		fmt.Sprintf("Certificate Count (%d)", 8*cardCountSize),
		fmt.Sprintf("Key Count (%d)", 8*cardCountSize),
		fmt.Sprintf("Signature Length (%d)", 8*cardLengthSize),
		fmt.Sprintf("Issued (%d)", 8*cardTimeSize),
		fmt.Sprintf("Expires (%d)", 8*cardTimeSize),
		fmt.Sprintf("X25519 Key (%d)", 8*boxKeySize),
		fmt.Sprintf("Form (%d)", 8*cardFormSize),
		fmt.Sprintf("[Post-Quantum Key (%d)]", 8*PQKeySize),
		fmt.Sprintf("| magic | %d | `%s` |", len(cardMagic), cardMagic),
		fmt.Sprintf("| version | %d | %d;", cardHeaderSize-len(cardMagic), cardVersion),
		fmt.Sprintf("| each length | %d |", cardLengthSize),
		fmt.Sprintf("| each count | %d |", cardCountSize),
		fmt.Sprintf("| issued, expires | %d each |", cardTimeSize),
		fmt.Sprintf("| X25519 key | %d |", boxKeySize),
		fmt.Sprintf("| form | %d | %d: no post-quantum key follows; %d: one does;", cardFormSize, cardClassicKey, cardPairKey),
		fmt.Sprintf("| post-quantum key | %d |", PQKeySize),
		fmt.Sprintf("| card | %d bytes |", maxCardSize),
		fmt.Sprintf("| ID | 1 to %d bytes", maxCardID),
		fmt.Sprintf("| keys | 1 to %d |", maxCardKeys),
		fmt.Sprintf("at most %d seconds (%d days)", int(maxCardLifetime.Seconds()), int(maxCardLifetime.Hours()/24)),
		fmt.Sprintf("| certificates | 1 to %d,", keys.MaxChain),
		fmt.Sprintf("| certificate | 1 to %d bytes |", maxCardCert),
		fmt.Sprintf("| signature | 1 to %d bytes |", maxCardSig),
		fmt.Sprintf("%d × 0x20 ‖ \"%s%s%s\" ‖ 0x00 ‖ statement length (%d bytes) ‖ statement", signPad, signPrefix, cardPurpose, signSuffix, fieldLenSize),
		fmt.Sprintf("a salt of %d bytes", pss.Hash.Size()),
	} {
		if !strings.Contains(page, line) {
			t.Errorf("the page lacks %q", line)
		}
	}
	for class := range cardClasses {
		if !strings.Contains(page, "| "+class+" | ") {
			t.Errorf("the page lacks class %s", class)
		}
	}
	if keys.ClockSkew != time.Minute || !strings.Contains(page, "no later than a minute from now") {
		t.Error("the page's clock skew is not the code's")
	}
}

// FuzzParseCard: what is accepted encodes to the very same bytes, and AddCard
// neither panics nor enters anything that was not signed.
func FuzzParseCard(f *testing.F) {
	a, err := NewAuthority("shop.internal")
	if err != nil {
		f.Fatal(err)
	}
	us, err := a.Issue("us")
	if err != nil {
		f.Fatal(err)
	}
	good, err := us.Card()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)/2])
	small, err := us.CardWithoutPQ()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(small)
	f.Add([]byte(cardMagic + "\x01\x00\x01\x00\x01\x00\x01\x00\x00\x01\x00"))
	own := ownKey(us)
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := parseCard(data); err == nil {
			if !bytes.Equal(c.encode(), data) || !bytes.Equal(c.encodeStatement(), c.statement) {
				t.Error("an accepted card encodes otherwise")
			}
		}
		if us.AddCard(data) != nil {
			return
		}
		for _, key := range us.Directory().Keys("us") {
			if !bytes.Equal(key.Key.Bytes(), own.x25519) || key.PQ != nil && !bytes.Equal(key.PQ, own.pq) {
				t.Error("a key was entered that nobody signed")
			}
		}
	})
}
