package seal

import (
	"testing"

	"github.com/go-signet/signet/bench/internal/measure"
)

func TestMain(m *testing.M) {
	measure.Main(m, "golang.org/x/crypto", "github.com/nats-io/nkeys", "filippo.io/age")
}
