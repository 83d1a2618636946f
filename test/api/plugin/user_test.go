package plugin_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
)

// person is a user with a kubeconfig.
type person struct {
	name, kubeconfig string
	config           *rest.Config
}

// someone is a person in these groups who is bound to these ClusterRoles in the namespace.
func someone(ctx context.Context, namespace, name string, groups []string, roles ...string) *person {
	GinkgoHelper()
	user, err := env.AddUser(envtest.User{Name: name, Groups: groups}, &rest.Config{QPS: -1})
	Expect(err).NotTo(HaveOccurred())
	text, err := user.KubeConfig()
	Expect(err).NotTo(HaveOccurred())
	p := &person{name: name, kubeconfig: filepath.Join(GinkgoT().TempDir(), name), config: user.Config()}
	Expect(os.WriteFile(p.kubeconfig, text, 0o600)).To(Succeed())
	for _, role := range roles {
		Expect(admin.Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "suite-", Namespace: namespace},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}},
		})).To(Succeed())
	}
	if len(roles) > 0 {
		// The authorizer takes a new binding up through its own watch.
		c, err := client.New(p.config, client.Options{Scheme: scheme})
		Expect(err).NotTo(HaveOccurred())
		Eventually(func() error { return c.List(ctx, &v1alpha1.ApprovalRequestList{}, client.InNamespace(namespace)) }).
			WithContext(ctx).WithTimeout(30 * time.Second).WithPolling(50 * time.Millisecond).Should(Succeed())
	}
	return p
}

// answer is what a program printed and how it ended.
type answer struct {
	out, err string
	code     int
}

// kubectl runs kubectl with the plugin on its PATH, and no other one.
func (p *person) kubectl(ctx context.Context, args ...string) answer {
	GinkgoHelper()
	cmd := exec.CommandContext(ctx, filepath.Join(programs, "kubectl"), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+p.kubeconfig, "PATH="+programs+":/usr/bin:/bin", "HOME="+filepath.Dir(p.kubeconfig))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if cmd.ProcessState == nil {
		Expect(err).NotTo(HaveOccurred())
	}
	return answer{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// chaperone runs `kubectl chaperone`.
func (p *person) chaperone(ctx context.Context, args ...string) answer {
	GinkgoHelper()
	return p.kubectl(ctx, append([]string{"chaperone"}, args...)...)
}

// succeeds is the output of a command that has to succeed.
func (p *person) succeeds(ctx context.Context, args ...string) string {
	GinkgoHelper()
	a := p.chaperone(ctx, args...)
	Expect(a.code).To(BeZero(), "kubectl chaperone %s: %s", strings.Join(args, " "), a.err)
	return a.out
}

// fails is the error of a command that has to fail.
func (p *person) fails(ctx context.Context, args ...string) string {
	GinkgoHelper()
	a := p.chaperone(ctx, args...)
	Expect(a.code).To(Equal(1), "kubectl chaperone %s: %s", strings.Join(args, " "), a.out)
	return a.err
}
