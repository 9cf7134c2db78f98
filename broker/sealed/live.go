package sealed

import (
	"bytes"
	"crypto/ecdh"
	"slices"
	"strings"
	"time"

	"github.com/go-signet/signet/internal/envelope"
)

// live is a broker that works: settings, and what was made by them.
type live struct {
	*settings
	senders  map[*rule]*sender
	incoming *incoming
	home     string // "spiffe://<our trust domain>/"
	follow   *follower
	report   *reporter
}

func newLive(s *settings, connected bool, report *reporter) *live {
	l := &live{settings: s, senders: make(map[*rule]*sender), incoming: newIncoming(), report: report, home: strings.TrimSuffix(s.self.String(), s.self.Service)}
	for _, r := range s.rules.all() {
		if r.mayPublish {
			l.senders[r] = &sender{rule: r}
		}
	}
	l.follow = newFollower(s.registry, report)
	l.follow.enable(connected)
	return l
}

func (l *live) close() { l.follow.close() }

// known counts the changes of the peer directory: what rests on it is looked at again
// when it moves.
func (l *live) known() uint64 { return l.id.Directory().Version() }

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
		found, until := l.keysOf(id, r.postQuantum)
		if len(found) == 0 && home {
			l.follow.lookup(service, false)
			found, until = l.keysOf(id, r.postQuantum)
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
// not in the directory, unless a registry has told of us. In the post-quantum suites a
// box key is a pair, and who has stated none cannot be sealed to; in the others a key
// counts once, in however many pairs it is.
func (l *live) keysOf(id string, postQuantum bool) (found []envelope.Recipient, until time.Time) {
	until = time.Now().Add(l.rotate)
	add := func(key *ecdh.PublicKey, pq []byte, end time.Time) {
		if !postQuantum {
			pq = nil
		} else if pq == nil {
			return
		}
		if end.Before(until) {
			until = end
		}
		if !slices.ContainsFunc(found, func(r envelope.Recipient) bool { return r.Key.Equal(key) && bytes.Equal(r.PQ, pq) }) {
			found = append(found, envelope.Recipient{ID: id, Key: key, PQ: pq})
		}
	}
	if own := l.id.SealKeys(); id == l.self.String() && len(own) > 0 {
		public := own[0].Public()
		add(public.X25519, public.PQ, until)
	}
	for _, k := range l.id.Directory().KeysOf(id) {
		add(k.Key, k.PQ, k.Until)
	}
	return found, until
}
