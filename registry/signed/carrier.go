package signed

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"go-micro.dev/v4/registry"
)

// A record travels in the metadata of its node, in base64url without padding, cut
// into parts under the keys signet-0, signet-1, …: every part but the last has
// partSize characters. Consul holds 512 bytes a value and 64 keys of
// [A-Za-z0-9_-], and no other backend less.
const (
	partPrefix = "signet-"
	partSize   = 500
	partsMost  = 32
)

// The strict decoder refuses set bits after the end; it alone would skip line
// breaks, so join refuses what is not of the alphabet.
var carrierEncoding = base64.RawURLEncoding.Strict()

// reserved reports whether a key of node metadata is ours.
func reserved(key string) bool { return strings.HasPrefix(key, partPrefix) }

func partKey(i int) string { return partPrefix + strconv.Itoa(i) }

// split returns the parts that carry an encoded record.
func split(record []byte) ([]string, error) {
	if len(record) > maxRecordSize {
		return nil, fmt.Errorf("signed: a record of %d bytes: at most %d: shorten the certificate chain, by an authority that signs leaves directly or by keys of P-256 or Ed25519, or do without signed.PostQuantum", len(record), maxRecordSize)
	}
	text := carrierEncoding.EncodeToString(record)
	var parts []string
	for len(text) > partSize {
		parts = append(parts, text[:partSize])
		text = text[partSize:]
	}
	return append(parts, text), nil
}

// join collects the parts of a node's metadata. There are none if it returns nil
// and no error; keys of ours that are no part of one record are errMalformed.
func join(metadata map[string]string) ([]string, error) {
	ours := 0
	for key := range metadata {
		if reserved(key) {
			ours++
		}
	}
	if ours == 0 {
		return nil, nil
	}
	if ours > partsMost {
		return nil, fmt.Errorf("%w: %d parts of a record: at most %d", errMalformed, ours, partsMost)
	}
	parts := make([]string, ours)
	for i := range parts {
		part, ok := metadata[partKey(i)]
		last := i == ours-1
		switch {
		case !ok:
			return nil, fmt.Errorf("%w: part %d of %d of a record is missing", errMalformed, i, ours)
		case !last && len(part) != partSize, last && (part == "" || len(part) > partSize):
			return nil, fmt.Errorf("%w: part %d of a record has %d characters", errMalformed, i, len(part))
		}
		parts[i] = part
	}
	return parts, nil
}

// unpack decodes the parts of a record.
func unpack(parts []string) ([]byte, error) {
	text := strings.Join(parts, "")
	if strings.ContainsAny(text, "\r\n") {
		return nil, fmt.Errorf("%w: a record with line breaks", errMalformed)
	}
	data, err := carrierEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%w: a record is not base64url: %w", errMalformed, err)
	}
	return data, nil
}

// carry puts the parts of a record in place of those that metadata holds.
func carry(node *registry.Node, parts []string) {
	if node.Metadata == nil {
		node.Metadata = make(map[string]string, len(parts))
	}
	for key := range node.Metadata {
		if reserved(key) {
			delete(node.Metadata, key)
		}
	}
	for i, part := range parts {
		node.Metadata[partKey(i)] = part
	}
}
