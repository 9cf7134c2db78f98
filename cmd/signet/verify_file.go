package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"go-micro.dev/v4/registry"
)

// maxRegistrations bounds a file of registrations, in bytes.
const maxRegistrations = 64 << 20

// registrations is what a registry held when somebody wrote it to a file.
type registrations struct {
	names  []string
	byName map[string][]*registry.Service
}

// readRegistrations reads JSON values one after the other. Each is a registration,
// as etcd holds it, or an array of them.
func readRegistrations(s *session, path string) (*registrations, error) {
	name, data, err := path, []byte(nil), error(nil)
	if path == "-" {
		name = "stdin"
		data, err = io.ReadAll(io.LimitReader(s.stdin, maxRegistrations+1))
		if err == nil && len(data) > maxRegistrations {
			err = fmt.Errorf("%s: more than %d bytes", name, maxRegistrations)
		}
	} else {
		data, err = readBounded(path, maxRegistrations)
	}
	if err != nil {
		return nil, err
	}
	out := &registrations{byName: make(map[string][]*registry.Service)}
	values := json.NewDecoder(bytes.NewReader(data))
	for n := 1; ; n++ {
		err := out.next(values)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, withHint(fmt.Errorf("%s: value %d is not a registration: %w", name, n, err),
				"want registrations in JSON, one after the other or in arrays, such as 'etcdctl get --prefix --print-value-only /micro/registry/' prints")
		}
	}
}

// next takes one value. The error is io.EOF after the last.
func (r *registrations) next(values *json.Decoder) error {
	var value json.RawMessage
	if err := values.Decode(&value); err != nil {
		return err
	}
	if value[0] != '[' {
		value = append(append([]byte{'['}, value...), ']')
	}
	var services []*registry.Service
	if err := json.Unmarshal(value, &services); err != nil {
		return err
	}
	for _, s := range services {
		if s == nil {
			continue
		}
		if _, known := r.byName[s.Name]; !known {
			r.names = append(r.names, s.Name)
		}
		r.byName[s.Name] = append(r.byName[s.Name], s)
	}
	return nil
}

func (r *registrations) ListServices(...registry.ListOption) (services []*registry.Service, err error) {
	for _, name := range r.names {
		services = append(services, &registry.Service{Name: name})
	}
	return services, nil
}

func (r *registrations) GetService(name string, _ ...registry.GetOption) ([]*registry.Service, error) {
	return r.byName[name], nil
}
