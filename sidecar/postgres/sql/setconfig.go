package sql

import (
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"
)

// setConfig judges the function form of SET. What it sets has to be a literal, and it may not be anything that
// is pinned or tracked: the wire follows statements, not results of expressions. The one exception is a SELECT
// that does nothing else, as pg_dump sends it.
func (r *recogniser) setConfig(n *pg_query.FuncCall, b *builder) {
	if len(n.Args) == 0 {
		return
	}
	name, ok := constant(n.Args[0])
	if !ok {
		b.refuse("set_config may only set what it names by a literal")
		return
	}
	if class := settingClass(name); class != SettingFree || guardedSettings[foldSetting(name)] {
		b.refuse("set_config may not set " + foldSetting(name) + " inside another statement; use SET")
	}
}

// onlyCall returns the call of a SELECT that is nothing but a call of set_config, whose setting is search_path:
// the one that clients set this way.
func onlyCall(s *pg_query.SelectStmt) *pg_query.FuncCall {
	if len(s.TargetList) != 1 || len(s.FromClause) > 0 || s.WhereClause != nil || s.WithClause != nil || s.HavingClause != nil ||
		len(s.GroupClause) > 0 || s.LimitCount != nil || s.LimitOffset != nil || len(s.WindowClause) > 0 ||
		len(s.DistinctClause) > 0 || len(s.SortClause) > 0 {
		return nil
	}
	call := s.TargetList[0].GetResTarget().GetVal().GetFuncCall()
	if call == nil || len(call.Args) != 3 || call.AggFilter != nil || call.Over != nil {
		return nil
	}
	names, _ := stringsOf(call.Funcname)
	schema, name := relationOf(names)
	if name != "set_config" || schema != "" && schema != schemaCatalog {
		return nil
	}
	if setting, ok := constant(call.Args[0]); !ok || foldSetting(setting) != "search_path" {
		return nil
	}
	if configSetting(call) == nil {
		return nil
	}
	return call
}

// configSetting describes a set_config of literals, or returns nil.
func configSetting(call *pg_query.FuncCall) *Setting {
	name, ok := constant(call.Args[0])
	value, literal := constant(call.Args[1])
	local, known := constant(call.Args[2])
	isLocal, boolean := parseBool(local)
	values, readable := identifiers(value)
	if !ok || !literal || !known || !boolean || !readable {
		return nil
	}
	return &Setting{Name: foldSetting(name), Values: values, Local: isLocal, Class: settingClass(name)}
}

// identifiers splits a comma-separated list of names as the server does (varlena.c, SplitIdentifierString): bare
// names are folded to lower case, quoted ones are not.
func identifiers(list string) (out []string, ok bool) {
	rest := trimSpace(list)
	for rest != "" {
		var name string
		if rest[0] == '"' {
			end := 1
			for {
				i := strings.IndexByte(rest[end:], '"')
				if i < 0 {
					return nil, false
				}
				end += i + 1
				if end >= len(rest) || rest[end] != '"' {
					break
				}
				end++
			}
			name = strings.ReplaceAll(rest[1:end-1], `""`, `"`)
			rest = trimSpace(rest[end:])
		} else {
			end := strings.IndexAny(rest, ", \t\n\r\f\v")
			if end < 0 {
				end = len(rest)
			}
			name = foldASCII(rest[:end])
			rest = trimSpace(rest[end:])
		}
		if name == "" {
			return nil, false
		}
		out = append(out, name)
		if rest == "" {
			break
		}
		if rest[0] != ',' {
			return nil, false
		}
		if rest = trimSpace(rest[1:]); rest == "" {
			return nil, false
		}
	}
	return out, true
}

// trimSpace and foldASCII know white space and capitals as the server does in UTF-8 (scansup.c): those of ASCII.
func trimSpace(s string) string { return strings.Trim(s, " \t\n\r\f\v") }

func foldASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
