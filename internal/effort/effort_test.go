package effort

import (
	"fmt"
	"testing"
	"time"
)

// spend attempts n times in names that follow each other, and returns how often there was
// room.
func spend(l *Limit, n, names, cost int, now time.Time) (room int) {
	for i := range n {
		name := fmt.Sprint("sender", i%names)
		if l.Room(name, now) {
			room++
			l.Spend(name, cost, now)
		}
	}
	return room
}

func TestLimit(t *testing.T) {
	now := time.Now()
	for _, tc := range []struct{ names, cost, atOnce, aSecondLater int }{
		{1, 1, NameBurst - 1, NamePerSecond}, // one is left, which junk would need two of
		{1, Junk, NameBurst / Junk, NamePerSecond / Junk},
		{1000, 1, Burst - 1, PerSecond},
		{1000, Junk, Burst / Junk, PerSecond / Junk},
	} {
		l := New()
		if got := spend(l, 2*Burst, tc.names, tc.cost, now); got != tc.atOnce {
			t.Errorf("%+v: %d at once", tc, got)
		}
		if got := spend(l, 2*Burst, tc.names, tc.cost, now.Add(time.Second)); got != tc.aSecondLater {
			t.Errorf("%+v: %d a second later", tc, got)
		}
	}
	l := New()
	spend(l, Burst, 1, Junk, now)
	others := 0
	for i := range 100 {
		if l.Room(fmt.Sprint("other", i), now) {
			others++
		}
	}
	if l.Room("sender0", now) || others < 95 { // a few share its place
		t.Errorf("after junk of one sender there is room for it, or for only %d of 100 others", others)
	}
}
