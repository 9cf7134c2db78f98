package envelope

import (
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/sha256"
	"fmt"
)

// What the post-quantum suites add to the agreements of a pair: an encapsulation to
// the recipient's key, of which both export 32 bytes (RFC 9180, section 5.3, in base
// mode). It proves nobody, which the agreement with the sender's key does, and rests
// on the randomness of crypto/hpke, not on what NewEpoch is given.

// encapsulate makes the shared secret, and what carries it to the recipient.
func encapsulate(header []byte, r Recipient) (encapsulation, shared []byte, err error) {
	public, err := hpke.MLKEM768X25519().NewPublicKey(r.PQ)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: of %s: want an MLKEM768-X25519 key", ErrKey, r.ID)
	}
	encapsulation, sender, err := hpke.NewSender(public, hpke.HKDFSHA256(), hpke.ExportOnly(), pqInfo(header, r.ID, r.Key))
	if err != nil {
		return nil, nil, fmt.Errorf("envelope: %w", err)
	}
	if shared, err = sender.Export(labelPQ, keySize); err != nil {
		return nil, nil, fmt.Errorf("envelope: %w", err)
	}
	return encapsulation, shared, nil
}

// decapsulate makes the shared secret of what came. A secret that was changed on the
// way is another secret: the grant then does not open.
func decapsulate(header, encapsulation []byte, ownID string, own OwnKey) ([]byte, error) {
	recipient, err := hpke.NewRecipient(encapsulation, own.PQ, hpke.HKDFSHA256(), hpke.ExportOnly(), pqInfo(header, ownID, own.X25519.PublicKey()))
	if err != nil {
		return nil, fmt.Errorf("%w: the encapsulation", ErrTampered)
	}
	shared, err := recipient.Export(labelPQ, keySize)
	if err != nil {
		return nil, fmt.Errorf("envelope: %w", err)
	}
	return shared, nil
}

func pqInfo(header []byte, recipientID string, recipient *ecdh.PublicKey) []byte {
	digest := sha256.Sum256(header)
	info := append([]byte(labelPQ), digest[:]...)
	info = append(info, recipient.Bytes()...)
	return append(info, recipientID...)
}
