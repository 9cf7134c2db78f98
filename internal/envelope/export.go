package envelope

// Export derives a key of 32 bytes from the key of the epoch, for a use that context
// names. The sender and all recipients of the epoch can derive it, and nobody else.
func (e *Epoch) Export(context []byte) ([keySize]byte, error) {
	return derive(e.exporter[:], nil, context)
}

// Export is Epoch.Export, at a recipient.
func (r *Reader) Export(context []byte) ([keySize]byte, error) {
	return derive(r.exporter[:], nil, context)
}

// BindingSize is the size of what Envelope.Binding returns.
const BindingSize = nonceSize + overhead

// Binding tells a message from all others of its epoch: its nonce, and the tag of its
// ciphertext. Put it among the associated data of an answer.
func (e *Envelope) Binding() (b [BindingSize]byte) {
	copy(b[:], e.nonce)
	copy(b[nonceSize:], e.ciphertext[len(e.ciphertext)-overhead:])
	return b
}

// ID names the epoch that the reader opens messages of.
func (r *Reader) ID() [EpochIDSize]byte { return r.id }

// Memory is how much of what senders choose the reader keeps, in bytes.
func (r *Reader) Memory() int { return len(r.Header.raw) + len(r.grant) }

// Size is how much memory the message takes when it is opened, in bytes.
func (e *Envelope) Size() int { return len(e.ciphertext) - overhead }

// Binding is Envelope.Binding of a message that the epoch has sealed.
func (e *Epoch) Binding(sealed []byte) (b [BindingSize]byte) {
	if e.mode == Signed { // whose signature may have any size
		if parsed, err := Parse(sealed); err == nil {
			b = parsed.Binding()
		}
		return b
	}
	end := len(sealed) - e.proofs.size()
	copy(b[:nonceSize], sealed[flagsAt+1+EpochIDSize:])
	copy(b[nonceSize:], sealed[end-overhead:end])
	return b
}
