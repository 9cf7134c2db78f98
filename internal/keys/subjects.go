package keys

import "crypto/x509"

// CAs returns the certificates of all trusted CAs, of every domain.
func (t *Trust) CAs() []*x509.Certificate {
	cas := t.Home().CAs()
	for _, d := range t.Federated() {
		cas = append(cas, d.CAs()...)
	}
	return cas
}

// SubjectsSize is how many bytes the names of certs take where TLS lists them, in
// a CertificateRequest (RFC 8446, section 4.2.4): each comes with a length of two
// bytes.
func SubjectsSize(certs []*x509.Certificate) int {
	size := 0
	for _, cert := range certs {
		size += 2 + len(cert.RawSubject)
	}
	return size
}
