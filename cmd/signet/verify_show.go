package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/go-signet/signet/internal/keys"
	"github.com/go-signet/signet/registry/signed"
)

// verified is what verify found, and its JSON.
type verified struct {
	Identity  string     `json:"identity"` // whose trust counts
	Registry  string     `json:"registry"`
	Address   string     `json:"address,omitempty"`
	Trusted   int        `json:"trusted"`
	Withdrawn int        `json:"withdrawn"`
	Refused   int        `json:"refused"`   // nodes that are not trusted, or a part of which is not
	NotFound  []string   `json:"not_found"` // services that --service named
	Nodes     []nodeInfo `json:"nodes"`
}

// nodeInfo is one node. From Issued on it is what its record says, which can be
// relied on if Trusted only.
type nodeInfo struct {
	Service   string        `json:"service"`
	Version   string        `json:"version"`
	Node      string        `json:"node"`
	Address   string        `json:"address"`
	Trusted   bool          `json:"trusted"`
	Withdrawn bool          `json:"withdrawn"`
	Reason    signed.Reason `json:"reason,omitempty"` // if Trusted, the part that is not used
	Detail    string        `json:"detail,omitempty"`
	Remedy    string        `json:"remedy,omitempty"`
	Signer    string        `json:"signer,omitempty"`         // whose certificate verified
	Claimed   string        `json:"claimed_signer,omitempty"` // whose it says it is, if it did not
	Until     *time.Time    `json:"trusted_until,omitempty"`
	Issued    *time.Time    `json:"issued,omitempty"`
	Expires   *time.Time    `json:"expires,omitempty"`
	Sequence  uint64        `json:"sequence,omitempty"`
	Endpoints signed.Part   `json:"endpoints,omitempty"`
	Metadata  signed.Part   `json:"metadata,omitempty"`
	BoxKeys   int           `json:"box_keys"`
	PQKeys    int           `json:"pq_keys"`     // how many of them have a post-quantum key besides
	Record    int           `json:"record_size"` // in bytes
}

// add enters a finding.
func (v *verified) add(f signed.Finding) {
	n := nodeInfo{
		Service: f.Service, Version: f.Version, Node: f.Node, Address: f.Address,
		Trusted: f.Trusted, Withdrawn: f.Withdrawn, Reason: f.Reason, Signer: f.Peer.ID,
		Until: known(f.Until), Issued: known(f.Issued), Expires: known(f.Expires), Sequence: f.Sequence,
		Endpoints: f.Endpoints, Metadata: f.Metadata, BoxKeys: f.BoxKeys, PQKeys: f.PQKeys, Record: f.RecordSize,
	}
	if n.Signer == "" {
		n.Claimed = f.Claimed
	}
	switch {
	case !f.Trusted:
		n.Detail = f.Err.Error()
	case f.Endpoints == signed.Changed:
		n.Reason, n.Detail = signed.Endpoints, "the endpoints in the registry are not those that the node was registered with: clients use the node, not the endpoints"
	case f.Metadata == signed.Changed:
		n.Reason, n.Detail = signed.Metadata, "the service metadata in the registry is not what the node was registered with: clients use the node, not the metadata"
	}
	n.Remedy = remedies[n.Reason]
	switch {
	case n.Reason != "":
		v.Refused++
	case n.Withdrawn:
		v.Withdrawn++
	default:
		v.Trusted++
	}
	v.Nodes = append(v.Nodes, n)
}

func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// remedies say what to do. docs/operators.md says more.
var remedies = map[signed.Reason]string{
	signed.Limit:        "register less in metadata or endpoints; if the service is not yours, take it out of the registry",
	signed.Unsigned:     "register the service through registry/signed, or take it out of the registry if it is unknown",
	signed.Malformed:    "look who else writes to the registry: something changed the signet- keys of the node's metadata",
	signed.NotYetValid:  "set the clock of this machine, or of the service's",
	signed.Expired:      "restart the service if it should run, and compare clocks; else take the node out of the registry",
	signed.Untrusted:    "if the service is yours, issue its identity from an authority in this one's ca.crt or trust/",
	signed.Revoked:      "stop the service, or give it new keys with 'signet issue --force'",
	signed.Unauthorised: "register under the name in the identity, add the name with 'signet issue --dns', or allow it with signed.Allow and --allow",
	signed.Replayed:     "nothing, if it is gone in a minute; else look who puts old records back",
	signed.Equivocation: "give each process a node id of its own; if they have, the signer's key is in other hands: revoke it",
	signed.Altered:      "look who else writes to the registry: what the service signed was changed afterwards",
	signed.Endpoints:    "nothing, if replicas of one version have different endpoints and the registry merges them; else look who writes to the registry",
	signed.Metadata:     "nothing, if replicas of one version have different metadata and the registry merges them; else look who writes to the registry",
	signed.Duplicate:    "give each node an id of its own",
}

func (s *session) printVerified(v *verified) error {
	if s.json {
		return s.printJSON(v)
	}
	now := time.Now()
	if len(v.Nodes) > 0 {
		if err := s.printNodes(v.Nodes, now); err != nil {
			return err
		}
		s.printRefusals(v.Nodes)
		fmt.Fprintln(s.stdout)
	}
	for _, service := range v.NotFound {
		fmt.Fprintf(s.stdout, "%s has no node in the registry\n", cell(service))
	}
	if len(v.Nodes) == 0 && len(v.NotFound) == 0 {
		_, err := fmt.Fprintln(s.stdout, "Nothing is registered.")
		return err
	}
	_, err := fmt.Fprintf(s.stdout, "As seen by %s: %d trusted, %d withdrawn, %d to look at\n",
		printable(v.Identity), v.Trusted, v.Withdrawn, v.Refused)
	return err
}

func (s *session) printNodes(nodes []nodeInfo, now time.Time) error {
	tw := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "STATUS\tSERVICE\tVERSION\tNODE\tADDRESS\tSIGNER\tTIME LEFT")
	for _, n := range nodes {
		left := "-"
		if n.Until != nil && !n.Withdrawn {
			left = span(n.Until.Sub(now))
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			n.status(), cell(n.Service), cell(n.Version), cell(n.Node), cell(n.Address), n.signer(), left)
	}
	return tw.Flush()
}

// status is one word: why the node is not used, or that it is.
func (n *nodeInfo) status() string {
	switch {
	case n.Reason != "":
		return string(n.Reason)
	case n.Withdrawn:
		return "withdrawn"
	}
	return "trusted"
}

func (n *nodeInfo) signer() string {
	switch {
	case n.Signer != "":
		return printable(n.Signer)
	case n.Claimed != "":
		return "claims " + printable(n.Claimed)
	}
	return "-"
}

func (s *session) printRefusals(nodes []nodeInfo) {
	for _, n := range nodes {
		if n.Reason != "" {
			fmt.Fprintf(s.stdout, "\n%s: %s of %s at %s\n  %s\n  do: %s\n",
				n.Reason, cell(n.Node), cell(n.Service), cell(n.Address), printable(n.Detail), printable(n.Remedy))
		}
	}
}

// cell is a word of a table: what has spaces or drives terminals is quoted, so that
// no name looks like two columns.
func cell(text string) string {
	const most = 64
	word := func(r rune) bool {
		return r != '"' && r != unicode.ReplacementChar && unicode.IsPrint(r) && !unicode.IsSpace(r)
	}
	switch {
	case text == "":
		return "-"
	case len(text) > most, strings.ContainsFunc(text, func(r rune) bool { return !word(r) }):
		return keys.Quote(text)
	}
	return text
}
