package trust

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"net"
	"slices"
	"strconv"
	"strings"
)

// SSHHost is a destination as agents name it: a host name or an address, and a port.
type SSHHost struct {
	Host string
	Port uint16
}

// KnownHosts gives the lines by which agents know the sidecar at these hosts (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT):
// one authority for all, for clients that take host certificates, and a plain line for each host, because Paramiko
// and libssh2 know neither wildcards nor certificates.
func (k *HostKeys) KnownHosts(hosts []SSHHost) []byte {
	lines := make([]string, 0, len(hosts)+1)
	plain := authorizedKey(k.Host)
	for _, h := range hosts {
		if !validName(h.Host) && net.ParseIP(h.Host) == nil {
			continue
		}
		name := strings.ToLower(h.Host)
		if h.Port != 22 {
			name = "[" + name + "]:" + strconv.Itoa(int(h.Port))
		}
		lines = append(lines, name+" "+plain)
	}
	slices.Sort(lines)
	lines = append([]string{"@cert-authority * " + authorizedKey(k.Authority)}, slices.Compact(lines)...)
	return []byte(strings.Join(lines, "\n") + "\n")
}

// authorizedKey is the key as RFC 4253 6.6 and RFC 8709 4 encode it, in base64 behind its type.
func authorizedKey(k ed25519.PrivateKey) string {
	const algorithm = "ssh-ed25519"
	var blob []byte
	for _, field := range [][]byte{[]byte(algorithm), k.Public().(ed25519.PublicKey)} {
		blob = append(binary.BigEndian.AppendUint32(blob, uint32(len(field))), field...)
	}
	return algorithm + " " + base64.StdEncoding.EncodeToString(blob)
}
