package main

import (
	"context"
	_ "embed"
	"regexp"
	"strings"
	"time"

	"github.com/chaperone-dev/chaperone/test/environment"
)

//go:embed manifests/release.yaml
var release string

const bastion = "bastion.prod.svc.cluster.local"

// typing runs a terminal as somebody sits at it: it types the next line once the one before has shown what it prints.
const typing = `cd /tmp && mkfifo keys && : >screen || exit
TERM=dumb ssh -tt ` + bastion + ` <keys >>screen 2>&1 &
exec 3>keys
shown() { until grep -q "$1" screen; do sleep 0.2; done; sleep 1; }
shown '[$#] $'; echo 'cat current/version' >&3
shown '^42'; echo 'tail -n 1 logs/orders.log' >&3
shown '^order 18'; echo exit >&3
wait; cat screen`

// controls are what a terminal is told, by a program or by replay at its end, and a reader of text is not.
var controls = regexp.MustCompile("[\r\x0f]|\x1b(\\[[0-9;?]*[a-zA-Z]|\\(B|>)")

// remote is the agent running a command in its own container, which must show every expected expression.
func (s *story) remote(ctx context.Context, command string, expected ...string) error {
	output := s.in(ctx, "release-agent", command)
	s.show("agent", command, output)
	return expect(output, expected...)
}

func (s *story) server(ctx context.Context, dana *environment.User) error {
	s.chapter("7. A server, over SSH")
	s.sayf("A third agent puts releases on a server. The key to it is in a Secret, which the agent's pod does not get.")
	if err := s.admitToServer(ctx); err != nil {
		return err
	}
	s.sayf("No file in its container holds a key. ssh works all the same, and finds release 41.")
	if err := s.remote(ctx, "grep -rs 'PRIVATE KEY' ~ /etc /run /tmp /var | wc -l", `^0\n$`); err != nil {
		return err
	}
	if err := s.remote(ctx, "ssh "+bastion+" 'id -un; ls releases'", `(?m)^deploy$`, `(?m)^41$`); err != nil {
		return err
	}
	s.sayf("What commands print is masked.")
	if err := s.remote(ctx, "ssh "+bastion+" cat logs/orders.log", `order 17 by`, `order 18 by`, `!ada@analytical`, `!9015`, `!grace@`); err != nil {
		return err
	}
	s.sayf("Every command of a line is judged before any of it runs; here nothing is printed and nothing removed.")
	if err := s.remote(ctx, "ssh "+bastion+" 'cat logs/orders.log && rm -r releases/41'; echo status $?",
		`removed by the pipeline`, `no-removal`, `agents/bastion`, `status 126`, `!order 17`); err != nil {
		return err
	}
	if err := s.remote(ctx, "ssh "+bastion+" ls releases", `(?m)^41$`); err != nil {
		return err
	}
	if err := s.transfer(ctx); err != nil {
		return err
	}
	s.sayf("To switch the server to the new release needs a human.")
	const change = "ssh " + bastion + " ln -sfn releases/42 current"
	output, err := s.held(ctx, dana, change, "release 42 is tested", func() string { return s.in(ctx, "release-agent", change) })
	if err != nil {
		return err
	}
	s.show("agent", change, output)
	if err := expect(output, `waiting for approval`); err != nil {
		return err
	}
	if err := s.remote(ctx, "ssh "+bastion+" cat current/version", `(?m)^42$`); err != nil {
		return err
	}
	return s.terminal(ctx, dana)
}

// admitToServer starts the server, with its key in a Secret, and the agent.
func (s *story) admitToServer(ctx context.Context) error {
	server := &environment.SSHServer{Namespace: "prod", Name: "bastion", Files: map[string]string{
		"releases/41/version":   "41\n",
		"backups/customers.csv": "1,Ada Lovelace,ada@analytical.example\n",
		"logs/orders.log":       "order 17 by ada@analytical.example, card 4929 1234 5678 9015\norder 18 by grace@hopper.example, paid in cash\n",
	}}
	if err := server.Deploy(ctx, s.env); err != nil {
		return err
	}
	if err := s.env.SSHCredentials(ctx, "agents", "bastion", server); err != nil {
		return err
	}
	if _, err := s.kubectl(ctx, []string{"apply", "-f", "config/samples/bastion.yaml"}, `agentpolicy.*bastion created`); err != nil {
		return err
	}
	if _, err := s.env.Apply(ctx, release); err != nil {
		return err
	}
	s.show("admin", "kubectl apply -f test/demo/manifests/release.yaml", "deployment.apps/release-agent created")
	return s.env.RolledOut(ctx, "agents", "deployment/release-agent", 2*time.Minute)
}

// transfer copies one file that may be copied, and tries one that may not.
func (s *story) transfer(ctx context.Context) error {
	s.sayf("Files over sftp are judged one by one, by the path that the server makes of them.")
	if err := s.remote(ctx, "echo 42 >/tmp/version; printf 'mkdir releases/42\\nput /tmp/version releases/42/version\\n' | sftp -b - "+bastion); err != nil {
		return err
	}
	if err := s.remote(ctx, "ssh "+bastion+" cat releases/42/version", `(?m)^42$`); err != nil {
		return err
	}
	return s.remote(ctx, "echo get releases/../backups/customers.csv /tmp/stolen | sftp -b - "+bastion+"; ls /tmp/stolen",
		`backups stay on the server`, `rule "backups"`, `/tmp/stolen.*No such file`)
}

// terminal shows a terminal at work, and what a human sees of it afterwards.
func (s *story) terminal(ctx context.Context, dana *environment.User) error {
	s.sayf("On a terminal commands cannot be judged before they are typed. This policy lets the agent have one when a human\n" +
		"agrees, and records it.")
	screen, err := s.held(ctx, dana, "ssh -tt "+bastion, "looking after release 42", func() string { return s.in(ctx, "release-agent", typing) })
	if err != nil {
		return err
	}
	screen = controls.ReplaceAllString(screen, "")
	s.show("agent", "ssh -tt "+bastion, screen)
	if err := expect(screen, `(?m)^42$`, `order 18 by`, `!grace@`); err != nil {
		return err
	}
	s.sayf("The terminal, as it was, from the recording:")
	var name string
	if err := eventually(ctx, 30*time.Second, "the recording", func() (bool, error) {
		got, err := dana.Kubectl(ctx, "get", "sessionrecordings", "-n", "agents", "-o", `jsonpath={.items[?(@.spec.terminal==true)].metadata.name}`)
		name = strings.TrimSpace(got.Stdout)
		return name != "", err
	}); err != nil {
		return err
	}
	return eventually(ctx, 30*time.Second, "the terminal in the recording", func() (bool, error) {
		replayed, err := dana.Kubectl(ctx, "chaperone", "replay", name, "-n", "agents", "--no-timing")
		if err != nil {
			return false, err
		}
		output := controls.ReplaceAllString(replayed.Output, "")
		if err := expect(output, `cat current/version`, `(?m)^42$`, `tail -n 1 logs/orders.log`, `order 18 by`, `(?i)verified`, `!grace@`); err != nil {
			return false, err
		}
		s.show("dana", "kubectl chaperone replay "+name+" -n agents --no-timing", output)
		return true, nil
	})
}
