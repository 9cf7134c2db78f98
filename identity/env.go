package identity

import (
	"fmt"
	"os"
	"sync"

	"github.com/go-signet/signet/internal/keys"
)

// EnvDir names the environment variable that names the identity's directory, and
// EnvGroupReadable the one that, set to "true", stands for GroupReadable.
const (
	EnvDir           = "SIGNET_IDENTITY"
	EnvGroupReadable = "SIGNET_IDENTITY_GROUP_READABLE"
)

// FromEnv returns the identity in the directory that SIGNET_IDENTITY names, read
// and followed as Load does. The error is ErrNoIdentity if it is not set.
//
// While an identity from the same settings is open, each call returns that one, so
// that all plugins of a process share its peer directory and its box keys. Call
// Close exactly once for each call that succeeded: the last ends the identity, and
// one too many ends it for the others. After the last, and after an error, a call
// loads anew. The settings are the values of the two variables: when they change,
// the next call loads another identity, and what is open stays as it is.
func FromEnv() (*Identity, error) {
	from, err := environment()
	if err != nil {
		return nil, err
	}
	return fromEnv.acquire(from)
}

// envSettings are what the environment says. Paths are compared as they are
// written: to clean one could make it lead elsewhere, past a symbolic link.
type envSettings struct {
	dir           string
	groupReadable bool
}

func environment() (envSettings, error) {
	from := envSettings{dir: os.Getenv(EnvDir)}
	if from.dir == "" {
		return from, fmt.Errorf("%w: set %s to an identity's directory, or give the plugin an identity", ErrNoIdentity, EnvDir)
	}
	switch value := os.Getenv(EnvGroupReadable); value {
	case "", "false":
	case "true":
		from.groupReadable = true
	default:
		return from, fmt.Errorf("identity: %s is %s: want true or false", EnvGroupReadable, keys.Quote(value))
	}
	return from, nil
}

func (from envSettings) load() (*Identity, error) {
	if from.groupReadable {
		return Load(from.dir, GroupReadable())
	}
	return Load(from.dir)
}

// fromEnv is the only state of this package that is not in a value somebody holds:
// the environment belongs to the process, and plugins that know nothing of each
// other have nowhere else to meet.
var fromEnv = sharedIdentities{load: envSettings.load}

// sharedIdentities are the identities from the environment that are open or being
// loaded.
type sharedIdentities struct {
	load func(envSettings) (*Identity, error)

	mu   sync.Mutex // never held while files are read or loggers run
	open map[envSettings]*sharedIdentity
}

type sharedIdentity struct {
	users int // calls of acquire without their release; under sharedIdentities.mu
	// load loads the identity the first time, and returns the same ever after.
	load func() (*Identity, error)
}

func (s *sharedIdentities) acquire(from envSettings) (*Identity, error) {
	s.mu.Lock()
	shared := s.open[from]
	if shared == nil {
		if s.open == nil {
			s.open = make(map[envSettings]*sharedIdentity)
		}
		shared = s.add(from)
	}
	shared.users++
	s.mu.Unlock()
	return shared.load()
}

func (s *sharedIdentities) add(from envSettings) *sharedIdentity {
	shared := &sharedIdentity{}
	shared.load = sync.OnceValues(func() (id *Identity, err error) {
		defer func() {
			if id == nil { // in a panic of the user's logger too
				s.mu.Lock()
				s.forget(from, shared)
				s.mu.Unlock()
			}
		}()
		if id, err = s.load(from); err != nil {
			return nil, err
		}
		id.release = func() (last bool) { return s.release(from, shared) }
		return id, nil
	})
	s.open[from] = shared
	return shared
}

// release gives one acquire back, and reports whether it was the last. No acquire
// comes between that and forgetting: it would get an identity about to end.
func (s *sharedIdentities) release(from envSettings, shared *sharedIdentity) (last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	shared.users--
	if shared.users > 0 {
		return false
	}
	s.forget(from, shared)
	return true
}

// forget makes the next acquire load anew, unless that has happened already. The
// lock is held.
func (s *sharedIdentities) forget(from envSettings, shared *sharedIdentity) {
	if s.open[from] == shared {
		delete(s.open, from)
	}
}
