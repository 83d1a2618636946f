package wire

import (
	"fmt"
	"strconv"
	"strings"
)

// allowed are the parameters that an agent may set as its session begins, in lower case: those that clients set
// by themselves, and those that change only how long or how its own statements run and how results are written.
var allowed = map[string]bool{
	"application_name": true, "bytea_output": true, "client_min_messages": true, "datestyle": true,
	"default_transaction_deferrable": true, "default_transaction_isolation": true, "default_transaction_read_only": true,
	"extra_float_digits": true, "geqo": true, "idle_in_transaction_session_timeout": true, "idle_session_timeout": true,
	"intervalstyle": true, "jit": true, "lock_timeout": true, "options": true, "plan_cache_mode": true,
	"search_path": true, "tcp_keepalives_count": true, "tcp_keepalives_idle": true, "tcp_keepalives_interval": true,
	"timezone": true, "transaction_timeout": true, "work_mem": true, "xmloption": true,
}

// Settings returns the parameters that go upstream for what the agent asked for, without user and database. An
// error names what is refused and can be told to the agent. statementTimeout, in milliseconds, bounds the agent's
// own; 0 bounds nothing.
func (s *Startup) Settings(statementTimeout int64) (map[string]string, error) {
	out := map[string]string{}
	for _, p := range s.Parameters {
		switch p.Name {
		case "user", "database":
			continue
		case "options":
			more, err := splitOptions(p.Value)
			if err != nil {
				return nil, err
			}
			for _, o := range more {
				if err := set(out, o.Name, o.Value); err != nil {
					return nil, err
				}
			}
			continue
		case "replication":
			switch strings.ToLower(p.Value) {
			case "false", "off", "no", "0", "":
				continue
			}
			return nil, fmt.Errorf("replication connections are refused")
		}
		if err := set(out, p.Name, p.Value); err != nil {
			return nil, err
		}
	}
	if statementTimeout > 0 {
		own, ok := Milliseconds(out["statement_timeout"])
		if !ok || own == 0 || own > statementTimeout {
			out["statement_timeout"] = strconv.FormatInt(statementTimeout, 10)
		}
	}
	out["client_encoding"] = "UTF8"
	out["standard_conforming_strings"] = "on"
	return out, nil
}

func set(out map[string]string, name, value string) error {
	folded := strings.ToLower(name)
	switch folded {
	case "client_encoding":
		switch strings.ToUpper(strings.Trim(value, "'\"")) {
		case "UTF8", "UTF-8", "UNICODE":
			return nil
		}
		return fmt.Errorf("client_encoding %q is refused: only UTF8 is understood", value)
	case "standard_conforming_strings":
		switch strings.ToLower(value) {
		case "on", "true", "yes", "1":
			return nil
		}
		return fmt.Errorf("standard_conforming_strings %q is refused: it has to be on", value)
	case "statement_timeout":
	default:
		if !allowed[folded] || folded == "options" {
			return fmt.Errorf("the parameter %q cannot be set when a session begins", name)
		}
	}
	out[folded] = value
	return nil
}

// splitOptions reads command-line options as the server does in a startup packet: -c name=value and --name=value,
// separated by spaces, a backslash taking the next byte along (src/backend/utils/init/postinit.c, pg_split_opts).
func splitOptions(text string) ([]Parameter, error) {
	var (
		words []string
		word  strings.Builder
		any   bool
	)
	for i := 0; i < len(text); i++ {
		switch b := text[i]; {
		case b == '\\' && i+1 < len(text):
			i++
			word.WriteByte(text[i])
			any = true
		case strings.IndexByte(" \t\n\v\f\r", b) >= 0:
			if any {
				words = append(words, word.String())
			}
			word.Reset()
			any = false
		default:
			word.WriteByte(b)
			any = true
		}
	}
	if any {
		words = append(words, word.String())
	}
	var out []Parameter
	for i := 0; i < len(words); i++ {
		w := words[i]
		setting := ""
		switch {
		case w == "-c" && i+1 < len(words):
			i++
			setting = words[i]
		case strings.HasPrefix(w, "-c"):
			setting = w[2:]
		case strings.HasPrefix(w, "--"):
			setting = w[2:]
		}
		name, value, ok := strings.Cut(setting, "=")
		if !ok {
			return nil, fmt.Errorf("the option %q is refused: only -c name=value is understood", w)
		}
		out = append(out, Parameter{strings.ReplaceAll(name, "-", "_"), value})
	}
	return out, nil
}

// Milliseconds reads a timeout as the server does: a number of milliseconds, or one with a unit.
func Milliseconds(text string) (int64, bool) {
	text = strings.TrimSpace(text)
	digits := 0
	for digits < len(text) && text[digits] >= '0' && text[digits] <= '9' {
		digits++
	}
	n, err := strconv.ParseInt(text[:digits], 10, 32)
	if err != nil {
		return 0, false
	}
	unit := map[string]int64{"": 1, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}[strings.TrimSpace(text[digits:])]
	return n * unit, unit > 0
}
