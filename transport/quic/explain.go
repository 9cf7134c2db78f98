package quic

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	quicgo "github.com/quic-go/quic-go"
)

// TLS alerts (RFC 8446 section 6.2) by which a server says what is wrong with a
// client's certificate. QUIC carries them as error code 0x100 + alert (RFC 9001
// section 4.8).
const (
	alertBadCertificate      = 0x100 + 42
	alertCertificateExpired  = 0x100 + 45
	alertUnknownCA           = 0x100 + 48
	alertCertificateRequired = 0x100 + 116
	alertNoProtocol          = 0x100 + 120
)

// explainDial says why a connection to addr was not made, and what to do.
// go-micro passes errors on as text, so the text must suffice.
func explainDial(addr string, err error) error {
	var te *quicgo.TransportError
	var ae *quicgo.ApplicationError
	var silent *quicgo.HandshakeTimeoutError
	var idle *quicgo.IdleTimeoutError
	switch {
	case errors.As(err, &te) && te.Remote:
		return fmt.Errorf("quic: %s refused us: %s", addr, remoteAlert(te))
	case errors.As(err, &te):
		return fmt.Errorf("quic: we refused %s: %w", addr, localCause(te))
	case errors.As(err, &ae) && ae.Remote:
		return explainClose(addr, ae)
	case errors.As(err, &silent), errors.As(err, &idle):
		return fmt.Errorf("quic: %w: no answer from %s: check that the service listens there and that UDP passes", ErrUnreachable, addr)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("quic: %w: %s did not finish a handshake within the dial timeout: check that the service listens there and that UDP passes", ErrUnreachable, addr)
	}
	return fmt.Errorf("quic: dialling %s: %w", addr, err)
}

func remoteAlert(te *quicgo.TransportError) string {
	switch te.ErrorCode {
	case alertCertificateRequired:
		return "it requires a client certificate and we sent none: configure an identity"
	case alertUnknownCA:
		return "it does not trust the CA that issued our certificate: compare ca.crt on both sides"
	case alertCertificateExpired:
		return "our certificate has expired, or is not yet valid by its clock: renew it with `signet renew` and check the clocks"
	case alertBadCertificate:
		return "it does not accept our certificate: revoked, of another trust domain, or not a service's; its log says which"
	case alertNoProtocol:
		return "it does not speak " + alpn + ": is it this transport, in a compatible version?"
	case quicgo.ConnectionRefused:
		return "it takes no further connections now: it is at a limit or shutting down"
	}
	return printable(te.Error())
}

// printable makes text that a peer may have chosen fit for errors and logs: a
// reason phrase, for one, is whatever the other side sent.
func printable(s string) string {
	const most = 300
	odd := func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }
	cut := s[:min(len(s), most)]
	if strings.ContainsFunc(cut, odd) {
		cut = strconv.Quote(cut)
	}
	if len(s) > most {
		cut += "..."
	}
	return cut
}

// localCause is what our own check of the server's certificate said.
func localCause(te *quicgo.TransportError) error {
	for _, e := range te.Unwrap() {
		if e == nil || e == net.ErrClosed {
			continue
		}
		var unknown x509.UnknownAuthorityError
		if errors.As(e, &unknown) {
			return fmt.Errorf("its certificate was issued by a CA that we do not trust: compare ca.crt on both sides: %w", e)
		}
		if te.ErrorCode == alertBadCertificate {
			return e
		}
	}
	return te
}

func explainClose(addr string, ae *quicgo.ApplicationError) error {
	switch ae.ErrorCode {
	case codeUnauthorized:
		return fmt.Errorf("quic: %s refused us: %w: its Authorize does not let this identity in", addr, ErrUnauthorized)
	case codeExpired:
		return fmt.Errorf("quic: %s ended the connection: a certificate behind it expired: renew it with `signet renew`", addr)
	case codeRevoked:
		return fmt.Errorf("quic: %s ended the connection: %w: it no longer trusts this identity (revoked, or its CA removed)", addr, ErrUnauthorized)
	case codeProtocol:
		return fmt.Errorf("quic: %s ended the connection: it saw a violation of the protocol: are both sides of compatible versions?", addr)
	}
	return fmt.Errorf("quic: %s closed the connection", addr)
}

// closedCleanly tells the ends of a connection at which nothing went wrong.
func closedCleanly(err error) bool {
	var ae *quicgo.ApplicationError
	var idle *quicgo.IdleTimeoutError
	return errors.As(err, &ae) && ae.ErrorCode == codeDone || errors.As(err, &idle)
}

// explainLoss says what became of a connection that was in use.
func explainLoss(addr, peerID string, cause error) error {
	var ae *quicgo.ApplicationError
	var te *quicgo.TransportError
	var idle *quicgo.IdleTimeoutError
	var reset *quicgo.StatelessResetError
	who := fmt.Sprintf("%s (%s)", addr, peerID)
	switch {
	case errors.As(cause, &ae) && ae.Remote:
		return explainClose(who, ae)
	case errors.As(cause, &ae) && ae.ErrorCode == codeExpired:
		return fmt.Errorf("quic: connection to %s ended: a certificate behind it expired: renew it with `signet renew`", who)
	case errors.As(cause, &ae) && ae.ErrorCode == codeRevoked:
		return fmt.Errorf("quic: connection to %s ended: %w: we no longer trust it", who, ErrUnauthorized)
	case errors.As(cause, &ae) && ae.ErrorCode == codeUnauthorized:
		return fmt.Errorf("quic: connection to %s ended: %w: the address is bound to another peer now", who, ErrWrongPeer)
	case errors.As(cause, &idle):
		return fmt.Errorf("quic: connection to %s lost: %w: no packet came for %v", who, ErrUnreachable, idleTimeout)
	case errors.As(cause, &te) && te.Remote:
		return fmt.Errorf("quic: connection to %s lost: the peer ended it: %s", who, printable(te.Error()))
	case errors.As(cause, &reset):
		return fmt.Errorf("quic: connection to %s lost: the peer restarted", who)
	case cause == nil:
		return fmt.Errorf("quic: connection to %s lost", who)
	}
	return fmt.Errorf("quic: connection to %s lost: %w", who, cause)
}

// lossCause is what ended the connection on which err happened, nil if it has not
// ended. A stream may report the end before the connection's context does.
func lossCause(q *quicgo.Conn, err error) error {
	if cause := context.Cause(q.Context()); cause != nil {
		return cause
	}
	var ae *quicgo.ApplicationError
	var te *quicgo.TransportError
	var idle *quicgo.IdleTimeoutError
	var reset *quicgo.StatelessResetError
	if errors.As(err, &ae) || errors.As(err, &te) || errors.As(err, &idle) || errors.As(err, &reset) {
		return err
	}
	return nil
}
