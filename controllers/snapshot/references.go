package snapshot

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
)

// Reference is an object of the policy's namespace that a policy points to.
type Reference struct {
	// Kind is Secret or ConfigMap.
	Kind string
	Name string
	// Key is empty for credentials, whose keys follow from the Secret's type.
	Key   string
	Field Path
	// Target is the target's name.
	Target string
}

// Kinds of references.
const (
	KindSecret    = "Secret"
	KindConfigMap = "ConfigMap"
)

// References returns every object that the policy points to, in the policy's order.
func References(ap *v1alpha1.AgentPolicy) []Reference {
	var out []Reference
	for i := range ap.Spec.Targets {
		t := &ap.Spec.Targets[i]
		at := root.Child("targets").Index(i)
		secret := func(at Path, name string) {
			out = append(out, Reference{Kind: KindSecret, Name: name, Field: at, Target: t.Name})
		}
		value := func(at Path, from *v1alpha1.ValueFrom) {
			switch {
			case from.ConfigMapKeyRef != nil:
				out = append(out, Reference{Kind: KindConfigMap, Name: from.ConfigMapKeyRef.Name, Key: from.ConfigMapKeyRef.Key, Field: at.Child("configMapKeyRef"), Target: t.Name})
			case from.SecretKeyRef != nil:
				out = append(out, Reference{Kind: KindSecret, Name: from.SecretKeyRef.Name, Key: from.SecretKeyRef.Key, Field: at.Child("secretKeyRef"), Target: t.Name})
			}
		}
		if pg := t.Postgres; pg != nil {
			if pg.TLS.CAFrom != nil {
				value(at.Child("postgres").Child("tls").Child("caFrom"), pg.TLS.CAFrom)
			}
			if pg.Credentials != nil {
				secret(at.Child("postgres").Child("credentials").Child("secretRef"), pg.Credentials.SecretRef.Name)
			}
		}
		if s := t.SSH; s != nil {
			value(at.Child("ssh").Child("knownHosts"), &s.KnownHosts)
			if s.Credentials != nil && s.Credentials.SecretRef != nil {
				secret(at.Child("ssh").Child("credentials").Child("secretRef"), s.Credentials.SecretRef.Name)
			}
			if s.Credentials != nil && s.Credentials.CertificateAuthorityRef != nil {
				secret(at.Child("ssh").Child("credentials").Child("certificateAuthorityRef"), s.Credentials.CertificateAuthorityRef.Name)
			}
		}
		if k := t.Kubernetes; k != nil && k.Credentials != nil {
			secret(at.Child("kubernetes").Child("credentials").Child("secretRef"), k.Credentials.SecretRef.Name)
		}
	}
	return out
}

// value reads a reference. optional of the key selectors is not honoured: a root that is not there must not turn
// into the system's roots.
func (c *converter) value(at Path, from *v1alpha1.ValueFrom) (out []byte, field Path, ok bool) {
	var err error
	switch {
	case from.ConfigMapKeyRef != nil:
		at = at.Child("configMapKeyRef")
		if c.refs != nil {
			out, err = c.refs.ConfigMapKey(c.namespace, from.ConfigMapKeyRef.Name, from.ConfigMapKeyRef.Key)
		}
	case from.SecretKeyRef != nil:
		at = at.Child("secretKeyRef")
		if c.refs != nil {
			out, err = c.refs.SecretKey(c.namespace, from.SecretKeyRef.Name, from.SecretKeyRef.Key)
		}
	default:
		c.failf(at, "exactly one of configMapKeyRef and secretKeyRef is required")
		return nil, at, false
	}
	if err != nil {
		c.unresolved(at, err)
		return nil, at, false
	}
	return out, at, c.refs != nil
}

func (c *converter) roots(at Path, from *v1alpha1.ValueFrom) []byte {
	text, field, ok := c.value(at, from)
	if !ok {
		return nil
	}
	rest, found := text, 0
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			// A private key beside the certificate would travel into every pod.
			c.unresolved(field, fmt.Errorf("holds a PEM block of type %s; only certificates belong there", block.Type))
			return nil
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			c.unresolved(field, fmt.Errorf("certificate %d: %w", found+1, err))
			return nil
		}
		found++
	}
	if found == 0 {
		c.unresolved(field, errors.New("holds no PEM certificate"))
		return nil
	}
	return text
}

func (c *converter) knownHosts(at Path, from *v1alpha1.ValueFrom) []byte {
	text, field, ok := c.value(at, from)
	if !ok {
		return nil
	}
	rest, found := text, 0
	for {
		_, _, _, _, next, err := ssh.ParseKnownHosts(rest)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			c.unresolved(field, fmt.Errorf("known_hosts entry %d: %w", found+1, err))
			return nil
		}
		rest = next
		found++
	}
	if found == 0 || len(bytes.TrimSpace(text)) == 0 {
		c.unresolved(field, errors.New("holds no known_hosts entry"))
		return nil
	}
	return text
}
