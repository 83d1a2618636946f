package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/chaperone-dev/chaperone/sidecar/control/controlpb"
)

// kubeconfigKey is where a Secret has a kubeconfig.
const kubeconfigKey = "kubeconfig"

// kubeconfig reads the account and the server's root of the current context. Whatever a sidecar cannot do as the file says
// is refused rather than left out: plugins, files, proxies, other people's names. The error says what is wrong with the
// Secret and goes on after its name.
func kubeconfig(s *corev1.Secret) (*controlpb.LeaseResponse, error) {
	text := s.Data[kubeconfigKey]
	if len(text) == 0 {
		return nil, fmt.Errorf("has no key %s", kubeconfigKey)
	}
	config, err := clientcmd.Load(text)
	if err != nil {
		return nil, fmt.Errorf("has a %s that cannot be read", kubeconfigKey) // the error may quote it
	}
	current := config.Contexts[config.CurrentContext]
	if current == nil {
		return nil, fmt.Errorf("has a %s without a current context", kubeconfigKey)
	}
	cluster, user := config.Clusters[current.Cluster], config.AuthInfos[current.AuthInfo]
	if cluster == nil || user == nil {
		return nil, fmt.Errorf("has a %s whose current context names a cluster or a user that is not in it", kubeconfigKey)
	}
	if err := errors.Join(checkCluster(cluster), checkUser(user)); err != nil {
		return nil, fmt.Errorf("has a %s that cannot be used: %w", kubeconfigKey, err)
	}
	return &controlpb.LeaseResponse{
		Token: user.Token, CertificatePem: user.ClientCertificateData, KeyPem: user.ClientKeyData,
		CaPem: cluster.CertificateAuthorityData, ServerName: cluster.TLSServerName,
	}, nil
}

// checkCluster: the address of the file's server is not used; the target's hosts are.
func checkCluster(c *clientcmdapi.Cluster) error {
	switch {
	case c.InsecureSkipTLSVerify:
		return errors.New("insecure-skip-tls-verify is set, and the server has to be verified")
	case c.CertificateAuthority != "":
		return errors.New("certificate-authority names a file; give its content as certificate-authority-data")
	case !x509.NewCertPool().AppendCertsFromPEM(c.CertificateAuthorityData):
		return errors.New("certificate-authority-data holds no certificate")
	case c.ProxyURL != "":
		return errors.New("proxy-url is set; the sidecar connects to the target's host itself")
	}
	return nil
}

func checkUser(u *clientcmdapi.AuthInfo) error {
	switch {
	case u.Exec != nil || u.AuthProvider != nil:
		return errors.New("the user's credential comes from a plugin, which is not run; give a token or a client certificate")
	case u.TokenFile != "" || u.ClientCertificate != "" || u.ClientKey != "":
		return errors.New("the user's credential is in a file; give its content (token, client-certificate-data, client-key-data)")
	case u.Username != "" || u.Password != "":
		return errors.New("the user has a password, which API servers do not take any more")
	case u.Impersonate != "" || u.ImpersonateUID != "" || len(u.ImpersonateGroups)+len(u.ImpersonateUserExtra) > 0:
		return errors.New("the user acts as somebody else, which is not done for agents; give that account's own credential")
	case len(u.ClientCertificateData) > 0:
		if _, err := tls.X509KeyPair(u.ClientCertificateData, u.ClientKeyData); err != nil {
			return errors.New("client-certificate-data and client-key-data are no pair")
		}
	case u.Token == "":
		return errors.New("the user has neither a token nor a client certificate")
	}
	return nil
}
