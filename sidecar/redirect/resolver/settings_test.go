package resolver

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

func addresses(s ...string) []netip.Addr {
	var out []netip.Addr
	for _, a := range s {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want Settings
	}{
		"a pod's usual file": {
			"search prod.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n",
			Settings{addresses("10.96.0.10"), []string{"prod.svc.cluster.local", "svc.cluster.local", "cluster.local"}, 5},
		},
		"the last search line counts, ndots is 1 by default": {
			"search a.example\nsearch B.example.\nnameserver fd00::a\nnameserver 10.0.0.1",
			Settings{addresses("fd00::a", "10.0.0.1"), []string{"b.example"}, 1},
		},
		"comments, unknown words and options are passed over": {
			"# nameserver 1.1.1.1\n; nameserver 1.1.1.1\nsortlist 10/8\noptions edns0 ndots:x ndots:-1 rotate\nnameserver 10.0.0.1 # ours",
			Settings{addresses("10.0.0.1"), nil, 1},
		},
		"the fourth nameserver and repeated ones are not asked": {
			"nameserver 10.0.0.1\nnameserver ::ffff:10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4\noptions ndots:99\n",
			Settings{addresses("10.0.0.1", "10.0.0.2", "10.0.0.3"), nil, 15},
		},
		"an empty file": {"", Settings{Ndots: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(strings.NewReader(c.text))
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
	for name, text := range map[string]string{
		"a nameserver that is a name": "nameserver dns.example\n",
		"a line without end":          "search " + strings.Repeat("a", maxLine),
	} {
		if _, err := Parse(strings.NewReader(text)); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestExpand(t *testing.T) {
	pod := Settings{Search: []string{"prod.svc.cluster.local", "svc.cluster.local"}, Ndots: 5}
	host := Settings{Search: []string{"example"}, Ndots: 1}
	for name, c := range map[string]struct {
		settings Settings
		name     string
		want     []string
	}{
		"a short name":                                 {pod, "billing-db", []string{"billing-db.prod.svc.cluster.local", "billing-db.svc.cluster.local", "billing-db"}},
		"a name with a namespace":                      {pod, "Billing-DB.prod", []string{"billing-db.prod.svc.cluster.local", "billing-db.prod"}},
		"a final dot means the name as it is":          {pod, "db.example.", []string{"db.example"}},
		"enough dots: the name as it is is first":      {host, "db.example", []string{"db.example", "db.example.example"}},
		"a name with a dot is no pod of the namespace": {pod, "partner.example", []string{"partner.example.svc.cluster.local", "partner.example"}},
		"nothing": {pod, ".", nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.settings.Expand(c.name); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestNote(t *testing.T) {
	dir, source := t.TempDir(), filepath.Join(t.TempDir(), "resolv.conf")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(source, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Load(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("nothing noted yet: %v", err)
	}
	for _, bad := range []string{"", "nameserver 127.0.0.1\n", "nameserver ::1\n", "nameserver 0.0.0.0\n", "nameserver 10.0.0.1\nnameserver 127.0.0.53\n"} {
		write(bad)
		if _, err := Note(source, dir); err == nil {
			t.Errorf("%q was noted", bad)
		}
	}
	write("search prod.svc.cluster.local\nnameserver 10.96.0.10\nnameserver fe80::1%eth0\noptions ndots:5\n")
	noted, err := Note(source, dir)
	if err != nil {
		t.Fatal(err)
	}
	write("nameserver 203.0.113.66\n")
	again, err := Note(source, dir)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := Settings{addresses("10.96.0.10", "fe80::1%eth0"), []string{"prod.svc.cluster.local"}, 5}
	for what, got := range map[string]Settings{"noted": noted, "noted again after an agent wrote the file": again, "loaded": loaded} {
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v", what, got)
		}
	}
	for _, name := range []string{layout.NameserversFile, layout.SearchFile} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o644 {
			t.Errorf("%s: %v, %v; the sidecar's uid must be able to read it", name, info.Mode(), err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("search a b\nnameserver 10.0.0.1\noptions ndots:5\n")
	f.Add("nameserver ::1%lo\nsearch .\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(strings.NewReader(text))
		if err == nil && (len(s.Nameservers) > maxNameservers || len(s.Search) > maxSearch || s.Ndots > maxNdots) {
			t.Errorf("out of bounds: %+v", s)
		}
	})
}
