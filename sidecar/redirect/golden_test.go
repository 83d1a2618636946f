package redirect

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestTableAsText(t *testing.T) {
	for name, c := range map[string]Config{
		"plain.nft":                  {UID: 20001, Nameservers: []netip.Addr{netip.MustParseAddr("10.96.0.10")}},
		"link-local-nameservers.nft": {UID: 20001, Nameservers: []netip.Addr{netip.MustParseAddr("169.254.20.10"), netip.MustParseAddr("fe80::53%eth0")}},
	} {
		t.Run(name, func(t *testing.T) {
			table, err := New(c)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name)
			if *update {
				if err := os.WriteFile(file, []byte(table.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if table.String() != string(want) {
				t.Errorf("the rules are not those of %s; read the difference, then run with -update:\n%s", file, table)
			}
		})
	}
}

func TestUIDZeroIsRefused(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("a table that lets root out was made")
	}
}

func TestEveryRuleSaysWhatItIsForInTheKernelToo(t *testing.T) {
	table, err := New(Config{UID: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range table.Chains {
		for _, r := range c.Rules {
			if r.Comment == "" || len(r.Comment) > maxComment {
				t.Errorf("%s: comment %q", r, r.Comment)
			}
		}
	}
}

func TestClosed(t *testing.T) {
	for address, want := range map[string]bool{
		"169.254.169.254": true, "::ffff:169.254.169.254": true, "169.254.170.23": true, "fe80::1%eth0": true,
		"fd00:ec2::254": true, "fd00:ec2::23": true, "fd20:ce::254": true, "168.63.129.16": true,
		"10.0.0.1": false, "169.253.0.1": false, "fd00:ec3::1": false, "2001:db8::1": false,
	} {
		if got := Closed(netip.MustParseAddr(address)); got != want {
			t.Errorf("Closed(%s) = %t", address, got)
		}
	}
}
