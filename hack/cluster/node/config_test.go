package node

import (
	"encoding/json"
	"io/fs"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/chaperone-dev/chaperone/hack/cluster/folder"
)

func rendered(t *testing.T, n Node) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(configs, "config", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := configs.ReadFile(path)
		if err != nil {
			return err
		}
		out, err := render(path, string(data), n.settings())
		files[d.Name()] = string(out)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestConfigsFollowTheAddressFamilies(t *testing.T) {
	for name, tc := range map[string]struct {
		ipv6   bool
		ranges int
	}{
		"dual-stack where the kernel has IPv6": {true, 2},
		"IPv4 alone where it has not":          {false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			files := rendered(t, Node{Folder: folder.Folder{Root: "/k"}, IPv6: tc.ipv6})
			var network struct {
				Plugins []struct {
					Type string
					IPAM struct{ Ranges [][]struct{ Subnet string } }
				}
			}
			if err := json.Unmarshal([]byte(files["cni.conflist"]), &network); err != nil {
				t.Fatal(err)
			}
			if got := len(network.Plugins[0].IPAM.Ranges); got != tc.ranges {
				t.Errorf("a pod gets %d addresses, want %d", got, tc.ranges)
			}
			for file, text := range files {
				if strings.Contains(text, "fd97:") != tc.ipv6 && file != "resolv.conf" && file != "audit.yaml" && file != "containerd.toml" {
					t.Errorf("%s mentions an IPv6 address: %v, want %v\n%s", file, !tc.ipv6, tc.ipv6, text)
				}
			}
		})
	}
}

func TestTheSnapshotterFollowsWhatTheFolderCanHold(t *testing.T) {
	for overlay, want := range map[bool]string{true: `snapshotter = "overlayfs"`, false: `snapshotter = "native"`} {
		toml := rendered(t, Node{Folder: folder.Folder{Root: "/k"}, Overlay: overlay})["containerd.toml"]
		if strings.Count(toml, want) != 2 {
			t.Errorf("overlay %v: want %s in two places:\n%s", overlay, want, toml)
		}
	}
}

func TestAddressesLieInTheirRanges(t *testing.T) {
	for address, in := range map[string]string{dnsAddress4: serviceRange4, dnsAddress6: serviceRange6} {
		if !netip.MustParsePrefix(in).Contains(netip.MustParseAddr(address)) {
			t.Errorf("%s is not in %s", address, in)
		}
	}
	ranges := []string{podRange4, serviceRange4, podRange6, serviceRange6, address4 + "/24", address6 + "/64"}
	for i, a := range ranges {
		for _, b := range ranges[i+1:] {
			if netip.MustParsePrefix(a).Overlaps(netip.MustParsePrefix(b)) {
				t.Errorf("%s and %s overlap", a, b)
			}
		}
	}
}

func TestCreatedReadsInotifyEvents(t *testing.T) {
	event := func(name string, padded int) []byte {
		e := make([]byte, unix.SizeofInotifyEvent+padded)
		e[12] = byte(padded)
		copy(e[unix.SizeofInotifyEvent:], name)
		return e
	}
	whole := append(event("one", 16), event("two", 16)...)
	for name, tc := range map[string]struct {
		events []byte
		want   string
	}{
		"two events":            {whole, "one two"},
		"an event cut short":    {whole[:len(whole)-1], "one"},
		"an event without name": {event("", 0), ""},
		"nothing":               {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(created(tc.events), " "); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
