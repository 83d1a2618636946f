package sql

import (
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"
)

// trackedSettings change what later statements mean; the wire follows them.
var trackedSettings = words(`search_path role session_authorization`)

// guardedSettings change whom or what the server's own protections bind: a rule has to allow setting them, a
// target's defaultAction counts for them.
var guardedSettings = words(`role session_authorization session_replication_role row_security
	local_preload_libraries session_preload_libraries dynamic_library_path allow_system_table_mods
	allow_in_place_tablespaces lo_compat_privileges zero_damaged_pages ignore_system_indexes`)

// pinnedSettings have one value that this package relies on: literals are read in one way, in one encoding.
var pinnedSettings = map[string]func(value string) bool{
	"standard_conforming_strings": func(v string) bool {
		on, ok := parseBool(v)
		return ok && on
	},
	"client_encoding": isUTF8,
}

// isUTF8 compares an encoding's name as the server does (encnames.c): letters and digits only, without case.
func isUTF8(name string) bool {
	var b strings.Builder
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'A' && c <= 'Z':
			b.WriteByte(c + 'a' - 'A')
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			b.WriteByte(c)
		}
	}
	switch b.String() {
	case "utf8", "unicode":
		return true
	}
	return false
}

// foldSetting brings a parameter's name to the form in which the server compares it (guc_name_compare).
func foldSetting(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

func settingClass(name string) SettingClass {
	name = foldSetting(name)
	if _, pinned := pinnedSettings[name]; pinned {
		return SettingPinned
	}
	if trackedSettings[name] {
		return SettingTracked
	}
	return SettingFree
}

// CheckSetting judges a parameter that is set outside SQL, in a startup packet: an error says why the value may
// not be set.
func CheckSetting(name, value string) error {
	if ok := pinnedSettings[foldSetting(name)]; ok != nil && !ok(value) {
		return &UnrecognisedError{pinnedReason(foldSetting(name))}
	}
	return nil
}

func pinnedReason(name string) string {
	if name == "client_encoding" {
		return "client_encoding has to stay UTF8, in which statements are read"
	}
	return name + " has to stay on: literals are read that way"
}

// setting describes a SET or RESET.
func setting(n *pg_query.VariableSetStmt) *Setting {
	s := &Setting{Name: foldSetting(n.Name), Local: n.IsLocal, Class: settingClass(n.Name)}
	switch n.Kind {
	case pg_query.VariableSetKind_VAR_SET_VALUE:
		for _, a := range n.Args {
			v, ok := constant(a)
			if !ok {
				s.Values = nil
				break
			}
			s.Values = append(s.Values, v)
		}
	case pg_query.VariableSetKind_VAR_RESET_ALL:
		s.Name, s.Reset, s.Class = "", true, SettingTracked
	default:
		s.Reset = true
	}
	if n.Kind == pg_query.VariableSetKind_VAR_SET_MULTI {
		s.Reset = false // SET TRANSACTION and SET SESSION CHARACTERISTICS
	}
	return s
}

// set judges a SET or RESET. A RESET takes a pinned parameter back to what the sidecar itself asked for when it
// connected, which is the pinned value.
func (r *recogniser) set(n *pg_query.VariableSetStmt, b *builder) {
	name := foldSetting(n.Name)
	b.sql.ReadOnly = true
	b.sql.Control = !guardedSettings[name]
	if why := refusedSetting(n); why != "" {
		b.refuse(why)
	}
}

func refusedSetting(n *pg_query.VariableSetStmt) string {
	if n == nil {
		return ""
	}
	s := setting(n)
	allowed, pinned := pinnedSettings[s.Name]
	if !pinned || s.Reset {
		return ""
	}
	if len(s.Values) != 1 || !allowed(s.Values[0]) {
		return pinnedReason(s.Name)
	}
	return ""
}
