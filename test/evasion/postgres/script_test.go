package postgres

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// family is a file of cases.
type family struct {
	name  string
	cases []*script
}

// script is one case: the steps of one session, after the words that say what it is.
//
//	## a sentence                   begins a case
//	: option value                  anywhere in it; before the first case they hold for the whole file: policy NAME,
//	                                refused RULE, varies WHY, changes WHY, startup NAME=VALUE, only MAJOR, harmless WHY
//	SELECT 1                        a step: a query string in a message of its own
//	;;                              ends a step
//	@binary SELECT 1                by the extended protocol, results in binary
//	@extended, @parse NAME, @bind NAME, @binary-bind NAME, @close NAME, @portal NAME
//	@data                           in a step of COPY: what follows is sent
type script struct {
	name    string
	options map[string]string
	steps   []step
}

type step struct {
	how, name, text string
	data            []byte
}

func families() ([]*family, error) {
	files, err := filepath.Glob(filepath.Join("cases", "*.txt"))
	if err != nil {
		return nil, err
	}
	var out []*family
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		f := &family{name: strings.ReplaceAll(strings.TrimSuffix(filepath.Base(file), ".txt"), "_", " ")}
		head, rest, _ := strings.Cut("\n"+string(text), "\n## ")
		common, _ := options(head)
		for _, part := range strings.Split(rest, "\n## ") {
			name, body, _ := strings.Cut(part, "\n")
			own, body := options(body)
			c := &script{name: strings.TrimSpace(name), options: own}
			for k, v := range common {
				if _, set := own[k]; !set {
					own[k] = v
				}
			}
			for _, s := range strings.Split("\n"+body, "\n;;") {
				if strings.TrimSpace(s) != "" {
					c.steps = append(c.steps, readStep(strings.TrimSpace(s)))
				}
			}
			if len(c.steps) == 0 && own["startup"] == "" {
				return nil, fmt.Errorf("%s: case %q has no steps", file, c.name)
			}
			f.cases = append(f.cases, c)
		}
		out = append(out, f)
	}
	return out, nil
}

// options takes out the lines that begin with a colon, and comments.
func options(text string) (map[string]string, string) {
	out := make(map[string]string)
	var rest strings.Builder
	for line := range strings.Lines(text) {
		switch word, ok := strings.CutPrefix(line, ": "); {
		case ok:
			name, value, _ := strings.Cut(strings.TrimSpace(word), " ")
			out[name] = value
		case !strings.HasPrefix(line, "# "):
			rest.WriteString(line)
		}
	}
	return out, rest.String()
}

func readStep(text string) step {
	s := step{how: "simple"}
	if strings.HasPrefix(text, "@") {
		first, rest, _ := strings.Cut(text, "\n")
		word, after, _ := strings.Cut(first, " ")
		s.how = strings.TrimPrefix(word, "@")
		switch s.how {
		case "parse", "bind", "binary-bind", "close", "portal":
			name, query, _ := strings.Cut(after, " ")
			s.name = name
			text = strings.TrimSpace(query + "\n" + rest)
		default:
			text = strings.TrimSpace(after + "\n" + rest)
		}
	}
	if query, data, ok := strings.Cut(text, "\n@data\n"); ok {
		text, s.data = query, []byte(data+"\n")
	}
	s.text = text
	return s
}

// run carries the step out and returns the errors that came.
func (s *step) run(a *adversary) []*pgproto3.ErrorResponse {
	bind := func(name, portal string, format int16) []pgproto3.FrontendMessage {
		return []pgproto3.FrontendMessage{
			&pgproto3.Bind{PreparedStatement: name, DestinationPortal: portal, ResultFormatCodes: []int16{format}},
			&pgproto3.Describe{ObjectType: 'P', Name: portal}, &pgproto3.Execute{Portal: portal}, &pgproto3.Sync{},
		}
	}
	switch s.how {
	case "simple":
		a.send(&pgproto3.Query{String: s.text})
	case "extended":
		a.send(append([]pgproto3.FrontendMessage{&pgproto3.Parse{Query: s.text}}, bind("", "", 0)...)...)
	case "binary":
		a.send(append([]pgproto3.FrontendMessage{&pgproto3.Parse{Query: s.text}}, bind("", "", 1)...)...)
	case "undescribed":
		a.send(&pgproto3.Parse{Query: s.text}, &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Sync{})
	case "parse":
		a.send(&pgproto3.Parse{Name: s.name, Query: s.text}, &pgproto3.Describe{ObjectType: 'S', Name: s.name}, &pgproto3.Sync{})
	case "bind":
		a.send(bind(s.name, "", 0)...)
	case "binary-bind":
		a.send(bind(s.name, "", 1)...)
	case "close":
		a.send(&pgproto3.Close{ObjectType: 'S', Name: s.name}, &pgproto3.Sync{})
	case "portal":
		a.send(&pgproto3.Execute{Portal: s.name}, &pgproto3.Sync{})
	default:
		a.t.Fatalf("no step is called %q", s.how)
	}
	return a.feed(1, s.data)
}
