package etcd

import (
	"context"
	"errors"

	"github.com/go-signet/signet/internal/keys"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// pageSize is how many keys are asked for at once; fewer if they are large.
const pageSize = 256

// record is what was read at a key and found good.
type record struct {
	service, id string
	value       []byte
	version     string // of the service
	rev         int64  // of the write
	size        int    // in memory: of the value, or of what is made of it
}

// decode makes a service of the record that shares nothing with anybody.
func (rec *record) decode() *stored {
	s, err := decode(rec.service, rec.id, rec.value, len(rec.value))
	if err != nil {
		return nil // it was good when the record was made
	}
	return s
}

// readRecord judges a key and its value. What is not a record of ours is skipped.
func (s *settings) readRecord(kv *mvccpb.KeyValue) (*record, *stored) {
	service, id, ok := parseKey(s.prefix, string(kv.Key))
	if !ok {
		s.log.Warnf("etcd: skipping key %s: it is not made of a service and a node", keys.Quote(string(kv.Key)))
		return nil, nil
	}
	found, elements, err := decodeCount(service, id, kv.Value, s.limits.Record)
	if err != nil {
		s.log.Warnf("etcd: skipping the record at %s: %v", keys.Quote(string(kv.Key)), err)
		return nil, nil
	}
	return &record{service: service, id: id, value: kv.Value, version: found.Version, rev: kv.ModRevision, size: max(len(kv.Value), elementSize*elements)}, found
}

// snapshot reads what is under a prefix as it was at one revision, which a majority
// of etcd had agreed on. It reads in pages, so that no message is too large.
func (r *etcdRegistry) snapshot(ctx context.Context, s *settings, prefix string) (records []*record, rev int64, err error) {
	for {
		records, rev, err = r.readPages(ctx, s, prefix)
		// A compaction between two pages: begin again, at a newer revision.
		if !errors.Is(err, rpctypes.ErrCompacted) {
			return records, rev, err
		}
	}
}

func (r *etcdRegistry) readPages(ctx context.Context, s *settings, prefix string) (records []*record, rev int64, err error) {
	end := clientv3.GetPrefixRangeEnd(prefix)
	from, limit, total := prefix, int64(pageSize), 0
	for {
		resp, err := r.readPage(ctx, prefix, from, end, &limit, rev)
		if err != nil {
			return nil, 0, err
		}
		if rev == 0 {
			rev = resp.Header.Revision
		}
		for _, kv := range resp.Kvs {
			rec, _ := s.readRecord(kv)
			if rec == nil {
				continue
			}
			if len(records) == s.limits.Records || total+rec.size > s.limits.Total {
				s.log.Warnf("etcd: there are more than %d records or %d bytes under %s: the rest is left out: raise etcd.Limits or deregister some", s.limits.Records, s.limits.Total, keys.Quote(prefix))
				return records, rev, nil
			}
			total += rec.size
			records = append(records, rec)
		}
		if !resp.More || len(resp.Kvs) == 0 {
			return records, rev, nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// readPage reads at most *limit keys, and halves it as long as they are too large.
func (r *etcdRegistry) readPage(ctx context.Context, what, from, end string, limit *int64, rev int64) (resp *clientv3.GetResponse, err error) {
	err = r.call(ctx, "read "+keys.Quote(what), func(ctx context.Context, c *clientv3.Client) error {
		for {
			opts := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(*limit)}
			if rev != 0 {
				opts = append(opts, clientv3.WithRev(rev))
			}
			if resp, err = c.Get(ctx, from, opts...); status.Code(err) != codes.ResourceExhausted || *limit == 1 {
				return err
			}
			*limit = max(*limit/4, 1)
		}
	})
	return resp, err
}
