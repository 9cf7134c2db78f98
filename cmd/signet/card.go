package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/go-signet/signet/internal/keys"
)

func cardCommand() command {
	return command{
		name:     "card",
		synopsis: "[FLAGS] IDENTITY-DIRECTORY",
		summary:  "print the signed card of an identity's box keys",
		details: `
Prints a card: the public box keys of the identity, signed with its leaf, for
peers that have no registry in common with it. They verify it with
Identity.AddCard and can then seal messages to the service. A card holds nothing
secret. It is worth as much as the leaf that signed it, and as long: after
'signet renew' hand out a new one.

Without pq.key the card is silent about the post-quantum key: a running service
has one all the same, which only its own Identity.Card can vouch for.

The card is binary. It is not written to a terminal; send it to a file.`,
		examples: []string{
			"signet card keys/greeter > greeter.card",
			"signet card keys/greeter --json",
		},
		minArgs: 1, maxArgs: 1,
		setup: func(fs *flag.FlagSet) action {
			group := groupFlag(fs)
			return func(s *session, args []string) error { return runCard(s, args[0], s.readOptions(*group)) }
		},
	}
}

func runCard(s *session, dir string, read keys.ReadOptions) error {
	if s.terminal && !s.json {
		return withHint(errors.New("the card is binary and stdout is a terminal"),
			"run 'signet card %s > %s.card', or add --json", shellWord(dir), shellWord(filepath.Base(dir)))
	}
	// Without the files, loading makes box keys that end with this process.
	if !onDisk(dir, keys.BoxKeyFile) {
		if _, _, err := readChain(dir); err != nil {
			return err
		}
		return withHint(fmt.Errorf("%s has no %s", dir, keys.BoxKeyFile),
			"the service makes a box key of its own at start, which only its own Identity.Card can vouch for")
	}
	id, err := loadIdentity(dir, read)
	if err != nil {
		return err
	}
	defer id.Close()
	state, own := id.Card, id.SealKeys()[0].Public()
	if !onDisk(dir, keys.PQKeyFile) {
		state, own.PQ = id.CardWithoutPQ, nil
		s.warnf("%s has no %s: the card is silent about the post-quantum key: run 'signet renew', which adds one, or have the service make its card itself", dir, keys.PQKeyFile)
	}
	card, err := state()
	if err != nil {
		return err
	}
	if s.json {
		info := cardInfo{ID: id.ID(), NotAfter: id.Peer().Certificate.NotAfter.UTC(), BoxKey: own.X25519.Bytes(), Card: card}
		if own.PQ != nil {
			info.PQKey = sha256Hex(own.PQ)
		}
		return s.printJSON(info)
	}
	_, err = s.stdout.Write(card)
	return err
}

type cardInfo struct {
	ID       string    `json:"id"`
	NotAfter time.Time `json:"not_after"`
	BoxKey   []byte    `json:"box_key"`                 // base64 of the X25519 public key
	PQKey    string    `json:"pq_key_sha256,omitempty"` // of the MLKEM768-X25519 public key
	Card     []byte    `json:"card"`                    // base64
}

func onDisk(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return !errors.Is(err, fs.ErrNotExist)
}
