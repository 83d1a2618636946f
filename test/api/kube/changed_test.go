package kube_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/test/kubeserver"
)

const changed = "the policies of this pod changed and no longer allow this"

// withoutSleep denies what the tests have going on.
func withoutSleep() policy.Kubernetes {
	return sessions(policy.Rule{Name: "no-sleep", Action: policy.Deny, Match: policy.Match{Programs: []string{"sleep"}}, Message: "nobody sleeps here"})
}

func applied(t testing.TB, s *kubeserver.Sidecar, target policy.Kubernetes, change ...func(*policy.Policy)) {
	t.Helper()
	if err := s.Apply(target, change...); err != nil {
		t.Error(err)
	}
}

// begun waits until the sidecar has recorded that something was printed.
func begun(s *kubeserver.Sidecar) { s.Log.Find(record.KindOutput, nil) }

func TestAChangedPolicyEndsALiveSession(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, s *kubeserver.Sidecar)
		says   string
	}{
		"that a rule denies now": {func(t *testing.T, s *kubeserver.Sidecar) { applied(t, s, withoutSleep()) }, changed + `: nobody sleeps here (policy agents/ops (generation 3), rule "no-sleep")`},
		"that nothing allows any more": {func(t *testing.T, s *kubeserver.Sidecar) {
			applied(t, s, policy.Kubernetes{DefaultAction: policy.Deny})
		}, `(policy agents/ops (generation 3), rule "default")`},
		"whose target is gone": {func(_ *testing.T, s *kubeserver.Sidecar) { s.Withdraw() }, changed + ": none has a target for this API server"},
		"that another policy denies": {func(t *testing.T, s *kubeserver.Sidecar) {
			if err := s.ApplyAll(sessions(), func(*policy.Policy) {}, func(p *policy.Policy) {
				p.Name, p.Generation = "stricter", 1
				deny := withoutSleep()
				p.Targets[0].Kubernetes = &deny
			}); err != nil {
				t.Error(err)
			}
		}, `(policy agents/stricter (generation 1), rule "no-sleep")`},
	} {
		t.Run(name, func(t *testing.T) {
			overBoth(t, func(t *testing.T, environment []string, _ string) {
				s := front(t, sessions())
				done := make(chan result, 1)
				go func() {
					done <- through(t, s, environment, "", "exec", "solo", "--", "sh", "-c", "echo begun; exec sleep 600")
				}()
				begun(s)
				c.change(t, s)
				if got := <-done; got.code == 0 || got.stdout != "begun\n" || !strings.Contains(got.stderr, c.says) {
					t.Errorf("%+v", got)
				}
				if got := s.Log.Find(record.KindResult, func(e record.Event) bool { return strings.Contains(e.Error, c.says) }); len(got) != 1 {
					t.Errorf("recorded %+v", s.Log.Events())
				}
			})
		})
	}
}

func TestAChangedPolicyLeavesALiveSessionThatItAllows(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, s *kubeserver.Sidecar){
		"a rule about something else": func(t *testing.T, s *kubeserver.Sidecar) {
			applied(t, s, sessions(policy.Rule{Name: "no-rm", Action: policy.Deny, Match: policy.Match{Programs: []string{"rm"}}}))
		},
		"people would be asked now": func(t *testing.T, s *kubeserver.Sidecar) {
			applied(t, s, sessions(policy.Rule{
				Name: "asked", Action: policy.RequireApproval, Match: policy.Match{Programs: []string{"sleep"}}, Approval: &policy.Approval{Required: 1, TimeoutSeconds: 300},
			}))
		},
		"it would be denied, in Audit": func(t *testing.T, s *kubeserver.Sidecar) {
			applied(t, s, withoutSleep(), func(p *policy.Policy) { p.Enforcement = policy.Audit })
		},
	} {
		t.Run(name, func(t *testing.T) {
			overBoth(t, func(t *testing.T, environment []string, _ string) {
				s, sign := front(t, sessions()), "go"+unique()
				done := make(chan result, 1)
				go func() {
					done <- through(t, s, environment, "", "exec", "solo", "--", "sh", "-c", "echo begun; while ! [ -e "+sign+" ]; do sleep 0.1; done; echo over; exit 3")
				}()
				begun(s)
				change(t, s)
				if got := direct(t, nil, "", "exec", "solo", "--", "touch", sign); got.code != 0 {
					t.Fatalf("%+v", got)
				}
				if got := <-done; got.code != 3 || got.stdout != "begun\nover\n" {
					t.Errorf("%+v", got)
				}
			})
		})
	}
}

func TestAChangedPolicyEndsATerminalAndItsRecording(t *testing.T) {
	overBoth(t, func(t *testing.T, environment []string, _ string) {
		s := front(t, sessions())
		done := make(chan result, 1)
		go func() {
			done <- terminal(t, s, environment, 100, 40, "echo be''gun\n", "exec", "-it", "solo", "--", "sh")
		}()
		eventually(t, func() bool {
			logs := s.Terminals()
			return len(logs) == 1 && len(logs[0].FindWithin(0, record.KindOutput, func(e record.Event) bool { return strings.Contains(e.Data, "begun") })) > 0
		})
		applied(t, s, allowing())
		if got := <-done; got.code == 0 || !strings.Contains(got.stdout, changed) {
			t.Errorf("%+v", got)
		}
		if got := s.Terminals()[0].Find(record.KindDisconnect, nil); len(got) != 1 || !strings.Contains(got[0].Error, changed) {
			t.Errorf("recorded %+v", got)
		}
	})
}

