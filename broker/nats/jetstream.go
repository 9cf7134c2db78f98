package nats

import (
	"context"

	"go-micro.dev/v4/broker"
)

type streamSettings struct{}

func streamOf(*broker.Options) (*streamSettings, error) { return nil, nil }

func (l *link) openStream() error { return nil }

func (l *link) store(context.Context, string, *broker.Message) error { return nil }

type consumer struct{}

func (s *subscription) consume(*link) (bound, error) { return nil, nil }
