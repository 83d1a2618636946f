package debian

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseURIs(t *testing.T) {
	for name, tc := range map[string]struct {
		out  string
		want []Package
		err  string
	}{
		"nothing to fetch is no package": {out: "\n"},
		"an epoch's colon is unescaped": {
			out:  "'http://mirror.example/debian/pool/main/a/acl/libacl1_2.3.1-3_amd64.deb' libacl1_1%3a2.3.1-3_amd64.deb 31488 SHA256:ab\n",
			want: []Package{{Name: "libacl1", Version: "1:2.3.1-3", File: "libacl1_1%3a2.3.1-3_amd64.deb", Size: 31488}},
		},
		"a message instead of a package is an error": {out: "Reading package lists...\n", err: "something else"},
		"a size that is no number is an error":       {out: "'http://x/a_1_all.deb' a_1_all.deb many", err: "no size"},
		"a name without a version is an error":       {out: "'http://x/a.deb' a.deb 1", err: "unusual name"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseURIs(tc.out)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("got error %v, want one with %q", err, tc.err)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %+v and %v, want %+v", got, err, tc.want)
			}
		})
	}
}

func TestOfDistribution(t *testing.T) {
	for name, tc := range map[string]struct {
		source string
		want   bool
	}{
		"a deb822 stanza of the release":        {"Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n", true},
		"a line of the release":                 {"deb [arch=amd64] http://mirror.example/debian bookworm main\n", true},
		"a third party's suite":                 {"Types: deb\nSuites: nodistro\n", false},
		"a suite that only contains the name":   {"deb https://packages.example/apt cloud-sdk-bookworm main\n", false},
		"a comment that mentions the release":   {"# deb http://mirror.example/debian bookworm main\n", false},
		"a key file named after it is no suite": {"Types: deb\nSigned-By: bookworm\nSuites: stable\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := ofDistribution(tc.source, "bookworm"); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestConfigurationTakesOnlyTheNetworkFromTheHost(t *testing.T) {
	got := configuration("Acquire::http::Proxy \"http://proxy:3128\";\nAPT::Update::Post-Invoke:: \"rm -f /var/cache/apt/*\";\n", map[string]string{"Dir::Cache": "/x"})
	if !strings.Contains(got, "Proxy") || strings.Contains(got, "Post-Invoke") || !strings.Contains(got, "Dir::Cache \"/x\";") {
		t.Errorf("unexpected configuration:\n%s", got)
	}
}

func TestCleanNeverLeavesTheRoot(t *testing.T) {
	for in, want := range map[string]string{"./usr/bin/": "usr/bin", "./": "", "../../etc/passwd": "etc/passwd", "/a/../b": "b"} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) is %q, want %q", in, got, want)
		}
	}
}
