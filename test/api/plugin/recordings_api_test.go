package plugin_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/archive"
	"github.com/chaperone-dev/chaperone/controllers/certs"
	"github.com/chaperone-dev/chaperone/controllers/logs"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

const frontProxyName = "front-proxy"

var (
	bucket *archive.Archive
	// keys are the operator's, by a clock that specs can move.
	keys  *certs.Keys
	clock = clocktesting.NewFakeClock(time.Now())
)

// frontProxy is what the API server shows of itself to aggregated APIs.
type frontProxy struct{ ca, certificate, key string }

// issue makes a certificate that signs itself, or one by a parent.
func issue(template, parent *x509.Certificate, by *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
	GinkgoHelper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	Expect(err).NotTo(HaveOccurred())
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	if parent == nil {
		parent, by = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	Expect(err).NotTo(HaveOccurred())
	return der, key
}

func newFrontProxy() frontProxy {
	GinkgoHelper()
	dir := GinkgoT().TempDir()
	write := func(name, kind string, der []byte) string {
		file := filepath.Join(dir, name)
		Expect(os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)).To(Succeed())
		return file
	}
	authority := &x509.Certificate{Subject: pkix.Name{CommonName: "front proxy CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caDER, caKey := issue(authority, nil, nil)
	leaf := &x509.Certificate{Subject: pkix.Name{CommonName: frontProxyName}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, key := issue(leaf, authority, caKey)
	keyDER, err := x509.MarshalECPrivateKey(key)
	Expect(err).NotTo(HaveOccurred())
	return frontProxy{write("ca.crt", "CERTIFICATE", caDER), write("client.crt", "CERTIFICATE", der), write("client.key", "EC PRIVATE KEY", keyDER)}
}

// startRecordings serves the recordings API from a bucket of the suite's, behind the API server's aggregator.
func startRecordings(ctx context.Context, config *rest.Config) {
	GinkgoHelper()
	var err error
	keys = &certs.Keys{Client: operator, Secret: client.ObjectKey{Namespace: operatorNamespace, Name: "chaperone-keys"}, Clock: clock, Log: ctrl.Log.WithName("keys")}
	Expect(keys.Load(ctx)).To(Succeed())
	bucket, err = archive.Open(ctx, "file://"+GinkgoT().TempDir(), keys)
	Expect(err).NotTo(HaveOccurred())
	der, key := issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "recordings"}, DNSNames: []string{"chaperone-logs." + operatorNamespace + ".svc"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, nil, nil)
	clientset, err := kubernetes.NewForConfig(config)
	Expect(err).NotTo(HaveOccurred())
	var api *logs.Server
	var port int32
	// The server says nothing of its port: take a free one, and another where somebody was faster.
	Eventually(func() error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		port = int32(l.Addr().(*net.TCPAddr).Port)
		_ = l.Close()
		api, err = logs.New(ctx, logs.Options{
			Archive: bucket, Bind: fmt.Sprintf("127.0.0.1:%d", port), Kubernetes: clientset, Client: operator, Log: ctrl.Log.WithName("logs"),
			Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
			},
		})
		return err
	}).WithTimeout(time.Minute).Should(Succeed())
	running, cancel := context.WithCancel(context.Background())
	before := stop
	stop = func() { cancel(); before() }
	for _, start := range []func(context.Context) error{api.Start, keys.Start} {
		go func() {
			defer GinkgoRecover()
			Expect(start(running)).To(Succeed())
		}()
	}
	// A name instead of addresses, because those of a loopback are none that endpoints may have.
	Expect(admin.Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "chaperone-logs", Namespace: operatorNamespace},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost", Ports: []corev1.ServicePort{{Port: port}}},
	})).To(Succeed())
	Expect(admin.Create(ctx, &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: "v1alpha1.logs.chaperone.dev"},
		Spec: apiregistrationv1.APIServiceSpec{
			Group: "logs.chaperone.dev", Version: "v1alpha1", GroupPriorityMinimum: 100, VersionPriority: 100,
			Service:  &apiregistrationv1.ServiceReference{Name: "chaperone-logs", Namespace: operatorNamespace, Port: ptr.To(port)},
			CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		},
	})).To(Succeed())
	Eventually(func(g Gomega) {
		var served apiregistrationv1.APIService
		g.Expect(admin.Get(ctx, client.ObjectKey{Name: "v1alpha1.logs.chaperone.dev"}, &served)).To(Succeed())
		g.Expect(served.Status.Conditions).To(ContainElement(And(
			HaveField("Type", apiregistrationv1.Available), HaveField("Status", apiregistrationv1.ConditionTrue))), "%v", served.Status.Conditions)
	}).WithContext(ctx).WithTimeout(90 * time.Second).Should(Succeed())
}

