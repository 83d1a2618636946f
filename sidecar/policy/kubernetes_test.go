package policy

import (
	"strings"
	"testing"
)

func cluster(k Kubernetes) Policy {
	return Policy{
		Namespace: "ns", Name: "ops", Generation: 2, Enforcement: Enforce, Egress: Egress{Unmatched: Deny},
		Targets: []Target{{Name: "cluster", Kubernetes: &k}},
	}
}

func apiRequest(k KubernetesRequest) Command {
	return Command{Protocol: ProtocolKubernetes, Text: k.Verb + " " + k.Resource, Kubernetes: &k}
}

func TestKubernetesRules(t *testing.T) {
	yes, no := true, false
	pods := KubernetesRequest{Verb: "get", Version: "v1", Resource: "pods", Namespace: "prod", Name: "web-1", ReadOnly: true}
	with := func(change func(*KubernetesRequest)) KubernetesRequest {
		k := pods
		change(&k)
		return k
	}
	allPods := with(func(k *KubernetesRequest) { k.Verb, k.Name, k.Namespace = "list", "", "" })
	exec := with(func(k *KubernetesRequest) {
		k.Verb, k.Subresource, k.ReadOnly, k.Container, k.Argv = "create", "exec", false, "app", &Argv{Program: "ls", Path: "ls"}
	})
	shell := exec
	shell.Argv, shell.Interactive, shell.Stdin = nil, true, true
	forward := with(func(k *KubernetesRequest) {
		k.Verb, k.Subresource, k.ReadOnly, k.Ports = "create", "portforward", false, []uint16{5432}
	})
	opening := forward
	opening.Ports, opening.Opening = nil, true
	proxy := KubernetesRequest{Verb: "get", Version: "v1", Resource: "nodes", Subresource: "proxy", Name: "n"}
	token := KubernetesRequest{Verb: "create", Version: "v1", Resource: "serviceaccounts", Subresource: "token", Namespace: "prod", Name: "a"}
	nodes := KubernetesRequest{Verb: "list", Version: "v1", Resource: "nodes", ReadOnly: true}
	metrics := KubernetesRequest{Verb: "get", Path: "/metrics", ReadOnly: true}

	tests := map[string]struct {
		match   Match
		request KubernetesRequest
		// whether an Allow rule and a Deny rule with the match are for the request
		allows, denies bool
	}{
		"an empty match is for every request":                      {Match{}, pods, true, true},
		"and for what is no object":                                {Match{}, metrics, true, true},
		"but not for an exec":                                      {Match{}, exec, false, true},
		"verbs compare exactly":                                    {Match{Verbs: []string{"list", "watch"}}, pods, false, false},
		"a star is every verb":                                     {Match{Verbs: []string{"*"}}, pods, true, true},
		"a star is every resource":                                 {Match{Resources: []string{"*"}}, pods, true, true},
		"but not every session":                                    {Match{Resources: []string{"*"}}, exec, false, true},
		"a resource is not its subresources":                       {Match{Resources: []string{"pods"}}, exec, false, false},
		"a subresource is named behind a slash":                    {Match{Resources: []string{"pods/exec"}}, exec, true, true},
		"a star behind the slash names all":                        {Match{Resources: []string{"pods/*"}}, exec, true, true},
		"a star before it too":                                     {Match{Resources: []string{"*/exec"}}, exec, true, true},
		"a proxy has to be spelt out":                              {Match{Resources: []string{"nodes/*"}}, proxy, false, true},
		"and then it is allowed":                                   {Match{Resources: []string{"nodes/proxy"}}, proxy, true, true},
		"a token as well":                                          {Match{Resources: []string{"*", "*/*"}}, token, false, true},
		"and then it is allowed, too":                              {Match{Resources: []string{"serviceaccounts/token"}}, token, true, true},
		"groups compare exactly":                                   {Match{APIGroups: []string{"apps"}}, pods, false, false},
		"the core group is empty":                                  {Match{APIGroups: []string{""}}, pods, true, true},
		"what is no object has no group":                           {Match{APIGroups: []string{""}}, metrics, false, false},
		"a namespace":                                              {Match{Namespaces: []string{"prod"}}, pods, true, true},
		"another namespace":                                        {Match{Namespaces: []string{"test"}}, pods, false, false},
		"all namespaces hold the one that is forbidden":            {Match{Namespaces: []string{"prod"}}, allPods, false, true},
		"a star is all namespaces":                                 {Match{Namespaces: []string{"*"}}, allPods, true, true},
		"what is in no namespace is in none of the rule's":         {Match{Namespaces: []string{"prod"}}, nodes, false, false},
		"names are globs":                                          {Match{Names: []string{"web-*"}}, pods, true, true},
		"a list shows the object that is forbidden":                {Match{Names: []string{"web-*"}}, allPods, false, true},
		"a container":                                              {Match{Resources: []string{"pods/exec"}, Containers: []string{"app"}}, exec, true, true},
		"a container that could not be told":                       {Match{Resources: []string{"pods/exec"}, Containers: []string{"app"}}, execWithout(exec), false, true},
		"containers are of sessions":                               {Match{Containers: []string{"app"}}, pods, false, false},
		"a program":                                                {Match{Resources: []string{"pods/exec"}, Programs: []string{"ls"}}, exec, true, true},
		"another program":                                          {Match{Resources: []string{"pods/exec"}, Programs: []string{"cat"}}, exec, false, false},
		"programs are of exec":                                     {Match{Programs: []string{"*"}}, pods, false, false},
		"an interactive session could run any program":             {Match{Resources: []string{"pods/exec"}, Programs: []string{"cat"}, Interactive: &yes}, shell, false, true},
		"an interactive session is a permission of its own":        {Match{Resources: []string{"pods/exec"}}, shell, false, true},
		"which a rule gives by saying so":                          {Match{Resources: []string{"pods/exec"}, Interactive: &yes}, shell, true, true},
		"such a rule is for nothing else":                          {Match{Resources: []string{"pods/exec"}, Interactive: &yes}, exec, false, false},
		"without a terminal":                                       {Match{Resources: []string{"pods/exec"}, TTY: &no}, exec, true, true},
		"tty is of sessions":                                       {Match{TTY: &no}, pods, false, false},
		"a port":                                                   {Match{Resources: []string{"pods/portforward"}, Ports: []uint16{5432}}, forward, true, true},
		"another port":                                             {Match{Resources: []string{"pods/portforward"}, Ports: []uint16{80}}, forward, false, false},
		"a connection whose ports are not known yet may be opened": {Match{Resources: []string{"pods/portforward"}, Ports: []uint16{80}}, opening, true, false},
		"ports are of port-forward":                                {Match{Ports: []uint16{80}}, pods, false, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			for action, want := range map[Action]bool{Allow: tc.allows, Deny: tc.denies} {
				c := mustCompile(t, cluster(Kubernetes{DefaultAction: Deny, Rules: []Rule{{Name: "r", Action: action, Match: tc.match}}}))
				v := c.Lookup("kubernetes.default.svc", 443).Decide(apiRequest(tc.request))
				if got := v.Rule == "r"; got != want {
					t.Errorf("as %s: rule %q decides", action, v.Rule)
				}
			}
		})
	}
}

