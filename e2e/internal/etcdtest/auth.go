package etcdtest

import (
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// RootPassword is the password of the user root, once EnableAuth has run.
const RootPassword = "root password"

// Account is a user with a role of its own.
type Account struct {
	Name string
	// Password is empty for a user who is known by the common name of its client
	// certificate only, which for an identity is its service name.
	Password string
	// Write and Read are key prefixes that the user may write (and read), or read.
	Write, Read []string
}

// EnableAuth makes the accounts, and etcd refuse everybody else. It returns a client
// of the user root.
func (s *Server) EnableAuth(accounts ...Account) *clientv3.Client {
	s.t.Helper()
	c := s.Client()
	for _, a := range append([]Account{{Name: "root", Password: RootPassword}}, accounts...) {
		addAccount(s.t, c, a)
	}
	if _, err := c.AuthEnable(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	return s.ClientAs("root", RootPassword)
}

func addAccount(t testing.TB, c *clientv3.Client, a Account) {
	t.Helper()
	ctx := t.Context()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("account %s: %v", a.Name, err)
		}
	}
	must(c.UserAddWithOptions(ctx, a.Name, a.Password, &clientv3.UserAddOptions{NoPassword: a.Password == ""}))
	must(c.RoleAdd(ctx, a.Name))
	must(c.UserGrantRole(ctx, a.Name, a.Name))
	for _, p := range a.Write {
		must(c.RoleGrantPermission(ctx, a.Name, p, clientv3.GetPrefixRangeEnd(p), clientv3.PermissionType(clientv3.PermReadWrite)))
	}
	for _, p := range a.Read {
		must(c.RoleGrantPermission(ctx, a.Name, p, clientv3.GetPrefixRangeEnd(p), clientv3.PermissionType(clientv3.PermRead)))
	}
}
