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
		summary:  "print the signed card of an identity's box key",
		details: `
Prints a card: the public box key of the identity, signed with its leaf, for
peers that have no registry in common with it. They verify it with
Identity.AddCard and can then seal messages to the service. A card holds nothing
secret. It is worth as much as the leaf that signed it, and as long: after
'signet renew' hand out a new one.

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
	// Without the file, loading would make a box key that ends with this process.
	box := filepath.Join(dir, keys.BoxKeyFile)
	if _, err := os.Stat(box); errors.Is(err, fs.ErrNotExist) {
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
	card, err := id.Card()
	if err != nil {
		return err
	}
	if s.json {
		cert := id.Peer().Certificate
		return s.printJSON(struct {
			ID       string    `json:"id"`
			NotAfter time.Time `json:"not_after"`
			Card     []byte    `json:"card"` // base64
		}{id.ID(), cert.NotAfter.UTC(), card})
	}
	_, err = s.stdout.Write(card)
	return err
}
