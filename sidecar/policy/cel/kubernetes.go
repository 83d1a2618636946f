package cel

import (
	"fmt"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// kubernetesFields are what `command` holds for a request to an API server, beside argvFields for an exec:
//
//	text         string         the request line, or exec as a person would type it
//	name         string         verb resource/subresource: create pods/exec
//	verb, group, version, resource, subresource, namespace, object   string   as RBAC knows them; object is the name
//	nonResource  string         the path of a request that is for no object
//	container    string         of exec and attach, empty where it is not known
//	ports        list(int)      of port-forward
//	tty, stdin, interactive, readOnly   bool
var kubernetesFields = map[string]bool{
	"text": true, "name": true, "verb": true, "group": true, "version": true, "resource": true, "subresource": true,
	"namespace": true, "object": true, "nonResource": true, "container": true, "ports": true, "tty": true, "stdin": true,
	"interactive": true, "readOnly": true,
}

func kubernetesValues(cmd policy.Command) map[string]any {
	k := cmd.Kubernetes
	ports := []int64{}
	for _, p := range k.Ports {
		ports = append(ports, int64(p))
	}
	name := fmt.Sprintf("%s %s", k.Verb, k.Resource)
	if k.Subresource != "" {
		name += "/" + k.Subresource
	}
	values := argvValues(k.Argv)
	for field, value := range map[string]any{
		"text": cmd.Text, "name": name, "verb": k.Verb, "group": k.Group, "version": k.Version, "resource": k.Resource,
		"subresource": k.Subresource, "namespace": k.Namespace, "object": k.Name, "nonResource": k.Path,
		"container": k.Container, "ports": ports, "tty": k.TTY, "stdin": k.Stdin, "interactive": k.Interactive,
		"readOnly": k.ReadOnly,
	} {
		values[field] = value
	}
	return values
}
