package udp

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

var openers = []struct {
	name string
	open opener
}{
	{"on", Listen},
	{"off", ListenPlain},
}

// TestQUIC sends megabytes both ways at once between sockets with and without receive offload.
func TestQUIC(t *testing.T) {
	sent := make([]byte, 8<<20)
	if _, err := rand.Read(sent); err != nil {
		t.Fatal(err)
	}
	for _, server := range openers {
		for _, client := range openers {
			t.Run(fmt.Sprintf("server=%s/client=%s", server.name, client.name), func(t *testing.T) {
				stream := echo(t, listen(t, server.open, "udp", "127.0.0.1:0"), listen(t, client.open, "udp", ":0"))
				if err := stream.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
					t.Fatal(err)
				}
				failed := make(chan error, 1)
				go func() {
					_, err := stream.Write(sent)
					failed <- err
				}()
				got := make([]byte, len(sent))
				if _, err := io.ReadFull(stream, got); err != nil {
					t.Fatal(err)
				}
				if err := <-failed; err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, sent) {
					t.Fatal("what came back is not what was sent")
				}
			})
		}
	}
}

// TestSocketOutlivesTransport covers a socket that the user owns: quic-go stops reading it without closing it.
func TestSocketOutlivesTransport(t *testing.T) {
	server, client := listen(t, Listen, "udp", "127.0.0.1:0"), listen(t, Listen, "udp", ":0")
	for range 2 {
		t.Run("transport", func(t *testing.T) {
			stream := echo(t, server, client)
			if err := stream.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := stream.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(stream, make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// BenchmarkEcho sends a message and waits for it to come back, on one stream: 64 KiB, which receive offload is for,
// and 128 bytes, which it must not slow down.
func BenchmarkEcho(b *testing.B) {
	for _, size := range []int{128, 64 << 10} {
		for _, opener := range openers {
			b.Run(fmt.Sprintf("size=%d/gro=%s", size, opener.name), func(b *testing.B) {
				server, client := listen(b, opener.open, "udp", "127.0.0.1:0"), listen(b, opener.open, "udp", ":0")
				stream := echo(b, server, client)
				message := make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := stream.Write(message); err != nil {
						b.Fatal(err)
					}
					if _, err := io.ReadFull(stream, message); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// echo connects client to a server that sends back what it gets on one stream, and returns the stream. All but the
// sockets is closed when the test ends.
func echo(t testing.TB, server, client net.PacketConn) *quic.Stream {
	t.Helper()
	serverTLS, clientTLS := certificates(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()

	to, from := &quic.Transport{Conn: server}, &quic.Transport{Conn: client}
	listener, err := to.Listen(serverTLS, nil)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		conn, err := listener.Accept(context.Background())
		if err != nil {
			return
		}
		stream, err := conn.AcceptStream(context.Background())
		if err != nil {
			return
		}
		_, _ = io.Copy(stream, stream) // ends with the connection
	}()
	t.Cleanup(func() {
		from.Close()
		listener.Close()
		to.Close()
		<-served
	})
	conn, err := from.Dial(ctx, server.LocalAddr(), clientTLS, nil)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func certificates(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(nil, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	protocols := []string{"signet-udp-test"}
	server = &tls.Config{
		MinVersion:   tls.VersionTLS13,
		NextProtos:   protocols,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}},
	}
	client = &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: protocols, RootCAs: roots, ServerName: "127.0.0.1"}
	return server, client
}
