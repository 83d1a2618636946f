// Package sftp stands between an sftp client and a server: it reads every request of version 3 of the protocol
// (draft-ietf-secsh-filexfer-02) and of OpenSSH's extensions (OpenSSH PROTOCOL, section 4), has each judged by what is
// done and by the path as the server resolves it, and hands on what was let through. It opens no connection itself.
package sftp
