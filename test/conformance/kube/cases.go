package main

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"
)

//go:embed cases
var caseFiles embed.FS

//go:embed files
var fileTree embed.FS

// files are what the commands of cases read, as files/NAME.
var files = func() fs.FS {
	sub, err := fs.Sub(fileTree, "files")
	if err != nil {
		panic(err) // the folder is embedded above
	}
	return sub
}()

// script is a case: shell commands that one side runs after another.
type script struct {
	name, text string
	// session says that it opens exec, attach or port-forward, whose transport depends on the client.
	session bool
}

// readCases reads a file of cases: a line `== name` begins one, `== name (session)` one that opens exec, attach or
// port-forward; lines behind a # are for people.
func readCases(name string) ([]script, error) {
	text, err := caseFiles.ReadFile("cases/" + name + ".txt")
	if err != nil {
		return nil, err
	}
	return parseCases(string(text))
}

func parseCases(text string) ([]script, error) {
	var out []script
	seen := make(map[string]bool)
	for line := range strings.Lines(text) {
		title, begins := strings.CutPrefix(line, "== ")
		switch {
		case begins:
			title, session := strings.CutSuffix(strings.TrimSpace(title), " (session)")
			if seen[title] || strings.Contains(title, ":") {
				return nil, fmt.Errorf("the case %q stands twice, or has a colon in its name", title)
			}
			seen[title] = true
			out = append(out, script{name: title, session: session})
		case strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "":
		case len(out) == 0:
			return nil, fmt.Errorf("the line %q is in no case", strings.TrimSpace(line))
		default:
			out[len(out)-1].text += line
		}
	}
	for _, s := range out {
		if s.text == "" {
			return nil, fmt.Errorf("the case %q does nothing", s.name)
		}
	}
	return out, nil
}
