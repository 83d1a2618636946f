package ssh

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// family is a file of cases.
type family struct {
	name  string
	cases []*script
}

// script is one case: a text for the server's shell.
//
//	## a sentence          begins a case
//	: option value         policy NAME (allow or deny; without it both), passes WHY (it is no refusal that holds it),
//	                       harmless WHY (past the sidecar it does no harm), needs PROGRAM (for the harm)
//	@many N TEXT           TEXT, N times, in front of the rest
//	@nested N              the rest inside N substitutions
//	@stdin                 what follows is the command's input
//
// <NUL>, <CR>, <ESC>, <C3> and <FF> stand for those bytes.
type script struct {
	name, text, stdin string
	options           map[string]string
}

func families() ([]*family, error) {
	files, err := filepath.Glob(filepath.Join("cases", "*.txt"))
	if err != nil {
		return nil, err
	}
	var out []*family
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		f := &family{name: strings.ReplaceAll(strings.TrimSuffix(filepath.Base(file), ".txt"), "_", " ")}
		_, rest, _ := strings.Cut("\n"+string(content), "\n## ")
		for _, part := range strings.Split(rest, "\n## ") {
			c, err := readCase(part)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			f.cases = append(f.cases, c)
		}
		out = append(out, f)
	}
	return out, nil
}

var control = strings.NewReplacer("<NUL>", "\x00", "<CR>", "\r", "<ESC>", "\x1b", "<C3>", "\xc3", "<FF>", "\xff")

func readCase(part string) (*script, error) {
	name, body, _ := strings.Cut(part, "\n")
	c := &script{name: strings.TrimSpace(name), options: make(map[string]string)}
	var text strings.Builder
	nested := 0
	for line := range strings.Lines(body) {
		switch word, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " "); word {
		case ":":
			// A command that begins with a colon and a name that is no option is a command.
			option, value, _ := strings.Cut(rest, " ")
			if slices.Contains([]string{"policy", "passes", "harmless", "needs"}, option) {
				c.options[option] = value
				continue
			}
			text.WriteString(line)
		case "@many", "@nested":
			count, what, _ := strings.Cut(rest, " ")
			n, err := strconv.Atoi(count)
			if err != nil {
				return nil, fmt.Errorf("case %q: %w", c.name, err)
			}
			if word == "@nested" {
				nested = n
			}
			if word == "@many" {
				text.WriteString(strings.Repeat(what, n))
			}
		default:
			text.WriteString(line)
		}
	}
	command, stdin, _ := strings.Cut("\n"+text.String(), "\n@stdin\n")
	c.text = control.Replace(strings.TrimSuffix(strings.TrimPrefix(command, "\n"), "\n"))
	if c.stdin = stdin; stdin != "" {
		c.stdin = strings.TrimSuffix(stdin, "\n") + "\n"
	}
	c.text = strings.Repeat("echo $(", nested) + c.text + strings.Repeat(")", nested)
	if c.text == "" {
		return nil, fmt.Errorf("case %q has no text", c.name)
	}
	return c, nil
}

// harms tells whether the case does harm past the sidecar, on this machine.
func (c *script) harms() bool {
	if _, harmless := c.options["harmless"]; harmless {
		return false
	}
	if program := c.options["needs"]; program != "" {
		_, err := exec.LookPath(program)
		return err == nil
	}
	return true
}
