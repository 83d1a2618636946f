package kube

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// account is the pod's own service account, whose files the kubelet renews.
type account struct {
	tokenFile, caFile string

	mu    sync.Mutex // guards what follows
	token string
	name  string
	ca    []byte
	read  time.Time
}

// reread is how long the files' content is used. The kubelet renews a token when a fifth of its life is left, never
// later than a minute before its end.
const reread = 10 * time.Second

// current returns the token and the API server's root.
func (a *account) current() (token string, ca []byte, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.token != "" && time.Since(a.read) < reread {
		return a.token, a.ca, nil
	}
	content, err := os.ReadFile(a.tokenFile)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil, errors.New("this pod runs without a service account's token (automountServiceAccountToken: false), and the policy gives no credentials for the target")
	}
	if err != nil {
		return "", nil, fmt.Errorf("reading the service account's token: %w", err)
	}
	if ca, err = os.ReadFile(a.caFile); err != nil {
		return "", nil, fmt.Errorf("reading the API server's root: %w", err)
	}
	a.token, a.ca, a.read = string(bytes.TrimSpace(content)), ca, time.Now()
	a.name = subject(a.token)
	if strings.ContainsAny(a.token, "\r\n") || a.token == "" {
		return "", nil, errors.New("the service account's token is no token")
	}
	return a.token, a.ca, nil
}

// forget has the files read again: the API server did not accept the token.
func (a *account) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.read = time.Time{}
}

// user is what the API server will call the agent, as far as the sidecar knows.
func (a *account) user(r *rules) string {
	if r.Kubernetes().HasLease {
		return ""
	}
	_, _, _ = a.current()
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.name
}

// subject reads whom a token is for, without verifying it: the API server does.
func subject(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		Subject string `json:"sub"`
	}
	if json.Unmarshal(payload, &claims) != nil || len(claims.Subject) > 512 {
		return ""
	}
	return claims.Subject
}
