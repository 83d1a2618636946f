package operator_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/yaml"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/archive"
	"github.com/chaperone-dev/chaperone/controllers/broker"
	"github.com/chaperone-dev/chaperone/controllers/certs"
	"github.com/chaperone-dev/chaperone/controllers/presence"
	"github.com/chaperone-dev/chaperone/sidecar/control"
	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/webhook/inject"
)

const brokerName = "chaperone-broker." + operatorNamespace + ".svc"

// operator is a broker with all that it works with, on a port of the loopback.
type operator struct {
	broker   *broker.Broker
	presence *presence.Registry
	archive  *archive.Archive
	keys     *certs.Keys
	roots    []byte
	folder   string
	stop     func()
}

// startOperator runs a replica until the spec ends, or until stop. Replicas given the same folder, or URL of a bucket,
// share recordings. change alters what the broker works with.
func startOperator(folder string, change ...func(*broker.Options)) *operator {
	GinkgoHelper()
	location := folder
	if !strings.Contains(location, "://") {
		location = "file://" + folder
	}
	ctx, cancel := context.WithCancel(context.Background())
	live, err := client.New(config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	log := ctrl.Log.WithName("operator")
	authority := &certs.Authority{
		Client: live, Secret: types.NamespacedName{Namespace: operatorNamespace, Name: "chaperone-root"},
		Names: certs.ServiceNames(operatorNamespace, "chaperone-broker"), Clock: clock.RealClock{}, Log: log,
	}
	Expect(authority.Load(ctx)).To(Succeed())
	keys := &certs.Keys{Client: live, Secret: types.NamespacedName{Namespace: operatorNamespace, Name: "chaperone-keys"}, Clock: clock.RealClock{}, Log: ctrl.Log}
	Expect(keys.Load(ctx)).To(Succeed())
	bytes, err := archive.Open(ctx, location, keys)
	Expect(err).NotTo(HaveOccurred())
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme, Metrics: server.Options{BindAddress: "0"}, HealthProbeBindAddress: "0", Logger: log,
	})
	Expect(err).NotTo(HaveOccurred())
	registry := presence.NewRegistry(clock.RealClock{})
	options := broker.Options{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Informers: mgr.GetCache(), Listen: "127.0.0.1:0",
		Certificate: authority.GetCertificate, Guard: broker.LiveGuard(mgr.GetAPIReader(), keys.DecisionMAC),
		Sets:        &broker.Sets{Cache: mgr.GetClient(), Live: mgr.GetAPIReader(), MaxAge: time.Hour, ReferencesEvery: 2 * time.Second, Clock: clock.RealClock{}, Log: log},
		DecisionKey: keys.DecisionMAC, Archive: bytes, Presence: registry, Events: mgr.GetEventRecorder("chaperone"),
		LeaseDuration: 5 * time.Minute, Clock: clock.RealClock{}, Log: log,
	}
	for _, c := range change {
		c(&options)
	}
	b := broker.New(options)
	Expect(mgr.Add(b)).To(Succeed())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	Eventually(b.Ready).WithTimeout(20 * time.Second).Should(Succeed())
	o := &operator{broker: b, presence: registry, archive: bytes, keys: keys, roots: authority.Roots(), folder: folder}
	stopped := false
	o.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			Eventually(done).WithTimeout(30 * time.Second).Should(Receive(BeNil()))
		}
	}
	DeferCleanup(o.stop)
	return o
}

// sidecar is a pod as the webhook would have made it, with the token that the kubelet would project.
type sidecar struct {
	pod   *corev1.Pod
	token string // file
}

// startPod makes an injected pod. change may alter it before it is created, and so after it was sealed.
func (o *operator) startPod(ctx context.Context, namespace, name string, labels map[string]string, change func(*corev1.Pod)) *sidecar {
	GinkgoHelper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "default"}}
	Expect(client.IgnoreAlreadyExists(kube.Create(ctx, account))).To(Succeed())
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels},
		Spec: corev1.PodSpec{
			ServiceAccountName: "default",
			Containers:         []corev1.Container{{Name: "agent", Image: "localhost/agent:1"}},
		},
	}
	injected, err := inject.Inject(pod, []v1alpha1.AgentPolicy{{}}, inject.Options{
		Image: "localhost/chaperone/sidecar:dev", Broker: brokerName + ":443", RootPEM: o.roots, Key: o.keys.DecisionMAC, Now: time.Now(),
	})
	Expect(err).NotTo(HaveOccurred())
	if change != nil {
		change(injected)
	}
	Expect(kube.Create(ctx, injected)).To(Succeed())
	return &sidecar{pod: injected, token: tokenFor(ctx, injected, layout.TokenAudience)}
}

// tokenFor asks for a token bound to the pod, as the kubelet does, and writes it to a file.
func tokenFor(ctx context.Context, pod *corev1.Pod, audience string) string {
	GinkgoHelper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Spec.ServiceAccountName}}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences: []string{audience}, ExpirationSeconds: ptr.To[int64](3600),
		BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID},
	}}
	Expect(kube.SubResource("token").Create(ctx, account, request)).To(Succeed())
	file := filepath.Join(GinkgoT().TempDir(), "token")
	Expect(os.WriteFile(file, []byte(request.Status.Token), 0o600)).To(Succeed())
	return file
}

// connect is the sidecar's own client, dialling the operator's port under the broker's name.
func (o *operator) connect(tokenFile string) *control.Client {
	GinkgoHelper()
	address := o.broker.Address().String()
	return o.dial(tokenFile, func() string { return address })
}

// dial is connect to an address that may move.
func (o *operator) dial(tokenFile string, address func() string) *control.Client {
	GinkgoHelper()
	return o.dialFrom("127.0.0.1", tokenFile, address)
}

// dialFrom is dial from another address of the loopback, as each pod has its own.
func (o *operator) dialFrom(source, tokenFile string, address func() string) *control.Client {
	GinkgoHelper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	c, err := control.New(control.Options{
		Address: brokerName + ":443", RootPEM: o.roots, TokenFile: tokenFile, Version: "test", Log: ctrl.Log.WithName("sidecar"),
		Dial: func(ctx context.Context, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", address())
		},
	})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { _ = c.Close() })
	return c
}

// apply creates what a YAML document says, in the namespace.
func apply[T client.Object](ctx context.Context, into T, namespace, format string, args ...any) T {
	GinkgoHelper()
	Expect(yaml.UnmarshalStrict(fmt.Appendf(nil, format, args...), into)).To(Succeed())
	into.SetNamespace(namespace)
	Expect(kube.Create(ctx, into)).To(Succeed())
	return into
}
