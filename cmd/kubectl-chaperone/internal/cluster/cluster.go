// Package cluster is the plugin's way to the API server: the objects of Chaperone, the pods that they are about and
// the logs behind them, read and written as the user of the kubeconfig.
package cluster

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
)

const (
	approvals  = "approvalrequests"
	recordings = "sessionrecordings"
	policies   = "agentpolicies"

	// logsPath is the recordings API, an aggregated API that the operator serves.
	logsPath = "/apis/logs.chaperone.dev/v1alpha1"

	// page is how many objects are asked for at once.
	page = 500
)

// Cluster is one API server, seen by one user.
type Cluster struct {
	client rest.Interface
	core   kubernetes.Interface
	// Namespace is the one of the command line, else of the kubeconfig's context.
	Namespace string
	// Host is the API server's address, for people.
	Host string
}

// Connect reads the kubeconfig as the flags say; it does not speak to the API server yet.
func Connect(flags *genericclioptions.ConfigFlags) (*Cluster, error) {
	namespace, _, err := flags.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	config, err := flags.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("registering the API's types: %w", err)
	}
	core, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("preparing the connection to the API server: %w", err)
	}
	version := v1alpha1.GroupVersion
	config = rest.CopyConfig(config)
	config.APIPath = "/apis"
	// A search reads as many logs at once as it says; how fast is for the API server to bound (API Priority and
	// Fairness), where client-go's own bound of five requests a second would make 2,000 logs take seven minutes.
	config.QPS = -1
	config.GroupVersion = &version
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("preparing the connection to the API server: %w", err)
	}
	return &Cluster{client: client, core: core, Namespace: namespace, Host: config.Host}, nil
}
