// Package ssh holds what an adversary tries against the SSH path of a sidecar, and the tests that try it: every case is
// run through the sidecar's own code against a real sshd, whose user could do anything in its home.
//
// A case is judged by what ran on the server, not by what the sidecar says of it: the user's home must be as it was,
// byte by byte, nothing may listen or be reached that was not, and what the adversary received may hold no protected
// value. What was refused must say by which policy, must be recorded, and the connection must live on.
//
// Commands are data: one file a family under cases, each case a sentence and a text for the server's shell. The same
// text is also given to the server past the sidecar, where it must do harm: a case that does none there proves nothing,
// and says why it is kept. What needs other messages than one exec is in tables of the tests: of them those over sftp are
// judged in the same way, by the folders that must not change and by bytes of which nothing may be told.
package ssh