func newLogID() string {
	var id [16]byte
	_, _ = rand.Read(id[:])
	return hex.EncodeToString(id[:])
}

// chunkOf makes a log's next chunk of events, as a sidecar does.
func chunkOf(log *archive.Log, counts record.Counts, events ...record.Event) *record.Chunk {
	GinkgoHelper()
	var lines []byte
	for i := range events {
		line, err := json.Marshal(events[i])
		Expect(err).NotTo(HaveOccurred())
		lines = append(append(lines, line...), '\n')
	}
	z, err := zstd.NewWriter(nil)
	Expect(err).NotTo(HaveOccurred())
	payload := z.EncodeAll(lines, nil)
	sum := record.Sum(log.Next(), log.Chain().Hash(), payload)
	return &record.Chunk{
		Number: log.Next(), Previous: log.Chain().Hash(), Hash: sum[:], Payload: payload, Counts: counts,
		Last: events[len(events)-1].Kind == record.KindEnd,
	}
}

// begun begins a log in the bucket, and its entry in the index.
func begun(ctx context.Context, namespace, name string) *archive.Log {
	GinkgoHelper()
	meta := record.Meta{
		Log: newLogID(), Target: "billing", Protocol: "postgres", Start: time.Now().Add(-time.Minute).UTC(),
		Recording: name, Namespace: namespace, Pod: "agent-0", PodUID: "5d0e",
	}
	log, err := bucket.Begin(ctx, meta)
	Expect(err).NotTo(HaveOccurred())
	Expect(bucket.PutEntry(ctx, &archive.Entry{Meta: meta, State: record.Recording})).To(Succeed())
	return log
}

// recorded files a recording and puts its log into the bucket, as the broker does.
func recorded(ctx context.Context, namespace, name string, terminal bool, pod *corev1.Pod, events ...record.Event) {
	GinkgoHelper()
	id := newLogID()
	meta := record.Meta{
		Log: id, Target: "billing", Protocol: "postgres", Start: time.Now().Add(-time.Minute).UTC(), Terminal: terminal,
		Recording: name, Namespace: namespace, Pod: pod.Name, PodUID: string(pod.UID), ServiceAccount: "default",
	}
	log, err := bucket.Begin(ctx, meta)
	Expect(err).NotTo(HaveOccurred())
	var counts record.Counts
	for i := range events {
		if events[i].Kind == record.KindCommand {
			counts.Commands++
		}
		if events[i].Verdict == "Deny" {
			counts.Denied++
		}
	}
	Expect(log.Append(ctx, chunkOf(log, counts, events...))).To(Succeed())
	Expect(log.Sign(ctx, record.Complete)).To(Succeed())
	Expect(bucket.PutEntry(ctx, &archive.Entry{Meta: meta, State: record.Complete})).To(Succeed())
	sr := &v1alpha1.SessionRecording{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: v1alpha1.SessionRecordingSpec{
			Log: id, Target: meta.Target, Protocol: meta.Protocol, StartTime: metav1.NewMicroTime(meta.Start), Terminal: terminal,
			Pod: v1alpha1.RecordedPod{Name: pod.Name, UID: pod.UID, ServiceAccount: "default"},
		},
	}
	Expect(operator.Create(ctx, sr)).To(Succeed())
	sr.Status = v1alpha1.SessionRecordingStatus{Phase: v1alpha1.RecordingComplete, Chunks: 1, Counts: v1alpha1.RecordingCounts(counts), EndTime: ptr.To(metav1.Now())}
	Expect(operator.Status().Update(ctx, sr)).To(Succeed())
}
