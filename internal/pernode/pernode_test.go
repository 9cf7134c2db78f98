package pernode_test

import (
	"context"
	"testing"

	"github.com/go-signet/signet/internal/pernode"
	"go-micro.dev/v4/registry"
)

func TestAsked(t *testing.T) {
	type other struct{}
	ctx := registry.GetContext(context.WithValue(t.Context(), other{}, "kept"))
	tests := []struct {
		name string
		opts []registry.GetOption
		want bool
	}{
		{"no options", nil, false},
		{"context without it", []registry.GetOption{ctx}, false},
		{"nil context", []registry.GetOption{pernode.Option()}, true},
		{"after a context", []registry.GetOption{ctx, pernode.Option()}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var o registry.GetOptions
			for _, opt := range tt.opts {
				opt(&o)
			}
			if got := pernode.Asked(&o); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestNilOptionsAreNoQuestion(t *testing.T) {
	if pernode.Asked(nil) {
		t.Error("nil options asked")
	}
}

func TestTheContextIsKept(t *testing.T) {
	type other struct{}
	var o registry.GetOptions
	registry.GetContext(context.WithValue(t.Context(), other{}, "kept"))(&o)
	pernode.Option()(&o)
	if got := o.Context.Value(other{}); got != "kept" {
		t.Errorf("the context lost its value: got %v", got)
	}
}
