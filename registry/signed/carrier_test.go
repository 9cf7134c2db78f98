package signed

import (
	"bytes"
	"errors"
	"maps"
	"strings"
	"testing"

	"go-micro.dev/v4/registry"
	"pgregory.net/rapid"
)

// carried returns node metadata with a record of that many bytes, beside an entry
// that is not ours.
func carried(t testing.TB, size int) map[string]string {
	t.Helper()
	parts, err := split(bytes.Repeat([]byte{0xfb}, size))
	if err != nil {
		t.Fatal(err)
	}
	node := &registry.Node{Metadata: map[string]string{"region": "north"}}
	carry(node, parts)
	return node.Metadata
}

func TestCarrierRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.OneOf(
			rapid.IntRange(1, maxRecordSize),
			rapid.SampledFrom([]int{1, 374, 375, 376, 749, 750, 751, maxRecordSize - 1, maxRecordSize}),
		).Draw(t, "size")
		record := bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, size)
		parts, err := split(record)
		if err != nil {
			t.Fatal(err)
		}
		// What was there of ours goes, what is not ours stays.
		node := &registry.Node{Metadata: map[string]string{"a": "b", "signet": "c", "signet-7": "old", "signet-31": "old", "signet-x": ""}}
		carry(node, parts)
		if node.Metadata["a"] != "b" || node.Metadata["signet"] != "c" || len(node.Metadata) != 2+len(parts) {
			t.Errorf("metadata %v", node.Metadata)
		}
		got, err := join(node.Metadata)
		if err != nil {
			t.Fatal(err)
		}
		for i, part := range got {
			if len(part) > partSize || i < len(got)-1 && len(part) != partSize {
				t.Errorf("part %d has %d characters", i, len(part))
			}
		}
		data, err := unpack(got)
		if err != nil || !bytes.Equal(data, record) {
			t.Errorf("%d bytes, %v; want %d", len(data), err, len(record))
		}
	})
}

func TestSplitRefusesTooLong(t *testing.T) {
	if parts, err := split(make([]byte, maxRecordSize)); err != nil || len(parts) != partsMost {
		t.Errorf("%d parts, %v", len(parts), err)
	}
	if _, err := split(make([]byte, maxRecordSize+1)); err == nil || !strings.Contains(err.Error(), "shorten the certificate chain") {
		t.Errorf("error %v", err)
	}
}

func TestCarryIntoNoMetadata(t *testing.T) {
	node := new(registry.Node)
	carry(node, []string{"x"})
	if !maps.Equal(node.Metadata, map[string]string{"signet-0": "x"}) {
		t.Errorf("metadata %v", node.Metadata)
	}
}

func TestJoinNothing(t *testing.T) {
	for name, metadata := range map[string]map[string]string{
		"nil": nil, "empty": {}, "foreign keys": {"signet": "a", "Signet-0": "b", " signet-0": "c"},
	} {
		t.Run(name, func(t *testing.T) {
			if parts, err := join(metadata); parts != nil || err != nil {
				t.Errorf("%q, %v", parts, err)
			}
		})
	}
}

// TestCarrierRefuses has a row for each way in which the keys of ours are no record.
func TestCarrierRefuses(t *testing.T) {
	tests := map[string]struct {
		modify func(map[string]string)
		says   string
	}{
		"first part missing":          {func(m map[string]string) { delete(m, "signet-0") }, "part 0 of 2 of a record is missing"},
		"middle part missing":         {func(m map[string]string) { delete(m, "signet-1") }, "part 1 of 2 of a record is missing"},
		"last part missing":           {func(m map[string]string) { delete(m, "signet-2") }, ""},
		"part too many":               {func(m map[string]string) { m["signet-3"] = "AAAA" }, "part 2 of a record has"},
		"part far too many":           {func(m map[string]string) { m["signet-9"] = "AAAA" }, "part 2 of a record has 2"},
		"number with a leading zero":  {func(m map[string]string) { m["signet-02"] = m["signet-2"]; delete(m, "signet-2") }, "part 2 of 3"},
		"number with a sign":          {func(m map[string]string) { m["signet-+2"] = m["signet-2"]; delete(m, "signet-2") }, "part 2 of 3"},
		"no number":                   {func(m map[string]string) { m["signet-"] = "AAAA" }, "part 2 of a record has 2"},
		"another key of ours":         {func(m map[string]string) { m["signet-key"] = "" }, "part 2 of a record has 2"},
		"parts exchanged":             {func(m map[string]string) { m["signet-1"], m["signet-2"] = m["signet-2"], m["signet-1"] }, "part 1 of a record has"},
		"part too short":              {func(m map[string]string) { m["signet-0"] = m["signet-0"][1:] }, "part 0 of a record has 499 characters"},
		"part too long":               {func(m map[string]string) { m["signet-0"] += "A" }, "part 0 of a record has 501 characters"},
		"last part empty":             {func(m map[string]string) { m["signet-2"] = "" }, "part 2 of a record has 0 characters"},
		"last part too long":          {func(m map[string]string) { m["signet-2"] = strings.Repeat("A", partSize+1) }, "part 2 of a record has 501 characters"},
		"a boundary moved":            {func(m map[string]string) { m["signet-0"], m["signet-1"] = m["signet-0"][:499], "A"+m["signet-1"] }, "part 0"},
		"33 parts":                    {func(m map[string]string) { maps.Copy(m, manyParts(33)) }, "33 parts of a record: at most 32"},
		"padding":                     {func(m map[string]string) { m["signet-2"] += "=" }, "not base64url"},
		"the other alphabet":          {func(m map[string]string) { m["signet-0"] = strings.ReplaceAll(m["signet-0"], "-", "+") }, "not base64url"},
		"bits after the end":          {func(m map[string]string) { m["signet-2"] = m["signet-2"][:len(m["signet-2"])-1] + "9" }, "not base64url"},
		"a character after the end":   {func(m map[string]string) { m["signet-2"] += "AAA" }, "not base64url"},
		"line break at the end":       {func(m map[string]string) { m["signet-2"] += "\n" }, "line breaks"},
		"line break in a part":        {func(m map[string]string) { m["signet-0"] = "\r" + m["signet-0"][1:] }, "line breaks"},
		"space":                       {func(m map[string]string) { m["signet-2"] += " " }, "not base64url"},
		"character beyond ASCII":      {func(m map[string]string) { m["signet-2"] += "é" }, "not base64url"},
		"characters that are not one": {func(m map[string]string) { m["signet-2"] += "\xff" }, "not base64url"},
	}
	good := carried(t, 751)
	if len(good) != 4 {
		t.Fatalf("metadata %v", good)
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			metadata := maps.Clone(good)
			tt.modify(metadata)
			parts, err := join(metadata)
			var data []byte
			if err == nil {
				data, err = unpack(parts)
			}
			if name == "last part missing" { // then it is a shorter record, for parseRecord to refuse
				if err != nil || len(data) != 750 {
					t.Errorf("%d bytes, %v", len(data), err)
				}
				return
			}
			if !errors.Is(err, errMalformed) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v; want %v that says %q", err, errMalformed, tt.says)
			}
			if data != nil {
				t.Error("data beside the error")
			}
		})
	}
}

func manyParts(n int) map[string]string {
	parts := make(map[string]string)
	for i := range n {
		parts[partKey(i)] = strings.Repeat("A", partSize)
	}
	return parts
}
