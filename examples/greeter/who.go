package main

import (
	"context"
	"log"

	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/server"
)

// logCaller logs who makes each call. It is here for curiosity: calls are as
// secure without it. An authorization by caller would stand in this place.
func logCaller(next server.HandlerFunc) server.HandlerFunc {
	return func(ctx context.Context, req server.Request, rsp any) error {
		who := "somebody unknown: this transport does not say"
		if peer, ok := identity.PeerFromContext(ctx); ok {
			who = peer.ID
		}
		log.Printf("%s called by %s", req.Endpoint(), who)
		return next(ctx, req, rsp)
	}
}
