//go:build !unix

package keys

// Where there are no Unix modes, who may read a file is for access control lists
// to say, and they are not checked.
const (
	openNonblock = 0
	modesMatter  = false
)
