// Package processes tests what an operator does: the signet command, and the
// greeter and caller examples as processes of their own, told by nothing but
// their environment that they are to be secure.
package processes
