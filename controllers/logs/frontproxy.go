package logs

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/request/headerrequest"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/client-go/kubernetes"
)

// frontProxy knows the API server by its proxy client certificate, and the reader by the headers that it sets
// (Kubernetes: "Authenticating Proxy"). Nobody else is let in: a certificate of another CA, a bearer token or
// headers without the certificate are no identity here.
//
// The certificate's CA and the names of the headers are in a ConfigMap that every API server publishes; they are
// watched, because both may change under a running operator. Kubernetes' own Role
// extension-apiserver-authentication-reader allows it (config/rbac/operator.yaml).
type frontProxy struct {
	authenticator.Request
	ca      *dynamiccertificates.ConfigMapCAController
	headers *headerrequest.RequestHeaderAuthRequestController
}

const (
	authenticationNamespace = "kube-system"
	authenticationConfigMap = "extension-apiserver-authentication"
)

func newFrontProxy(client kubernetes.Interface) (*frontProxy, error) {
	ca, err := dynamiccertificates.NewDynamicCAFromConfigMapController("front-proxy",
		authenticationNamespace, authenticationConfigMap, "requestheader-client-ca-file", client)
	if err != nil {
		return nil, fmt.Errorf("watching the API server's proxy CA: %w", err)
	}
	headers := headerrequest.NewRequestHeaderAuthRequestController(authenticationConfigMap, authenticationNamespace, client,
		"requestheader-username-headers", "requestheader-uid-headers", "requestheader-group-headers",
		"requestheader-extra-headers-prefix", "requestheader-allowed-names")
	list := func(f func() []string) headerrequest.StringSliceProvider {
		return headerrequest.StringSliceProviderFunc(f)
	}
	return &frontProxy{
		Request: headerrequest.NewDynamicVerifyOptionsSecure(ca.VerifyOptions, list(headers.AllowedClientNames),
			list(headers.UsernameHeaders), list(headers.UIDHeaders), list(headers.GroupHeaders), list(headers.ExtraHeaderPrefixes)),
		ca: ca, headers: headers,
	}, nil
}

// load reads the ConfigMap once; without it nobody can be authenticated.
func (p *frontProxy) load(ctx context.Context) error {
	if err := errors.Join(p.ca.RunOnce(ctx), p.headers.RunOnce(ctx)); err != nil {
		return fmt.Errorf("reading ConfigMap %s/%s, by which the API server makes itself known: %w",
			authenticationNamespace, authenticationConfigMap, err)
	}
	return nil
}

// watch follows the ConfigMap until ctx ends.
func (p *frontProxy) watch(ctx context.Context) {
	go p.ca.Run(ctx, 1)
	p.headers.Run(ctx, 1)
}
