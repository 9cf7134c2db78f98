package sealed

import (
	"bytes"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-signet/signet/internal/envelope"
)

// live is a broker that works: settings, and what was made by them.
type live struct {
	*settings
	// version moves when keys, trust or our own identity may have changed: whatever
	// rests on these is looked at again.
	version  atomic.Uint64
	senders  map[*rule]*sender
	incoming *incoming
	home     string // "spiffe://<our trust domain>/"
	follow   *follower
	report   *reporter
	stop     []func()
}

func newLive(s *settings, connected bool, report *reporter) *live {
	l := &live{settings: s, senders: make(map[*rule]*sender), incoming: newIncoming(), report: report, home: strings.TrimSuffix(s.self.String(), s.self.Service)}
	l.version.Store(1)
	for _, r := range s.rules.all() {
		if r.mayPublish {
			l.senders[r] = &sender{rule: r}
		}
	}
	l.follow = newFollower(s.registry, report)
	l.follow.enable(connected)
	changed := func() { l.version.Add(1) }
	l.stop = []func(){s.id.OnChange(changed), s.id.Directory().OnChange(changed)}
	return l
}

func (l *live) close() {
	for _, stop := range l.stop {
		stop()
	}
	l.follow.close()
}

// recipients returns the box keys of those who can read what is published by a rule,
// the IDs of those of whom none is known, and when to ask again. After a change of trust
// the registry is asked first: it is sooner in taking back what is not trusted any more
// than in telling us.
func (l *live) recipients(r *rule, now time.Time, changed bool) (to []envelope.Recipient, missing []string, again time.Time) {
	again = now.Add(l.rotate)
	for _, id := range r.subscribers {
		service, home := strings.CutPrefix(id, l.home)
		if home && id != l.self.String() {
			l.follow.watch(service)
			if changed {
				l.follow.lookup(service, true)
			}
		}
		found, until := l.keysOf(id)
		if len(found) == 0 && home {
			l.follow.lookup(service, false)
			found, until = l.keysOf(id)
		}
		switch {
		case len(found) == 0:
			missing, again = append(missing, id), now.Add(lookupAgain)
		case until.Before(again):
			again = until
		}
		to = append(to, found...)
	}
	return to, missing, again
}

// keysOf returns the box keys of a member, and when the first of them ends. Our own is
// not in the directory, unless a registry has told of us.
func (l *live) keysOf(id string) (found []envelope.Recipient, until time.Time) {
	until = time.Now().Add(l.rotate)
	var own []byte
	if id == l.self.String() {
		if keys := l.id.BoxKeys(); len(keys) > 0 {
			own = keys[0].PublicKey().Bytes()
			found = append(found, envelope.Recipient{ID: id, Key: keys[0].PublicKey()})
		}
	}
	for _, k := range l.id.Directory().KeysOf(id) {
		if bytes.Equal(k.Key.Bytes(), own) {
			continue
		}
		found = append(found, envelope.Recipient{ID: id, Key: k.Key})
		if k.Until.Before(until) {
			until = k.Until
		}
	}
	return found, until
}
