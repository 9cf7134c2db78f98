// Package envelope seals messages to several recipients, for a broker or any other
// carrier that is not to be trusted.
//
// What it guarantees. A message that opens was sealed by the holder of the sender's
// box key, for this topic, with these headers, and by nobody else: not by the
// carrier, and not by another recipient. Only the recipients named in its epoch can
// read it. There is exactly one key and one epoch that open a message.
//
// What it assumes. The caller decides which box keys are whose, whether that sender
// may write to that topic, and how old a message may be. Randomness is given to it
// and good. Private keys stay private: a recipient whose box key is stolen is read
// along with, and can be written to in the name of anybody who does not sign, and the
// thief of a sender's box key can write in its name, until the key is replaced;
// messages of epochs whose ephemeral key has been forgotten stay closed to the thief
// of the sender's key. Processes that share a box key are one recipient.
//
// What it does not protect. The sender's ID, the recipients' key ids, sizes (but for
// padding), times and the number of messages can be seen. A sender can deny a
// message to a third party, except where it signs. Loss and delay go unnoticed;
// repetition is noticed with Replay.
//
// It is pure: no clock, no network, nothing of go-micro, and no randomness but what it is
// given, except for the encapsulations of the post-quantum suites (see crypto/hpke).
// spec/envelope.md describes the bytes.
package envelope
