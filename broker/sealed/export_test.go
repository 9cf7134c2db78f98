package sealed

import (
	"io"
	"time"

	"github.com/go-signet/signet/internal/envelope"
	"go-micro.dev/v4/broker"
)

// UseUp has the first epoch of a rule be one of so many messages.
func UseUp(b broker.Broker, pattern string, random io.Reader, most uint32) {
	l, err := b.(*sealedBroker).use()
	if err != nil {
		panic(err)
	}
	for r, s := range l.senders {
		if r.pattern != pattern {
			continue
		}
		first, err := s.current(l, time.Now())
		if err != nil {
			panic(err)
		}
		to, _, _ := l.recipients(r, time.Now(), false)
		card, err := l.id.Card()
		if err != nil {
			panic(err)
		}
		epoch, err := envelope.NewEpoch(&envelope.Params{
			Suite: envelope.PreferredSuite(r.postQuantum), Sender: l.id.ID(), SenderKey: l.id.BoxKeys()[0], Scope: r.pattern, Recipients: to,
			Created: first.from, NotAfter: first.until, Most: most, Credential: card,
		}, random)
		if err != nil {
			panic(err)
		}
		next := *first
		next.epoch = epoch
		s.now.Store(&next)
	}
}
