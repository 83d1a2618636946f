package wire

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// forbidden are names of pgproto3 v2 that may not be used, and why (docs/adr/0002-pgproto3-v2.md).
var forbidden = map[string]string{
	"Bind":           "its decoder panics on hostile lengths (CVE-2026-32286)",
	"DataRow":        "its decoder panics on hostile lengths (CVE-2026-32286)",
	"FunctionCall":   "its decoder panics on hostile lengths (CVE-2026-32286)",
	"StartupMessage": "it knows protocol 3.0 alone",
	"Frontend":       "it reads frames by itself",
	"NewFrontend":    "it reads frames by itself",
	"Backend":        "it reads frames by itself",
	"NewBackend":     "it reads frames by itself",
}

func TestVocabulary(t *testing.T) {
	used := 0
	for _, pattern := range []string{"*.go", "../*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				s, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if p, ok := s.X.(*ast.Ident); ok && p.Name == "pgproto3" {
					used++
					if why, bad := forbidden[s.Sel.Name]; bad {
						t.Errorf("%s uses pgproto3.%s: %s", path, s.Sel.Name, why)
					}
				}
				return true
			})
		}
	}
	if used == 0 {
		t.Fatal("pgproto3 is not used at all: this test looks at nothing")
	}
}
