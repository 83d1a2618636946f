package judge

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/snapshot"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// Policies are AgentPolicies as their author wrote them, checked as admission and the operator check them, but for what
// they refer to: a Secret or ConfigMap is taken to be there.
type Policies struct {
	all []loaded
}

type loaded struct {
	compiled policy.Policy
	selector labels.Selector
}

// Add reads the AgentPolicies of a file, YAML or JSON; other objects in it are left alone. namespace is for those that
// name none.
func (p *Policies) Add(text []byte, namespace string) error {
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal(document, &kind); err != nil {
			return err
		}
		if kind.Kind != "AgentPolicy" || kind.APIVersion != v1alpha1.GroupVersion.String() {
			if kind.Kind == "AgentPolicy" {
				return fmt.Errorf("an AgentPolicy of apiVersion %q; %s is known", kind.APIVersion, v1alpha1.GroupVersion)
			}
			continue
		}
		if err := p.add(document, namespace); err != nil {
			return err
		}
	}
}

func (p *Policies) add(document []byte, namespace string) error {
	var ap v1alpha1.AgentPolicy
	if err := yaml.UnmarshalStrict(document, &ap); err != nil {
		return fmt.Errorf("policy %s: %w", ap.Name, err)
	}
	if ap.Namespace == "" {
		ap.Namespace = namespace
	}
	if ap.Generation == 0 {
		ap.Generation = 1
	}
	for _, other := range p.all {
		if other.compiled.Namespace == ap.Namespace && other.compiled.Name == ap.Name {
			return fmt.Errorf("policy %s/%s is there twice", ap.Namespace, ap.Name)
		}
	}
	compiled, err := snapshot.Policy(&ap, nil)
	if err != nil {
		return fmt.Errorf("policy %s/%s: %w", ap.Namespace, ap.Name, err)
	}
	selector, err := metav1.LabelSelectorAsSelector(&ap.Spec.PodSelector)
	if err != nil {
		return fmt.Errorf("policy %s/%s: spec.podSelector: %w", ap.Namespace, ap.Name, err)
	}
	p.all = append(p.all, loaded{compiled, selector})
	return nil
}

// Len is how many policies there are.
func (p *Policies) Len() int { return len(p.all) }

// of compiles the policies that apply to a pod.
func (p *Policies) of(w *Where) (*policy.Compiled, error) {
	namespace := w.Namespace
	var set policy.Set
	for _, l := range p.all {
		if w.Namespace != "" && l.compiled.Namespace != w.Namespace || w.Labels != nil && !l.selector.Matches(labels.Set(w.Labels)) {
			continue
		}
		if namespace == "" {
			namespace = l.compiled.Namespace
		}
		if l.compiled.Namespace != namespace {
			return nil, fmt.Errorf("the policies are of namespaces %s and %s, and a pod is in one: say which (namespace)", namespace, l.compiled.Namespace)
		}
		set.Policies = append(set.Policies, l.compiled)
	}
	return policy.Compile(set)
}
