package node

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"text/template"

	"golang.org/x/sys/unix"

	"github.com/chaperone-dev/chaperone/hack/cluster/component"
	"github.com/chaperone-dev/chaperone/hack/cluster/image"
)

//go:embed config
var configs embed.FS

// capSysResource is CAP_SYS_RESOURCE (capabilities(7)).
const capSysResource = 24

// settings are what the configuration files are filled in with.
type settings struct {
	Name, Version, ClusterDomain          string
	Address4, Address6                    string
	Gateway4, Gateway6                    string
	PodRange4, PodRange6, PodRanges       string
	ServiceRanges                         string
	DNS4, DNS6                            string
	PauseImage, CoreDNSImage              string
	PKI, Config, CNI, Runc                string
	ContainerdSocket, Snapshotter, Cgroup string
	Platform                              string
	IPv6, NoSysResource                   bool
}

func (n Node) settings() settings {
	s := settings{
		Name: Name, Version: component.Version, ClusterDomain: clusterDomain,
		Address4: address4, Address6: address6, Gateway4: gateway4, Gateway6: gateway6,
		PodRange4: podRange4, PodRange6: podRange6,
		PodRanges: n.both(podRange4, podRange6), ServiceRanges: n.both(serviceRange4, serviceRange6),
		DNS4: dnsAddress4, DNS6: dnsAddress6,
		PauseImage: image.Reference("pause"), CoreDNSImage: image.Reference("coredns"),
		PKI: n.pki(), Config: n.config(), CNI: n.Folder.CNI(), Runc: n.Folder.Tool("runc"),
		ContainerdSocket: n.Folder.ContainerdSocket(), Snapshotter: "overlayfs", Cgroup: n.Folder.Cgroup(),
		Platform: "linux/" + runtime.GOARCH, IPv6: n.IPv6,
		NoSysResource: !hasCapability(capSysResource),
	}
	if !n.Overlay {
		s.Snapshotter = "native"
	}
	return s
}

// both joins the ranges of the address families that there are.
func (n Node) both(v4, v6 string) string {
	if n.IPv6 {
		return v4 + "," + v6
	}
	return v4
}

func (n Node) pki() string    { return n.Folder.State("pki") }
func (n Node) config() string { return n.Folder.State("config") }

// writeConfigs renders every file of the config folder into the node's.
func (n Node) writeConfigs() error {
	s := n.settings()
	return fs.WalkDir(configs, "config", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := configs.ReadFile(path)
		if err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
		rendered, err := render(path, string(data), s)
		if err != nil {
			return err
		}
		target := filepath.Join(n.config(), filepath.Base(path))
		if filepath.Ext(path) == ".conflist" {
			target = filepath.Join(n.config(), "cni", filepath.Base(path))
		}
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return fmt.Errorf("writing %s: %w", target, err)
		}
		if err := os.WriteFile(target, rendered, 0o644); err != nil {
			return fmt.Errorf("writing %s: %w", target, err)
		}
		return nil
	})
}

func render(name, text string, s settings) ([]byte, error) {
	t, err := template.New(name).Option("missingkey=error").Parse(text)
	if err != nil {
		return nil, fmt.Errorf("parsing %s: %w", name, err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, s); err != nil {
		return nil, fmt.Errorf("filling in %s: %w", name, err)
	}
	return b.Bytes(), nil
}

func hasCapability(c uint) bool {
	var data [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	return data[c/32].Effective&(1<<(c%32)) != 0
}
