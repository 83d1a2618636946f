package kube_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/test/kubeserver"
)

// elsewhere is another cluster: an API server with roots and accounts of its own, and a node.
type elsewhere struct {
	*kubeserver.Server
	kubelet *kubeserver.Kubelet
	// leases are what a kubeconfig may hold for it, by the name that the API server then calls the agent.
	leases map[string]session.Lease
}

const (
	leasedAccount = "system:serviceaccount:shop:leased"
	leasedUser    = "dana"
)

// startElsewhere runs the other cluster for one test.
func startElsewhere(t *testing.T) *elsewhere {
	t.Helper()
	s, err := kubeserver.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	e := &elsewhere{Server: s, leases: make(map[string]session.Lease)}
	if _, err := s.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	e.leases[leasedAccount] = e.account(t, "leased")
	certificate, key, err := s.User(t.Context(), leasedUser, kubeserver.Everything())
	if err != nil {
		t.Fatal(err)
	}
	e.leases[leasedUser] = session.Lease{CertificatePEM: certificate, KeyPEM: key, CAPEM: s.CAPEM()}
	if e.kubelet, err = s.StartKubelet(t.Context(), "node", t.TempDir()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.kubelet.Stop)
	if err := s.Pod(t.Context(), namespace, "far", "node", "only"); err != nil {
		t.Fatal(err)
	}
	return e
}

// account makes one there that may do everything.
func (e *elsewhere) account(t *testing.T, name string) session.Lease {
	t.Helper()
	token, err := e.Account(t.Context(), namespace, name, kubeserver.Everything())
	if err != nil {
		t.Fatal(err)
	}
	return session.Lease{Token: token, CAPEM: e.CAPEM()}
}