func execWithout(k KubernetesRequest) KubernetesRequest {
	k.Container = ""
	return k
}

func TestADefaultLetsNoSessionThrough(t *testing.T) {
	for _, tc := range []struct {
		resource, subresource string
		fallback, want        Action
	}{
		{"pods", "", Allow, Allow}, {"pods", "log", Allow, Allow}, {"pods", "exec", Allow, Deny}, {"pods", "attach", Allow, Deny},
		{"pods", "portforward", Allow, Deny}, {"pods", "proxy", Allow, Deny}, {"serviceaccounts", "token", Allow, Deny},
		{"pods", "exec", RequireApproval, RequireApproval}, {"services", "proxy", RequireApproval, Deny}, {"pods", "", RequireApproval, RequireApproval},
	} {
		c := mustCompile(t, cluster(Kubernetes{DefaultAction: tc.fallback}))
		v := c.Lookup("kubernetes.default.svc", 443).Decide(apiRequest(KubernetesRequest{Verb: "create", Resource: tc.resource, Subresource: tc.subresource, Namespace: "a", Name: "x"}))
		if v.Action != tc.want {
			t.Errorf("%s/%s with %s by default: %s", tc.resource, tc.subresource, tc.fallback, v.Action)
		}
	}
}

func TestAnApprovalRuleIsNotForWhatIsOutOfSightUnlessItSaysSo(t *testing.T) {
	proxied := KubernetesRequest{Verb: "get", Resource: "services", Subresource: "proxy", Namespace: "a", Name: "s"}
	for resource, want := range map[string]Action{"*": Deny, "services/*": Deny, "services/proxy": RequireApproval} {
		c := mustCompile(t, cluster(Kubernetes{DefaultAction: Deny, Rules: []Rule{{Name: "ask", Action: RequireApproval, Match: Match{Resources: []string{resource}}}}}))
		if v := c.Lookup("kubernetes.default.svc", 443).Decide(apiRequest(proxied)); v.Action != want {
			t.Errorf("%s: %s", resource, v.Action)
		}
	}
}

func TestKubernetesRulesThatMatchNothingAreRefused(t *testing.T) {
	for text, m := range map[string]Match{
		"an empty pattern": {Names: []string{""}}, "neither resource nor": {Resources: []string{"pods/exec/x"}}, "0 is not a port": {Ports: []uint16{0}},
	} {
		_, err := Compile(Set{Policies: []Policy{cluster(Kubernetes{Rules: []Rule{{Name: "r", Action: Deny, Match: m}}})}})
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%+v: %v", m, err)
		}
	}
}

func TestCredentialsOfOneAPIServerHaveToAgree(t *testing.T) {
	leased := func(name, id string) Policy {
		p := cluster(Kubernetes{HasCredentials: id != "", CredentialsID: id})
		p.Name = name
		return p
	}
	for _, tc := range []struct {
		a, b     string
		conflict bool
	}{{"", "", false}, {"ns/x", "ns/x", false}, {"ns/x", "ns/y", true}, {"", "ns/x", true}} {
		d := mustCompile(t, leased("a", tc.a), leased("b", tc.b)).Lookup("kubernetes.default.svc", 443)
		if (d.Conflict() != "") != tc.conflict {
			t.Errorf("%q and %q: %q", tc.a, tc.b, d.Conflict())
		}
	}
}
