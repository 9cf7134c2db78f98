package sealed

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/go-signet/signet/internal/keys"
	"go-micro.dev/v4/store"
)

// storePrefix begins the keys of what members of queue groups share.
const storePrefix = "signet-replay-"

// storeKey names a message within its queue group: 32 hexadecimal digits.
func (e *event) storeKey() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %q %q %x %d", e.live.self, e.subscription.topic, e.queue, e.from.id, e.counter))
	return storePrefix + hex.EncodeToString(sum[:16])
}

// shares reports whether the subscription asks a store.
func (e *event) shares() bool { return e.live.store != nil && e.queue != "" }

// askStore refuses what another member of the queue group has handled. If that cannot
// be found out, the message has to come again.
func (e *event) askStore() error {
	if !e.shares() {
		return nil
	}
	found, err := e.live.store.Read(e.storeKey())
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && len(found) == 0:
		return nil
	case err != nil:
		return tryAgain(ReasonReplay, fmt.Errorf("sealed: the replay store: %w", err))
	}
	return reject(ReasonReplay, errors.New("sealed: another member of the queue group has handled it"))
}

// tellStore notes that the message was handled, for as long as it can come again.
func (e *event) tellStore() {
	if !e.shares() {
		return
	}
	r := &store.Record{Key: e.storeKey(), Value: []byte(time.Now().UTC().Format(time.RFC3339)), Expiry: e.live.maxAge + mostRotate + 2*clockSkew}
	if err := e.live.store.Write(r); err != nil {
		e.broker.report.warnf("sealed: the replay store: %v: a message on %s was handled, and other members do not know", err, keys.Quote(e.topic))
	}
}