// frontOf starts a sidecar in front of the other cluster, under another name for it where one is given. The pod's own
// account is the first cluster's.
func frontOf(t *testing.T, e *elsewhere, host string, lease *session.Lease, target policy.Kubernetes) *kubeserver.Sidecar {
	t.Helper()
	target.HasCredentials, target.CredentialsID = true, "agents/elsewhere"
	s, err := kubeserver.FrontOf(t.Context(), t.TempDir(), host, e.Address, token, server.CAPEM(), target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	if lease != nil {
		s.Lease.Store(lease)
	}
	return s
}

// whoami is what the API server calls an agent.
func whoami(t *testing.T, s *kubeserver.Sidecar) result {
	t.Helper()
	return kubectl(t, s, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
}

func TestAKubeconfigLeadsToAnotherCluster(t *testing.T) {
	e := startElsewhere(t)
	makeSecret(t, "db") // here, and one of the same name there
	object := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "db"}, Data: map[string][]byte{"password": []byte(value), "user": []byte("billing")}}
	if _, err := e.Client.CoreV1().Secrets(namespace).Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for name, lease := range e.leases {
		t.Run("as "+name, func(t *testing.T) {
			s := frontOf(t, e, "localhost", &lease, sessions(policy.Rule{
				Name: "no-deletes", Action: policy.Deny, Message: "deletes go through review", Match: policy.Match{Verbs: []string{"delete", "deletecollection"}},
			}, policy.Rule{Name: "no-rm", Action: policy.Deny, Match: policy.Match{Programs: []string{"rm"}}}))
			if got := whoami(t, s); got.stdout != name {
				t.Fatalf("%+v", got)
			}
			if got := kubectl(t, s, "get", "pods", "-o", "name"); got.stdout != "pod/far\n" {
				t.Errorf("%+v", got)
			}
			if got := kubectl(t, s, "delete", "pod", "far"); got.code != 1 || !strings.Contains(got.stderr, "deletes go through review; refused by Chaperone") {
				t.Errorf("%+v", got)
			}
			if _, err := e.Client.CoreV1().Pods(namespace).Get(t.Context(), "far", metav1.GetOptions{}); err != nil {
				t.Error(err)
			}
			for _, args := range [][]string{{"get", "secret", "db", "-o", "yaml"}, {"get", "secrets", "-o", "json"}} {
				if got := kubectl(t, s, args...); got.code != 0 || leaks(got.stdout+got.stderr) || !strings.Contains(got.stdout, "password") {
					t.Errorf("%v: %+v", args, got)
				}
			}
			overBoth(t, func(t *testing.T, environment []string, _ string) {
				mark := unique()
				got := through(t, s, environment, "text", "exec", "-i", "far", "--", "sh", "-c", "cat; echo "+mark+" >&2; exit 7")
				if got.stdout != "text" || !strings.Contains(got.stderr, mark) || got.code != 7 {
					t.Errorf("%+v", got)
				}
				before := len(e.kubelet.Runs())
				if got := through(t, s, environment, "", "exec", "far", "--", "rm", mark); !strings.Contains(got.stderr, "refused by Chaperone") || len(e.kubelet.Runs()) != before {
					t.Errorf("%+v", got)
				}
			})
			appears := "appears-" + unique()
			answer := get(t, s, "/api/v1/namespaces/shop/configmaps?watch=1&fieldSelector=metadata.name%3D"+appears, nil)
			defer answer.Body.Close()
			if _, err := e.Client.CoreV1().ConfigMaps(namespace).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: appears}}, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			var event struct {
				Type   string
				Object corev1.ConfigMap
			}
			if err := json.NewDecoder(answer.Body).Decode(&event); err != nil || event.Type != "ADDED" || event.Object.Name != appears {
				t.Errorf("%v %+v", err, event)
			}
		})
	}
	t.Run("where neither the placeholder nor the pod's own token is worth anything", func(t *testing.T) {
		for _, bearer := range []string{kubeserver.Placeholder, token} {
			got := runKubectl(t, e.Address, e.CAPEM(), bearer, nil, "", "get", "pods")
			if got.code == 0 || !strings.Contains(got.stderr, "Unauthorized") && !strings.Contains(got.stderr, "provide credentials") {
				t.Errorf("%+v", got)
			}
		}
	})
	t.Run("in which another lease is used from the next request on", func(t *testing.T) {
		second := e.account(t, "second")
		first := e.leases[leasedAccount]
		s := frontOf(t, e, "localhost", &first, allowing())
		for _, lease := range []string{leasedAccount, "system:serviceaccount:shop:second", leasedUser, leasedAccount} {
			next := second
			if l, ok := e.leases[lease]; ok {
				next = l
			}
			s.Lease.Store(&next)
			if got := whoami(t, s); got.stdout != lease {
				t.Errorf("%+v, want %s", got, lease)
			}
		}
		s.Lease.Store(&second)
		if err := e.Client.CoreV1().ServiceAccounts(namespace).Delete(t.Context(), "second", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		// API servers remember for some seconds that a token was good.
		for begin := time.Now(); !strings.Contains(whoami(t, s).stderr, "Unauthorized"); {
			if time.Since(begin) > 2*time.Minute {
				t.Fatal("a token that is worth nothing any more still works")
			}
		}
		s.Lease.Store(nil)
		if got := kubectl(t, s, "get", "pods"); got.code != 1 || !strings.Contains(got.stderr, "could not reach the API server of target cluster: the Secret is missing") {
			t.Errorf("without a lease: %+v", got)
		}
	})
	t.Run("whose certificate is verified", func(t *testing.T) {
		lease := e.leases[leasedAccount]
		for name, c := range map[string]struct {
			host   string
			change func(*session.Lease)
			says   string // "" where it works
		}{
			"by the policy's name for it":     {"localhost", func(*session.Lease) {}, ""},
			"and it has no such name":         {"elsewhere.example", func(*session.Lease) {}, "not elsewhere.example"},
			"by tls-server-name, if it is so": {"elsewhere.example", func(l *session.Lease) { l.ServerName = "localhost" }, ""},
			"by tls-server-name alone":        {"localhost", func(l *session.Lease) { l.ServerName = "other.example" }, "not other.example"},
			"by the kubeconfig's own root":    {"localhost", func(l *session.Lease) { l.CAPEM = server.CAPEM() }, "certificate signed by unknown authority"},
			"and the root is none":            {"localhost", func(l *session.Lease) { l.CAPEM = []byte("none") }, "the API server's root holds no certificate"},
		} {
			t.Run(name, func(t *testing.T) {
				changed := lease
				c.change(&changed)
				s := frontOf(t, e, c.host, &changed, sessions())
				if c.says == "" {
					if got := whoami(t, s); got.stdout != leasedAccount {
						t.Errorf("%+v", got)
					}
					return
				}
				before := len(e.kubelet.Runs())
				for _, args := range [][]string{{"get", "pods"}, {"exec", "far", "-c", "only", "--", "true"}} {
					got := kubectl(t, s, args...)
					if got.code == 0 || !strings.Contains(got.stderr, "Chaperone could not reach the API server of target cluster") || !strings.Contains(got.stderr, c.says) {
						t.Errorf("%v: %+v", args, got)
					}
				}
				if len(e.kubelet.Runs()) != before {
					t.Error("the container was told to run it")
				}
			})
		}
	})
}

// What a sidecar presents there is the lease alone: the pod's own token is another cluster's.
func TestThePodsOwnTokenIsNotSentToAnotherCluster(t *testing.T) {
	seen := make(chan http.Header, 8)
	other := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Clone()
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer other.Close()
	root := pemOf(other.Certificate())
	e := &elsewhere{Server: &kubeserver.Server{Address: other.Listener.Addr().String()}}
	for name, lease := range map[string]session.Lease{
		"a token":     {Token: "leased", CAPEM: root, ServerName: "example.com"},
		"nothing":     {CAPEM: root, ServerName: "example.com"},
		"certificate": {CAPEM: root, ServerName: "example.com", CertificatePEM: server.Admin.CertData, KeyPEM: server.Admin.KeyData},
	} {
		t.Run(name, func(t *testing.T) {
			s := frontOf(t, e, "localhost", &lease, sessions())
			for _, upgrade := range []string{"", "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n"} {
				target := "/api/v1/namespaces/shop/pods"
				if upgrade != "" {
					target += "/far/exec?container=only&command=true&stdout=1"
				}
				if code, body := raw(t, s, "GET "+target+" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+kubeserver.Placeholder+"\r\n"+upgrade+"\r\n"); code != http.StatusUnauthorized {
					t.Fatalf("%d %s", code, body)
				}
				want := ""
				if lease.Token != "" {
					want = "Bearer " + lease.Token
				}
				if h := <-seen; h.Get("Authorization") != want {
					t.Errorf("Authorization: %q", h["Authorization"])
				}
			}
		})
	}
}
