package encrypted

import (
	"context"
	"sync/atomic"

	"github.com/go-signet/signet/internal/envelope"
	"go-micro.dev/v4/client"
	"go-micro.dev/v4/registry"
)

// letter is a request of a call, on its way from our CallWrapper to the codec, which gets
// it as the body. Only so does a codec learn what node it is for, and can say that it was
// refused for want of its epoch.
type letter struct {
	client.Request
	body any
	to   string // the address of the node

	again *lacking // the request to send once more, or nil

	lacking  atomic.Pointer[lacking] // the request, if it was refused without its epoch
	answered atomic.Bool             // the one that was sent once more, by the service
}

// Body returns the letter as a whole.
func (l *letter) Body() any { return l }

// maxLean is the largest body that goes without its epoch, in bytes: what goes without is
// kept until it is answered, and beside a larger one the epoch is small.
const maxLean = 64 << 10

// lacking is a request that was refused without its epoch: the same message, with it.
type lacking struct {
	inline  []byte
	with    *sending
	binding [envelope.BindingSize]byte
	refusal error // what is told unless the service answers after all
}

// wrapCall keeps from going out in clear what go-micro sends past a codec, and sends a
// request once more, with its epoch, that was refused without.
func (e *engine) wrapCall(next client.CallFunc) client.CallFunc {
	return func(ctx context.Context, node *registry.Node, req client.Request, rsp any, opts client.CallOptions) error {
		if _, twice := req.Body().(*letter); twice {
			return next(ctx, node, req, rsp, opts)
		}
		body, err := checkCall(req, rsp)
		if err != nil {
			return err
		}
		l := &letter{Request: req, body: body, to: node.Address}
		if err = next(ctx, node, l, rsp, opts); err == nil {
			return nil
		}
		if lacks := l.lacking.Load(); lacks != nil {
			err = e.again(ctx, lacks, err, &letter{Request: req, body: body, to: node.Address, again: lacks}, func(l *letter) error {
				return next(ctx, node, l, rsp, opts)
			})
		}
		return restore(err)
	}
}

// again sends a request once more, with its epoch. Anybody may have refused the first, and
// the service may have carried it out: it is the same message, so that the replay window
// refuses this one then.
func (e *engine) again(ctx context.Context, lacks *lacking, refused error, l *letter, send func(*letter) error) error {
	err := refused
	if ctx.Err() == nil {
		err = send(l)
	}
	if err != nil && !l.answered.Load() {
		e.report.tell(Rejection{Reason: reasonOf(lacks.refusal), Err: lacks.refusal})
	}
	return err
}
