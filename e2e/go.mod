module github.com/go-signet/signet/e2e

go 1.26.0

require github.com/go-signet/signet v0.0.0

replace github.com/go-signet/signet => ../
