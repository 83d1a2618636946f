package policy

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// SSHSettings is what the policies of one destination say beside their rules, merged.
type SSHSettings struct {
	// User is the user on the server whatever the agent asks for; Users, where not nil, are those that it may choose
	// from.
	User  string
	Users []string
	// KnownHosts is the server's identity, in the format of OpenSSH's known_hosts.
	KnownHosts []byte
	// HasLease says that a credential is leased for Lease; else the server has to accept the user without one.
	HasLease bool
	Lease    LeaseRef
	// Certified says that what is leased is a certificate for a key of the sidecar's own.
	Certified bool
	// Interpret says that every policy asks for scripts to be interpreted.
	Interpret bool
	// Masking holds every row of every policy. Rows of an Audit policy count too, because masking refuses nothing.
	Masking []Masking
}

func checkSSH(at string, s *SSH) error {
	if s.User != "" && len(s.Users) > 0 {
		return fmt.Errorf("%s: ssh.users: at most one of user and users may be set", at)
	}
	for _, u := range append([]string{s.User}, s.Users...) {
		// A user's name is a field of its own in SSH, but a person reads it in one line.
		if strings.ContainsFunc(u, func(r rune) bool { return r <= ' ' || r == 0x7F }) {
			return fmt.Errorf("%s: ssh.user: %q is not a user's name", at, u)
		}
	}
	return nil
}

func mergeSSH(targets []*compiledTarget) (settings *SSHSettings, conflict string) {
	s := &SSHSettings{Interpret: true}
	var named, known, leased *compiledTarget // the targets that decided User, KnownHosts and Lease
	for _, t := range targets {
		ssh := t.target.SSH
		switch {
		case ssh.User != "" && named == nil:
			named, s.User = t, ssh.User
		case ssh.User != "" && ssh.User != s.User:
			conflict = "policies " + named.policy.name + " and " + t.policy.name + " name different users (ssh.user) for one destination"
		}
		s.Interpret = s.Interpret && ssh.Interpret
		if len(ssh.Users) > 0 {
			if s.Users == nil {
				s.Users = slices.Clone(ssh.Users)
			} else {
				s.Users = slices.DeleteFunc(s.Users, func(u string) bool { return !slices.Contains(ssh.Users, u) })
			}
		}
		switch {
		case known == nil:
			known, s.KnownHosts = t, ssh.KnownHosts
		case !bytes.Equal(ssh.KnownHosts, s.KnownHosts):
			conflict = "policies " + known.policy.name + " and " + t.policy.name + " know the server by different keys (ssh.knownHosts)"
		}
		if ssh.HasCredentials {
			if leased == nil {
				leased = t
				s.Certified = ssh.Certified
				s.HasLease, s.Lease = true, LeaseRef{Policy: t.policy.name, Target: t.target.Name}
			} else if first := leased.target.SSH; first.CredentialsID == "" || first.CredentialsID != ssh.CredentialsID {
				conflict = "policies " + leased.policy.name + " and " + t.policy.name + " give different credentials (ssh.credentials) for one destination"
			}
		}
		s.Masking = append(s.Masking, ssh.Masking...)
	}
	if s.User != "" && s.Users != nil && !slices.Contains(s.Users, s.User) {
		conflict = "policy " + named.policy.name + " says user " + s.User + " (ssh.user), which another policy does not list (ssh.users)"
	}
	return s, conflict
}
