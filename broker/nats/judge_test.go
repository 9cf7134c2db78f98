package nats

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/logger"
)

// judging is a logger that calls judge, which so runs while another does.
type judging struct {
	logger.Logger
	judge func()
	lines int
}

func (j *judging) Logf(logger.Level, string, ...any) {
	if j.lines++; j.lines == 1 {
		j.judge()
	}
}

// connection is one of nats.go's to a server that only answers pings.
func connection(t *testing.T) *natsgo.Conn {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprint(c, "INFO {\"max_payload\":1024}\r\n")
		for in := bufio.NewScanner(c); in.Scan(); {
			if strings.HasPrefix(in.Text(), "PING") {
				fmt.Fprint(c, "PONG\r\n")
			}
		}
	}()
	nc, err := natsgo.Connect(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close(); _ = ln.Close(); <-done })
	return nc
}

// TestDistrustedOnce: those who find at once that the certificate is not trusted tell it
// once, and end one connection.
func TestDistrustedOnce(t *testing.T) {
	cert, err := newID(t).TLSCertificate() // of another authority
	if err != nil {
		t.Fatal(err)
	}
	nc, log := connection(t), &judging{Logger: logger.DefaultLogger}
	incidents := make(chan Incident, 2)
	b := NewBroker(broker.Logger(log), OnIncident(func(i Incident) { incidents <- i })).(*natsBroker)
	l := &link{b: b, settings: &settings{id: newID(t), services: []string{"nats"}}, nc: nc, ended: make(chan struct{})}
	l.shown.Store(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert.Leaf}})
	log.judge = func() { l.judge(nc) }
	l.judge(nc)
	if i := <-incidents; i.Kind != Distrusted || log.lines != 1 || nc.IsConnected() {
		t.Errorf("%v is told in %d lines, connected: %v", i.Kind, log.lines, nc.IsConnected())
	}
}

func TestJudgeAt(t *testing.T) {
	for name, tt := range map[string]struct {
		until time.Duration
		years int
		other bool // another certificate was shown meanwhile
		want  bool // to wait an hour later
	}{
		"later":           {2 * time.Hour, 0, false, true},
		"sooner":          {time.Minute, 0, false, false},
		"never":           {0, 400, false, true}, // X.509 has 9999 for certificates that do not end
		"of one replaced": {2 * time.Hour, 0, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, shown := &link{settings: &settings{}, ended: make(chan struct{})}, new(tls.ConnectionState)
				l.shown.Store(shown)
				if tt.other {
					l.shown.Store(new(tls.ConnectionState))
				}
				l.judgeAt(time.Now().Add(tt.until).AddDate(tt.years, 0, 0), shown, nil)
				time.Sleep(time.Hour)
				if waits := l.verdict != nil && l.verdict.Stop(); waits != tt.want {
					t.Errorf("waits: %v", waits)
				}
			})
		})
	}
}
