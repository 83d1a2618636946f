package operator_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/chaperone-dev/chaperone/controllers/archive"
	"github.com/chaperone-dev/chaperone/controllers/certs"
)

// operatorVariable names the environment variable that holds the path of the operator's program: make chaos, make load.
const operatorVariable = "CHAPERONE_OPERATOR"

// process is the operator's own program, started and killed from outside.
type process struct {
	operator
	broker, metrics string
	webhookPort     int32
	arguments       []string
	environment     []string
	running         *exec.Cmd
	output          string
}

func freeAddress() string {
	GinkgoHelper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	defer l.Close()
	return l.Addr().String()
}

// startProcess runs the program with recordings in folder, or skips the spec where there is no program.
func startProcess(ctx context.Context, folder string) *process {
	GinkgoHelper()
	program := os.Getenv(operatorVariable)
	if program == "" {
		Skip("make chaos and make load run it with the operator's own program")
	}
	live, err := client.New(config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	authority := &certs.Authority{
		Client: live, Secret: types.NamespacedName{Namespace: operatorNamespace, Name: "chaperone-root"},
		Names: certs.ServiceNames(operatorNamespace, "chaperone-broker"), Clock: clock.RealClock{}, Log: ctrl.Log,
	}
	Expect(authority.Load(ctx)).To(Succeed())
	keys := &certs.Keys{Client: live, Secret: types.NamespacedName{Namespace: operatorNamespace, Name: "chaperone-keys"}, Clock: clock.RealClock{}, Log: ctrl.Log}
	Expect(keys.Load(ctx)).To(Succeed())
	bytes, err := archive.Open(ctx, "file://"+folder, keys)
	Expect(err).NotTo(HaveOccurred())
	user, err := environment.AddUser(envtest.User{Name: "operator", Groups: []string{"system:masters"}}, &rest.Config{})
	Expect(err).NotTo(HaveOccurred())
	text, err := user.KubeConfig()
	Expect(err).NotTo(HaveOccurred())
	dir := GinkgoT().TempDir()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	Expect(os.WriteFile(kubeconfig, text, 0o600)).To(Succeed())
	_, webhookPort, err := net.SplitHostPort(freeAddress())
	Expect(err).NotTo(HaveOccurred())
	port, err := strconv.ParseInt(webhookPort, 10, 32)
	Expect(err).NotTo(HaveOccurred())
	p := &process{
		operator: operator{archive: bytes, keys: keys, roots: authority.Roots(), folder: folder},
		broker:   freeAddress(), metrics: freeAddress(), output: filepath.Join(dir, "operator.log"), webhookPort: int32(port),
		environment: append(os.Environ(), "KUBECONFIG="+kubeconfig),
	}
	p.arguments = []string{
		program, "--namespace=" + operatorNamespace, "--name=chaperone-0", "--sidecar-image=localhost/chaperone/sidecar:dev",
		"--recordings-url=file://" + folder, "--leader-elect=false", "--broker-bind=" + p.broker, "--metrics-bind=" + p.metrics,
		"--logs-bind=" + freeAddress(), "--health-bind=" + freeAddress(), "--webhook-port=" + webhookPort,
	}
	p.start()
	DeferCleanup(p.kill)
	Eventually(p.serves).WithTimeout(2 * time.Minute).Should(Succeed())
	return p
}

func (p *process) start() {
	GinkgoHelper()
	log, err := os.OpenFile(p.output, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	Expect(err).NotTo(HaveOccurred())
	defer log.Close()
	p.running = exec.Command(p.arguments[0], p.arguments[1:]...)
	p.running.Env, p.running.Stdout, p.running.Stderr = p.environment, log, log
	Expect(p.running.Start()).To(Succeed())
}

// kill is SIGKILL: nothing is brought to an end.
func (p *process) kill() {
	if p.running != nil {
		_ = p.running.Process.Kill()
		_ = p.running.Wait()
		p.running = nil
	}
}

func (p *process) serves() error {
	c, err := net.Dial("tcp", p.broker)
	if err != nil {
		said, _ := os.ReadFile(p.output)
		return fmt.Errorf("%w\n%s", err, said[max(0, len(said)-2000):])
	}
	return c.Close()
}

// usage is what the program has taken of the machine and of the API server so far.
type usage struct {
	at       time.Time
	cpu      time.Duration
	resident int64 // bytes, now
	requests float64
}

// ticks a second of /proc/pid/stat (proc(5)); the kernel's USER_HZ is 100 on every architecture that Go runs on.
const ticks = 100

func (p *process) usage(ctx context.Context) usage {
	GinkgoHelper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.running.Process.Pid))
	Expect(err).NotTo(HaveOccurred())
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+2:]))
	number := func(i int) int64 {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		Expect(err).NotTo(HaveOccurred())
		return n
	}
	u := usage{at: time.Now(), cpu: time.Duration(number(11)+number(12)) * time.Second / ticks, resident: number(21) * int64(syscall.Getpagesize())}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.metrics+"/metrics", http.NoBody)
	Expect(err).NotTo(HaveOccurred())
	answer, err := http.DefaultClient.Do(request)
	Expect(err).NotTo(HaveOccurred())
	defer answer.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(answer.Body)
	Expect(err).NotTo(HaveOccurred())
	for _, m := range families["rest_client_requests_total"].GetMetric() {
		u.requests += m.GetCounter().GetValue()
	}
	return u
}

// since is a line of a report.
func (u usage) since(before usage) string {
	seconds := u.at.Sub(before.at).Seconds()
	return fmt.Sprintf("%.0f s; CPU %.2f of a processor; memory (RSS) %d MiB; %.1f API-server requests/s",
		seconds, (u.cpu-before.cpu).Seconds()/seconds, u.resident>>20, (u.requests-before.requests)/seconds)
}
