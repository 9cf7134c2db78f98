package signed_test

import (
	"testing"
	"time"

	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/registry"
)

func TestSequences(t *testing.T) {
	now := func() uint64 { return uint64(time.Now().UnixMicro()) }
	seen := func(t *testing.T) *stage {
		s := newStage(t)
		wantNodes(t, s.reader, "greeter", "a@"+address)
		return s
	}
	t.Run("lower sequence", func(t *testing.T) {
		s := seen(t)
		s.forge(s.greeter, greeter(node("a", "10.0.0.9:8000")), signed.Forgery{Sequence: now() - 60e6})
		wantNodes(t, s.reader, "greeter")
		s.rejected.want(t, signed.Replayed)
		if _, known := s.readerID.Directory().Bound("10.0.0.9:8000"); known {
			t.Error("the directory binds the old address")
		}
	})
	t.Run("old record put back", func(t *testing.T) {
		s := seen(t)
		old := s.inner.one(t, "greeter")
		s.forge(s.greeter, greeter(node("a", "10.0.0.2:8000")), signed.Forgery{})
		wantNodes(t, s.reader, "greeter", "a@10.0.0.2:8000")
		mustRegister(t, s.inner, old)
		wantNodes(t, s.reader, "greeter")
		s.rejected.want(t, signed.Replayed)
	})
	t.Run("old record beside the new one", func(t *testing.T) {
		s := seen(t)
		old := s.inner.one(t, "greeter")
		s.forge(s.greeter, greeter(node("a", "10.0.0.2:8000")), signed.Forgery{})
		s.inner.forge(func(was []*registry.Service) []*registry.Service { return append([]*registry.Service{old}, was...) })
		for range 2 {
			wantNodes(t, s.reader, "greeter", "a@10.0.0.2:8000")
		}
		s.rejected.want(t, signed.Replayed)
	})
	t.Run("equal sequence, different statement", func(t *testing.T) {
		s := newStage(t)
		sequence := now()
		s.forge(s.greeter, greeter(node("a", address)), signed.Forgery{Sequence: sequence})
		wantNodes(t, s.reader, "greeter", "a@"+address)
		s.forge(s.greeter, greeter(node("a", "10.0.0.2:8000")), signed.Forgery{Sequence: sequence})
		wantNodes(t, s.reader, "greeter")
		s.rejected.want(t, signed.Equivocation)
	})
	t.Run("identical republish", func(t *testing.T) {
		s := seen(t)
		mustRegister(t, s.inner, s.inner.one(t, "greeter"))
		wantNodes(t, s.reader, "greeter", "a@"+address)
		s.rejected.want(t)
	})
	t.Run("replay after withdrawal", func(t *testing.T) {
		s := seen(t)
		old := s.inner.one(t, "greeter")
		s.forge(s.greeter, greeter(node("a", address)), signed.Forgery{Withdrawn: true})
		for range 2 { // a withdrawal comes again, too
			wantNodes(t, s.reader, "greeter")
		}
		s.rejected.want(t)
		mustRegister(t, s.inner, old)
		wantNodes(t, s.reader, "greeter")
		s.rejected.want(t, signed.Replayed)
		if _, known := s.readerID.Directory().Bound(address); known {
			t.Error("the directory binds what was withdrawn")
		}
	})
	t.Run("old record beside its withdrawal", func(t *testing.T) {
		s := newStage(t)
		old := s.inner.one(t, "greeter")
		s.forge(s.greeter, greeter(node("a", address)), signed.Forgery{Withdrawn: true})
		s.inner.forge(func(was []*registry.Service) []*registry.Service { return append([]*registry.Service{old}, was...) })
		wantNodes(t, s.reader, "greeter") // by one who sees both for the first time
	})
	t.Run("same sequence as a withdrawal", func(t *testing.T) {
		s, sequence := seen(t), now()
		s.forge(s.greeter, greeter(node("a", address)), signed.Forgery{Withdrawn: true, Sequence: sequence})
		wantNodes(t, s.reader, "greeter")
		s.forge(s.greeter, greeter(node("a", address)), signed.Forgery{Sequence: sequence})
		wantNodes(t, s.reader, "greeter")
		s.rejected.want(t, signed.Replayed)
	})
	t.Run("registered again after withdrawal", func(t *testing.T) {
		s := seen(t)
		s.forge(s.greeter, greeter(node("a", address)), signed.Forgery{Withdrawn: true})
		wantNodes(t, s.reader, "greeter")
		s.forge(s.greeter, greeter(node("a", address)), signed.Forgery{})
		wantNodes(t, s.reader, "greeter", "a@"+address)
		s.rejected.want(t)
	})
}

func TestTimes(t *testing.T) {
	now := time.Now()
	tests := []struct {
		name string
		f    signed.Forgery
		want signed.Reason
	}{
		{"issued a day ahead", signed.Forgery{Issued: now.Add(24 * time.Hour)}, signed.NotYetValid},
		{"issued a day ahead, sequence of today", signed.Forgery{Issued: now.Add(24 * time.Hour), Sequence: uint64(now.UnixMicro())}, signed.NotYetValid},
		{"clock five minutes ahead", signed.Forgery{Issued: now.Add(5 * time.Minute)}, signed.NotYetValid},
		{"sequence a day ahead", signed.Forgery{Sequence: uint64(now.Add(24 * time.Hour).UnixMicro())}, signed.NotYetValid},
		{"highest sequence", signed.Forgery{Sequence: 1<<64 - 1}, signed.NotYetValid},
		{"clock half a minute ahead", signed.Forgery{Issued: now.Add(30 * time.Second)}, ""},
		{"clock five minutes behind", signed.Forgery{Issued: now.Add(-5 * time.Minute)}, ""},
		{"ended", signed.Forgery{Issued: now.Add(-5 * time.Minute), Lifetime: 4 * time.Minute}, signed.Expired},
		{"ended a moment ago", signed.Forgery{Issued: now.Add(-time.Minute), Lifetime: time.Minute}, signed.Expired},
		{"longer than a day", signed.Forgery{Lifetime: 25 * time.Hour}, signed.Malformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t)
			s.forge(s.greeter, greeter(node("b", address)), tt.f)
			if tt.want == "" {
				wantNodes(t, s.reader, "greeter", "a@"+address, "b@"+address)
				s.rejected.want(t)
				return
			}
			wantNodes(t, s.reader, "greeter", "a@"+address)
			s.rejected.want(t, tt.want)
		})
	}
}
