package doctor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ProbeVerb is what the program is started with in namespaces of its own.
const ProbeVerb = "doctor-probe"

// namespaces tries, in namespaces that end with the trial, what the node does.
func namespaces() []Problem {
	cmd := exec.Command("/proc/self/exe", ProbeVerb)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	if err := cmd.Run(); err != nil {
		return []Problem{{
			fmt.Sprintf("no namespaces of our own: %v %s", err, bytes.TrimSpace(stderr.Bytes())),
			"run it as root of the machine, or in a container with --privileged",
		}}
	}
	var problems []Problem
	if err := json.Unmarshal(stdout.Bytes(), &problems); err != nil {
		return []Problem{{fmt.Sprintf("an answer from the trial: %v", err), "report this"}}
	}
	return problems
}

// Probe is the trial itself. It prints the problems it finds as JSON.
func Probe() error {
	problems := []Problem{}
	for _, trial := range []struct {
		what, wayOut string
		do           func() error
	}{
		{"mounts", "in a container, run it with --privileged", tryMount},
		{"network links (veth and bridge)", "modprobe -a veth bridge, or a kernel with CONFIG_VETH and CONFIG_BRIDGE", tryLinks},
		{"nftables address translation", "modprobe -a nf_tables nft_nat nft_redir nft_masq nft_ct, or a kernel with them", tryRules},
	} {
		if err := trial.do(); err != nil {
			problems = append(problems, Problem{fmt.Sprintf("no %s: %v", trial.what, err), trial.wayOut})
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(problems); err != nil {
		return fmt.Errorf("telling what was found: %w", err)
	}
	return nil
}

func tryMount() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return err
	}
	if err := unix.Mount("run", "/run", "tmpfs", 0, ""); err != nil {
		return err
	}
	// A read-only /proc/sys, as unprivileged containers have, shows here.
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
}

func tryLinks() error {
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "trial0"}}); err != nil {
		return fmt.Errorf("bridge: %w", err)
	}
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "trial1"}, PeerName: "trial2"}); err != nil {
		return fmt.Errorf("veth: %w", err)
	}
	return nil
}

// tryRules makes a rule of each kind that the pods' redirect and kube-proxy
// depend on.
func tryRules() error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	table := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "trial"})
	output := conn.AddChain(&nftables.Chain{
		Name: "output", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityNATDest,
	})
	conn.AddRule(&nftables.Rule{Table: table, Chain: output, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Immediate{Register: 1, Data: []byte{0x3a, 0x98}},
		&expr.Redir{RegisterProtoMin: 1},
	}})
	post := conn.AddChain(&nftables.Chain{
		Name: "post", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	conn.AddRule(&nftables.Rule{Table: table, Chain: post, Exprs: []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATUS, Register: 1},
		&expr.Masq{},
	}})
	return conn.Flush()
}
