package backend

import (
	"crypto/tls"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestCheckTLSConfig(t *testing.T) {
	accept := func(tls.ConnectionState) error { return nil }
	for _, tt := range []struct {
		name string
		conf *tls.Config
		want string
	}{
		{"empty", &tls.Config{}, ""},
		{"TLS 1.2", &tls.Config{MaxVersion: tls.VersionTLS12}, ""},
		{"own verification", &tls.Config{InsecureSkipVerify: true, VerifyConnection: accept}, ""},
		{"TLS 1.1", &tls.Config{MaxVersion: tls.VersionTLS11}, "no TLS 1.2"},
		{"no verification", &tls.Config{InsecureSkipVerify: true}, "anybody could be NATS"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := CheckTLSConfig(tt.conf, "NATS")
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestTLSConfigIsHardened(t *testing.T) {
	shown := &tls.Certificate{}
	refused := errors.New("not the server")
	certificate := func() (*tls.Certificate, error) { return shown, nil }
	verify := func(tls.ConnectionState) error { return refused }
	mine := &tls.Config{
		ServerName: "server.example", ClientSessionCache: tls.NewLRUClientSessionCache(1), KeyLogWriter: io.Discard,
		Renegotiation: tls.RenegotiateFreelyAsClient, Certificates: []tls.Certificate{{}},
	}
	for name, conf := range map[string]*tls.Config{"given": mine, "none": nil} {
		t.Run(name, func(t *testing.T) {
			made := TLSConfig(conf, verify, certificate)
			if made.KeyLogWriter != nil || made.ClientSessionCache != nil || !made.SessionTicketsDisabled || made.Renegotiation != tls.RenegotiateNever {
				t.Errorf("not hardened: %+v", made)
			}
			if got, err := made.GetClientCertificate(nil); err != nil || got != shown || len(made.Certificates) != 0 {
				t.Errorf("the certificate is not shown: %v", err)
			}
		})
	}
	if mine.KeyLogWriter == nil || mine.MinVersion != 0 || len(mine.Certificates) != 1 {
		t.Error("the caller's tls.Config was changed")
	}

	given := TLSConfig(mine, verify, nil)
	if given.MinVersion != tls.VersionTLS12 || given.ServerName != "server.example" || given.InsecureSkipVerify || given.VerifyConnection != nil {
		t.Errorf("the given tls.Config does not decide: %+v", given)
	}
	if len(given.Certificates) != 1 || given.GetClientCertificate != nil {
		t.Error("its own certificate is not kept")
	}
	if stricter := TLSConfig(&tls.Config{MinVersion: tls.VersionTLS13}, verify, nil); stricter.MinVersion != tls.VersionTLS13 {
		t.Error("TLS 1.3 was lowered")
	}
	if TLSConfig(nil, nil, nil).VerifyConnection == nil {
		t.Error("without verification every server would pass")
	}
	own := TLSConfig(nil, verify, certificate)
	if own.MinVersion != tls.VersionTLS13 || !errors.Is(own.VerifyConnection(tls.ConnectionState{}), refused) {
		t.Errorf("without a tls.Config: %+v", own)
	}
}
