package envelope

import "golang.org/x/sys/cpu"

// PreferredSuite is the one that this processor is fast at: AES where it has instructions
// for it and for GCM.
func PreferredSuite(postQuantum bool) Suite {
	aes := cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ || cpu.ARM64.HasAES && cpu.ARM64.HasPMULL || cpu.S390X.HasAES && cpu.S390X.HasGHASH
	switch {
	case postQuantum && aes:
		return PQAES256GCM
	case postQuantum:
		return PQChaCha20Poly1305
	case aes:
		return AES256GCM
	}
	return ChaCha20Poly1305
}
