package etcd_test

import (
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-signet/signet/e2e/internal/etcdtest"
	"github.com/go-signet/signet/registry/etcd"
	"go-micro.dev/v4/registry"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// TestSameValueWithoutTheLease puts our own value there again, but so that it would
// outlive us.
func TestSameValueWithoutTheLease(t *testing.T) {
	s := etcdtest.Start(t)
	c := s.Client()
	r := inClear(t, []string{s.Addr()})
	register(t, r, node("greeter", "1", "10.0.0.1:80"), time.Minute)
	value, lease, _ := key(t, c, greeterKey)
	put(t, c, greeterKey, value)
	eventually(t, "the record is under our lease again", func() bool {
		_, now, _ := key(t, c, greeterKey)
		return now == lease
	})
}

// bare runs an empty etcd behind p.
func bare(t *testing.T, p *etcdtest.Proxy, change func(*embed.Config)) *embed.Etcd {
	t.Helper()
	conf := embed.NewConfig()
	conf.Dir = filepath.Join(t.TempDir(), "data")
	conf.TickMs, conf.ElectionMs = 50, 500
	conf.UnsafeNoFsync = true
	conf.BcryptCost = 4
	conf.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	client, peer := url.URL{Scheme: "http", Host: "127.0.0.1:0"}, url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	conf.ListenClientUrls, conf.AdvertiseClientUrls = []url.URL{client}, []url.URL{{Scheme: "http", Host: p.Addr()}}
	conf.ListenPeerUrls = []url.URL{peer}
	conf.InitialCluster = conf.InitialClusterFromName(conf.Name)
	if change != nil {
		change(conf)
	}
	e, err := embed.StartEtcd(conf)
	if err != nil {
		t.Fatal(err)
	}
	<-e.Server.ReadyNotify()
	p.SetTarget(e.Clients[0].Addr().String())
	p.Pass()
	return e
}

// TestEtcdBeginsAnew loses all of etcd's data, and with them the revisions.
func TestEtcdBeginsAnew(t *testing.T) {
	p := etcdtest.NewProxy(t, "")
	e := bare(t, p, nil)
	r := inClear(t, []string{p.Addr()})
	for range 50 {
		register(t, r, node("old", "1", "10.0.0.1:80"), 0)
		deregister(t, r, node("old", "1", "10.0.0.1:80"))
	}
	register(t, r, node("old", "1", "10.0.0.1:80"), 0)
	w := watch(t, inClear(t, []string{p.Addr()}), registry.WatchService("greeter"))
	p.Refuse()
	e.Close()
	e = bare(t, p, nil)
	defer func() { p.Refuse(); e.Close() }()
	register(t, inClear(t, []string{p.Addr()}), node("greeter", "1", "10.0.0.1:80"), 0)
	within(t, 2*time.Minute, "the watcher", func() {
		if result, err := w.Next(); err != nil || result.Action != "create" || result.Service.Name != "greeter" {
			t.Errorf("got %v, %v", result, err)
		}
	})
	eventually(t, "the record without a lease is back", func() bool { return addressOf(r, "old") != "" })
}

// TestTokenOfTheWatchEnds begins a watch after the token has ended with which an
// earlier one began.
func TestTokenOfTheWatchEnds(t *testing.T) {
	p := etcdtest.NewProxy(t, "")
	e := bare(t, p, func(c *embed.Config) { c.AuthTokenTTL = 1 })
	defer func() { p.Refuse(); e.Close() }()
	c := rootOf(t, p.Addr())
	log := newLogs()
	r := inClear(t, []string{p.Addr()}, etcd.Auth("root", etcdtest.RootPassword), registry.Logger(log))
	watch(t, r, registry.WatchService("other"))
	register(t, r, node("kept", "1", "10.0.0.1:80"), 2*time.Second)
	_, lease, rev := key(t, c, "/micro/registry/kept/1")
	untilOver(t, c, 4)

	w := watch(t, r, registry.WatchService("greeter"))
	for range 5 {
		register(t, r, node("greeter", "1", "10.0.0.1:80"), time.Minute)
		deregister(t, r, node("greeter", "1", "10.0.0.1:80"))
		want(t, w, "create greeter/1", "delete greeter/1")
	}
	if log.contain("invalid auth token") {
		t.Error("a watch was refused")
	}
	if _, now, nowRev := key(t, c, "/micro/registry/kept/1"); now != lease || nowRev != rev {
		t.Error("the lease was not kept alive")
	}
}

// rootOf makes an etcd refuse who has no account, and returns a client that has one.
func rootOf(t *testing.T, addr string) *clientv3.Client {
	t.Helper()
	conf := clientv3.Config{Endpoints: []string{"http://" + addr}, Logger: zap.NewNop()}
	c, err := clientv3.New(conf)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := t.Context()
	for _, err := range []error{
		second(c.UserAdd(ctx, "root", etcdtest.RootPassword)), second(c.RoleAdd(ctx, "root")),
		second(c.UserGrantRole(ctx, "root", "root")), second(c.AuthEnable(ctx)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	conf.Username, conf.Password = "root", etcdtest.RootPassword
	root, err := clientv3.New(conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root
}

// untilOver waits until a lease that nobody keeps alive has ended.
func untilOver(t *testing.T, c *clientv3.Client, seconds int64) {
	t.Helper()
	witness, err := c.Grant(t.Context(), seconds)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the time passes", func() bool {
		left, err := c.TimeToLive(t.Context(), witness.ID)
		return err == nil && left.TTL <= 0
	})
}

// TestTokenComesLate has a server that is silent for longer than one request for a
// token takes, and for less than the timeout.
func TestTokenComesLate(t *testing.T) {
	p := etcdtest.NewProxy(t, "")
	e := bare(t, p, nil)
	defer func() { p.Refuse(); e.Close() }()
	rootOf(t, p.Addr())
	const timeout = 20 * time.Second
	r := inClear(t, []string{p.Addr()}, etcd.Auth("root", etcdtest.RootPassword), registry.Timeout(timeout))
	p.Blackhole()
	defer time.AfterFunc(timeout/2, p.Pass).Stop()
	if err := r.Register(node("greeter", "1", "10.0.0.1:80")); err != nil {
		t.Error(err)
	}
}

// TestSmallRecordsThatGrow has values of three bytes that take twenty times as much
// in memory.
func TestSmallRecordsThatGrow(t *testing.T) {
	s := etcdtest.Start(t)
	c := s.Client()
	empty := strings.TrimSuffix(strings.Repeat("{},", 30000), ",")
	for i := range 10 {
		put(t, c, "/micro/registry/greeter/"+id(i), `{"name":"greeter","nodes":[{"id":"`+id(i)+`"}],"endpoints":[{"request":{"values":[`+empty+`]}}]}`)
	}
	r := inClear(t, []string{s.Addr()}, etcd.Limit(etcd.Limits{Total: 4 << 20}))
	found, err := r.GetService("greeter")
	if err != nil || len(found) != 1 || len(found[0].Nodes) != 2 {
		t.Errorf("got %d services, %v, want one with 2 nodes", len(found), err)
	}
}