// echoing answers each line, in the network of the pods.
func echoing(t testing.TB) (port string) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port
}

func TestAChangedPolicyEndsAForwardedConnection(t *testing.T) {
	port := echoing(t)
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(t *testing.T, s *kubeserver.Sidecar){
		"its port is denied": func(t *testing.T, s *kubeserver.Sidecar) {
			applied(t, s, sessions(policy.Rule{
				Name: "no-port", Action: policy.Deny, Match: policy.Match{Resources: []string{"pods/portforward"}, Ports: []uint16{uint16(number)}},
			}))
		},
		"every port is": func(t *testing.T, s *kubeserver.Sidecar) { applied(t, s, allowing()) },
	} {
		t.Run(name, func(t *testing.T) {
			overBoth(t, func(t *testing.T, environment []string, _ string) {
				s := front(t, sessions())
				at, complaints := forward(t, s, environment, port)
				conn, err := net.Dial("tcp", at[0])
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				lines := bufio.NewReader(conn)
				say := func() (string, error) {
					_, _ = fmt.Fprintln(conn, "hello")
					return lines.ReadString('\n')
				}
				if got, err := say(); err != nil || got != "hello\n" {
					t.Fatalf("%q, %v", got, err)
				}
				applied(t, s, sessions(policy.Rule{Name: "no-rm", Action: policy.Deny, Match: policy.Match{Programs: []string{"rm"}}}))
				if got, err := say(); err != nil || got != "hello\n" {
					t.Fatalf("after a change that does not concern it: %q, %v", got, err)
				}
				change(t, s)
				if got, err := lines.ReadString('\n'); err == nil {
					t.Errorf("it goes on: %q", got)
				}
				eventually(t, func() bool {
					return strings.Contains(complaints(), "lost connection") || strings.Contains(complaints(), changed)
				})
				eventually(t, func() bool {
					for _, e := range s.Log.Events() {
						if e.Kind == record.KindResult && strings.Contains(e.Error, changed) || e.Kind == record.KindCommand && e.Verdict == "Deny" && e.Rule == "no-port" {
							return true
						}
					}
					return false
				})
			})
		})
	}
}

func TestAChangedPolicyEndsAWatchWithWords(t *testing.T) {
	configMap(t, "watched")
	s := front(t, allowing())
	config := s.Config()
	config.AcceptContentTypes, config.ContentType = "application/json", "application/json"
	w, err := kubernetes.NewForConfigOrDie(config).CoreV1().ConfigMaps(namespace).Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=watched"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if e := <-w.ResultChan(); e.Type != watch.Added {
		t.Fatalf("%+v", e)
	}
	applied(t, s, policy.Kubernetes{DefaultAction: policy.Deny})
	e, open := <-w.ResultChan()
	status, ok := e.Object.(*metav1.Status)
	if !open || !ok || e.Type != watch.Error || status.Code != http.StatusForbidden || !strings.Contains(status.Message, changed) {
		t.Errorf("%t %+v", open, e)
	}
	if e, open := <-w.ResultChan(); open {
		t.Errorf("it goes on: %+v", e)
	}
	endedByAChange(t, s)
}

func TestAChangedPolicyBreaksOffWhatHasNoPlaceForWords(t *testing.T) {
	pod := unique()
	if err := server.Pod(t.Context(), namespace, pod, "node", kubeserver.Daemon); err != nil {
		t.Fatal(err)
	}
	configMap(t, "broken-off")
	for name, get := range map[string]func(client kubernetes.Interface) *rest.Request{
		"a log that is followed": func(client kubernetes.Interface) *rest.Request {
			return client.CoreV1().Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{Follow: true})
		},
		"a watch in protobuf": func(client kubernetes.Interface) *rest.Request {
			return client.CoreV1().RESTClient().Get().Namespace(namespace).Resource("configmaps").Param("watch", "true").SetHeader("Accept", "application/vnd.kubernetes.protobuf;stream=watch")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := front(t, allowing())
			body, err := get(kubernetes.NewForConfigOrDie(s.Config())).Stream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer body.Close()
			if _, err := body.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			applied(t, s, policy.Kubernetes{DefaultAction: policy.Deny})
			// A good end would be taken for the whole.
			if _, err := io.Copy(io.Discard, body); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("it ended with %v", err)
			}
			endedByAChange(t, s)
		})
	}
}

func endedByAChange(t *testing.T, s *kubeserver.Sidecar) {
	t.Helper()
	if got := s.Log.Find(record.KindResult, func(e record.Event) bool { return strings.Contains(e.Error, changed) }); len(got) != 1 {
		t.Errorf("recorded %+v", s.Log.Events())
	}
}
