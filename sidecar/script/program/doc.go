// Package program runs a shell program without a shell: variables, loops, functions and pipes are the interpreter's, and
// every command that it comes to is handed to the caller as the words that were made of it.
//
// The interpreter (mvdan.cc/sh/v3/interp) is made for the machine that it runs on. What it would do there beside its
// handlers is refused before it runs: named pipes for process substitution, the password file for ~user, process ids,
// and builtins that look at files.
//
// It panics on some programs, in goroutines of its own too (pipes), where no caller can recover, and has no hook at
// which the memory of an expansion could be bounded exactly. So it is to be run in a process of its own, with a limit
// on its memory, and never in one that serves others.
package program
