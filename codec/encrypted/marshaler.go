package encrypted

import (
	"fmt"
	"time"

	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/codec"
)

// Marshaler seals what a broker or a transport marshals, as in
// broker.Codec(encrypted.NewMarshaler(…)). It opens what one of a verified peer has
// sealed.
//
// It keeps no state about messages, since some brokers unmarshal one several times: a
// message within EventAge can be replayed, and put on another topic. broker/sealed can
// tell.
type Marshaler struct {
	e          *engine
	inner      codec.Marshaler
	recipients []string
}

var _ codec.Marshaler = (*Marshaler)(nil)

// NewMarshaler makes one around another: go-micro's json.Marshaler{}, for instance.
// The services that recipients names can open what it seals; one that only opens needs
// none. Their keys are found as those of a service that is called; see Service.
func NewMarshaler(id *identity.Identity, inner codec.Marshaler, recipients []string, opts ...Option) *Marshaler {
	return &Marshaler{newEngine(id, opts), inner, append([]string(nil), recipients...)}
}

// Marshal seals what the marshaler inside makes of v.
func (m *Marshaler) Marshal(v any) ([]byte, error) {
	plain, err := m.inner.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInner, err)
	}
	out := m.e.out.of(&m.e.out.messages, scopeMessage, "", func() []string { return m.recipients })
	s, err := m.e.seal(nil, out, topicMessage, plain, nil)
	if err != nil {
		return nil, err
	}
	return s.data, nil
}

// Unmarshal opens data and has the marshaler inside read it. Nothing of v is written
// unless it verifies.
func (m *Marshaler) Unmarshal(data []byte, v any) error {
	opened := new(openedMessage)
	if _, err := opened.openOften(m.e, data, scopeMessage, topicMessage, time.Now()); err != nil {
		m.e.report.reject("", err)
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err := m.inner.Unmarshal(opened.body, v); err != nil {
		return fmt.Errorf("%w: %w", ErrInner, err)
	}
	return nil
}

// String names the marshaler inside, which is what go-micro picks a content type by.
func (m *Marshaler) String() string { return m.inner.String() }
