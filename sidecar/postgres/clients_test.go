package postgres

import (
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// TestClients runs libpq's own programs through the sidecar and past it.
func TestClients(t *testing.T) {
	past := server.DSN("agent", agentPassword, "app")
	sidecars := map[string]*sidecar{"allowing": newSidecar(t, allowAll()), "masking": newSidecar(t, masked(policy.MaskRedact))}
	commands := map[string][]string{
		"describe a table":     {"psql", "-Xc", `\d customers`},
		"describe a view":      {"psql", "-Xc", `\d+ customer_names`},
		"list tables":          {"psql", "-Xc", `\dt`},
		"list functions":       {"psql", "-Xc", `\df`},
		"list databases":       {"psql", "-Xc", `\l`},
		"list roles":           {"psql", "-Xc", `\du`},
		"list schemas":         {"psql", "-Xc", `\dn+`},
		"an error with a line": {"psql", "-Xc", "SELECT 1,\n  FORM x y z"},
		"a script":             {"psql", "-Xqf", "-"},
		"copy from a client":   {"psql", "-Xc", `\copy (SELECT id, name FROM customers ORDER BY id) TO STDOUT CSV HEADER`},
	}
	script := "BEGIN;\nCREATE TEMP TABLE s (n int);\nINSERT INTO s VALUES (1), (2);\nSELECT sum(n) FROM s;\nSAVEPOINT a;\nSELECT nothing;\nROLLBACK TO a;\n" +
		"DECLARE c CURSOR FOR SELECT n FROM s ORDER BY n;\nFETCH ALL FROM c;\nCOMMIT;\n\\set n 5\nSELECT :n + 1;\n\\gdesc\nSELECT 1 AS x \\gset\n\\echo :x\n"
	changing := regexp.MustCompile(`(?m)^\\(un)?restrict .*$|^-- (Dumped|Started|Completed).*$`)
	for name, args := range commands {
		run := func(dsn string) string {
			cmd := server.Command(args[0], append(append([]string{}, args[1:]...), "-d", dsn)...)
			if args[len(args)-1] == "-" {
				cmd.Stdin = strings.NewReader(script)
			}
			out, err := cmd.CombinedOutput()
			return changing.ReplaceAllString(string(out), "") + fmt.Sprint(err)
		}
		want := run(past)
		for kind, s := range sidecars {
			t.Run(name+", "+kind, func(t *testing.T) {
				if strings.Contains(want, "does not exist") {
					t.Skip("this client is older than the server, and asks for columns of catalogues that are gone")
				}
				_, port, _ := net.SplitHostPort(s.Address())
				if got := run("host=127.0.0.1 port=" + port + " user=agent dbname=app"); got != want {
					t.Fatalf("through the sidecar:\n%s\npast it:\n%s", got, want)
				}
			})
		}
	}
}
