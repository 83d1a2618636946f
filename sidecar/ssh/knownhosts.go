package ssh

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what OpenSSH hashes names with
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
)

// knownHosts is a known_hosts file (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT) as it concerns one server.
type knownHosts struct {
	keys        []ssh.PublicKey
	authorities []ssh.PublicKey
	revoked     []ssh.PublicKey
}

// errUnknownHost is a server whose key the policy does not know.
var errUnknownHost = errors.New("the server's key is not the one that the policy knows")

// parseKnownHosts keeps the lines that are for the server under any of these names. A line that cannot be read makes all
// of it unusable: it might have revoked a key.
func parseKnownHosts(text []byte, hosts []string, port uint16) (*knownHosts, error) {
	k := &knownHosts{}
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		marker, patterns, key, _, _, err := ssh.ParseKnownHosts(line)
		if errors.Is(err, io.EOF) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("a known_hosts line cannot be read: %w", err)
		}
		switch marker {
		case "", "cert-authority", "revoked":
		default:
			return nil, fmt.Errorf("a known_hosts line has the marker @%s", marker)
		}
		if !slices.ContainsFunc(hosts, func(h string) bool { return lineMatches(patterns, h, port) }) {
			continue
		}
		switch marker {
		case "":
			k.keys = append(k.keys, key)
		case "cert-authority":
			k.authorities = append(k.authorities, key)
		case "revoked":
			k.revoked = append(k.revoked, key)
		}
	}
	if len(k.keys) == 0 && len(k.authorities) == 0 {
		return nil, fmt.Errorf("no known_hosts line is for %s port %d", strings.Join(hosts, ", "), port)
	}
	return k, nil
}

// lineMatches compares a line's host patterns with a server: names with * and ?, negated by !, [name]:port for ports
// other than 22, or one hashed name.
func lineMatches(patterns []string, host string, port uint16) bool {
	name := strings.ToLower(host)
	if port != 22 {
		name = "[" + name + "]:" + strconv.Itoa(int(port))
	}
	matched := false
	for _, p := range patterns {
		if strings.HasPrefix(p, "|") {
			matched = matched || hashMatches(p, name)
			continue
		}
		p = strings.ToLower(p)
		negated := strings.HasPrefix(p, "!")
		if !hostMatches(strings.TrimPrefix(p, "!"), name) {
			continue
		}
		if negated {
			return false
		}
		matched = true
	}
	return matched
}

// hashMatches compares with |1|salt|HMAC-SHA1(salt, name).
func hashMatches(pattern, name string) bool {
	fields := strings.Split(pattern, "|")
	if len(fields) != 4 || fields[1] != "1" {
		return false
	}
	salt, err := base64.StdEncoding.DecodeString(fields[2])
	if err != nil {
		return false
	}
	want, err := base64.StdEncoding.DecodeString(fields[3])
	if err != nil {
		return false
	}
	mac := hmac.New(sha1.New, salt)
	mac.Write([]byte(name))
	return hmac.Equal(mac.Sum(nil), want)
}

// hostMatches matches * against any run of characters and ? against one.
func hostMatches(pattern, name string) bool {
	star, mark := -1, 0
	p, n := 0, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p++
			n++
		case star >= 0:
			mark++
			p, n = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// callback verifies the server's key or certificate. hosts are the names of which its certificate must have one.
func (k *knownHosts) callback(hosts []string) ssh.HostKeyCallback {
	return func(_ string, _ net.Addr, key ssh.PublicKey) error {
		if certificate, ok := key.(*ssh.Certificate); ok {
			return k.checkCertificate(certificate, hosts)
		}
		if holds(k.revoked, key) {
			return fmt.Errorf("%w: %s is revoked", errUnknownHost, ssh.FingerprintSHA256(key))
		}
		if holds(k.keys, key) {
			return nil
		}
		return fmt.Errorf("%w: it showed %s %s", errUnknownHost, key.Type(), ssh.FingerprintSHA256(key))
	}
}

func (k *knownHosts) checkCertificate(c *ssh.Certificate, hosts []string) error {
	if c.CertType != ssh.HostCert {
		return fmt.Errorf("%w: it showed a certificate that is no host certificate", errUnknownHost)
	}
	if !holds(k.authorities, c.SignatureKey) || holds(k.revoked, c.SignatureKey) || holds(k.revoked, c.Key) {
		return fmt.Errorf("%w: it showed a certificate of %s", errUnknownHost, ssh.FingerprintSHA256(c.SignatureKey))
	}
	if len(c.ValidPrincipals) == 0 {
		// It would be for every host in the world.
		return fmt.Errorf("%w: its certificate names no host", errUnknownHost)
	}
	checker := ssh.CertChecker{}
	var err error
	for _, h := range hosts {
		for _, p := range c.ValidPrincipals {
			if hostMatches(strings.ToLower(p), strings.ToLower(h)) {
				if err = checker.CheckCert(p, c); err == nil {
					return nil
				}
			}
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errUnknownHost, err)
	}
	return fmt.Errorf("%w: its certificate is for %s", errUnknownHost, strings.Join(c.ValidPrincipals, ", "))
}

func holds(keys []ssh.PublicKey, key ssh.PublicKey) bool {
	return slices.ContainsFunc(keys, func(k ssh.PublicKey) bool { return bytes.Equal(k.Marshal(), key.Marshal()) })
}

// algorithms are those that a known key or authority can be proved by, certificates first.
func (k *knownHosts) algorithms() []string {
	var out []string
	if len(k.authorities) > 0 {
		out = append(out, ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
			ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01)
	}
	for _, key := range k.keys {
		names := []string{key.Type()}
		if key.Type() == ssh.KeyAlgoRSA {
			names = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
		}
		for _, name := range names {
			if !slices.Contains(out, name) && slices.Contains(ssh.SupportedAlgorithms().HostKeys, name) {
				out = append(out, name)
			}
		}
	}
	return out
}
