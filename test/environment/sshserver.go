package environment

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"path"
	"time"

	"golang.org/x/crypto/ssh"
)

// SSHServer is an sshd as a pod, behind a Service, whose only user logs in with a key.
type SSHServer struct {
	Namespace, Name string
	// Files are made in the user's home, by name, with the folders that a name has. All are the user's.
	Files map[string]string
	// Authority, where it is set, signs the certificates with which the user logs in; the server takes no key then.
	Authority ssh.PublicKey
	// KnownHosts knows the server by Host; UserKey is the user's private key, PEM. Both are set by Deploy.
	KnownHosts, UserKey []byte
}

// SSHUser is the server's user.
const SSHUser = "deploy"

// Host is the name by which agents know it.
func (s *SSHServer) Host() string {
	return fmt.Sprintf("%s.%s.svc.cluster.local", s.Name, s.Namespace)
}

// Deploy starts the server and waits until it serves.
func (s *SSHServer) Deploy(ctx context.Context, e *Environment) error {
	host, hostPEM, err := sshKey()
	if err != nil {
		return err
	}
	user, userPEM, err := sshKey()
	if err != nil {
		return err
	}
	s.KnownHosts = append([]byte(s.Host()+" "), ssh.MarshalAuthorizedKey(host)...)
	s.UserKey = userPEM
	encode := func(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
	keys, authority, serve := ssh.MarshalAuthorizedKey(user), []byte{}, "exec sshd-entrypoint"
	if s.Authority != nil {
		keys, authority = nil, ssh.MarshalAuthorizedKey(s.Authority)
		serve = "mkdir -p /run/sshd; cp /keys/authority /run/sshd/; " + certificateScript + "\n exec sshd-entrypoint " + certificateOptions
	}
	home, files := "/home/"+SSHUser, ""
	for name, content := range s.Files {
		file := home + "/" + name
		files += fmt.Sprintf("mkdir -p %s; echo %s | base64 -d >%s; ", path.Dir(file), encode([]byte(content)), file)
	}
	script := fmt.Sprintf("mkdir -p %[1]s; %[2]schown -R 2000:2000 %[1]s; %[3]s", home, files, serve)
	if _, err := e.Apply(ctx, fmt.Sprintf(`apiVersion: v1
kind: Secret
metadata: {name: %[2]s-server, namespace: %[1]s}
data: {host_key: %[3]s, authorized_keys: "%[4]s", authority: "%[5]s"}
---
apiVersion: v1
kind: Service
metadata: {name: %[2]s, namespace: %[1]s}
spec:
  selector: {app: %[2]s}
  ports: [{port: 22}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[2]s, namespace: %[1]s}
spec:
  replicas: 1
  strategy: {type: Recreate}
  selector:
    matchLabels: {app: %[2]s}
  template:
    metadata:
      labels: {app: %[2]s}
    spec:
      terminationGracePeriodSeconds: 2
      automountServiceAccountToken: false
      containers:
      - name: sshd
        image: localhost/chaperone/sshd:dev
        imagePullPolicy: IfNotPresent
        command: [bash, -c]
        args: [%[6]q]
        readinessProbe:
          tcpSocket: {port: 22}
          periodSeconds: 1
        volumeMounts:
        - {name: server, mountPath: /keys, readOnly: true}
      volumes:
      - {name: server, secret: {secretName: %[2]s-server}}
`, s.Namespace, s.Name, encode(hostPEM), encode(keys), encode(authority), script)); err != nil {
		return err
	}
	return e.RolledOut(ctx, s.Namespace, "deployment/"+s.Name, 2*time.Minute)
}

// NewSSHAuthority makes a key that signs certificates.
func NewSSHAuthority() (public ssh.PublicKey, privatePEM []byte, err error) { return sshKey() }

func sshKey() (ssh.PublicKey, []byte, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return nil, nil, err
	}
	key, err := ssh.NewPublicKey(public)
	return key, pem.EncodeToMemory(block), err
}

// SSHCredentials stores the user's key for a policy: a kubernetes.io/ssh-auth Secret, and the server's host key beside it.
func (e *Environment) SSHCredentials(ctx context.Context, namespace, name string, s *SSHServer) error {
	return e.SSHSecret(ctx, namespace, name, s.UserKey, s.KnownHosts)
}

// SSHSecret stores a private key, a user's or an authority's, and in the ConfigMap NAME-hosts what servers are known by.
func (e *Environment) SSHSecret(ctx context.Context, namespace, name string, key, knownHosts []byte) error {
	encode := func(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
	_, err := e.Apply(ctx, fmt.Sprintf(`apiVersion: v1
kind: Secret
metadata: {name: %[2]s, namespace: %[1]s}
type: kubernetes.io/ssh-auth
data: {ssh-privatekey: %[3]s}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: %[2]s-hosts, namespace: %[1]s}
binaryData: {known_hosts: %[4]s}
`, namespace, name, encode(key), encode(knownHosts)))
	return err
}
