// Package sshserver runs a throw-away sshd for tests, from Debian's own packages: downloaded with apt-get, unpacked
// with dpkg -x into an ignored folder of the repository, installed nowhere.
//
// The server listens on loopback alone and runs as root, as sshd does, in a mount and a process namespace of its own:
// its users are in a passwd file that only it sees, and every process that a session started ends with it.
package sshserver
