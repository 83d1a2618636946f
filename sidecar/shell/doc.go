// Package shell finds the simple commands (POSIX.1-2024 XCU 2.9.1) that a shell would run if it were given a text, or
// that the operating system would run if it were given a list of words: through pipes, lists, substitutions, and
// through the programs that run other programs (sudo, env, xargs, find -exec, sh -c).
//
// It resolves only what every POSIX shell reads alike (dash, busybox ash, ksh, bash). A word that depends on more than
// the text (a variable, a substitution, a pathname that is expanded), on which shell reads it, or on what a program
// makes of its arguments is marked in policy.Argv.Unresolved, with the reason; no command is left out. It is pure: no
// processes, no files, no environment.
package shell
