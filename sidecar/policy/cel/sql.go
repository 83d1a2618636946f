package cel

import "github.com/chaperone-dev/chaperone/sidecar/policy"

// sqlFields are what `command` holds for a PostgreSQL statement:
//
//	text         string         what the agent sent
//	name         string         the command tag: SELECT, DROP TABLE
//	tables       list(string)   schema.table of every relation, for every schema that it could be in
//	written      list(string)   those of tables that are changed
//	columns      list(string)   schema.table.column
//	functions    list(string)   as called
//	via          list(string)   tags of the statements around this one
//	unfiltered, readOnly, opaque   bool
//	fingerprint  string
var sqlFields = map[string]bool{
	"text": true, "name": true, "tables": true, "written": true, "columns": true, "functions": true,
	"unfiltered": true, "readOnly": true, "opaque": true, "via": true, "fingerprint": true,
}

func sqlValues(cmd policy.Command) map[string]any {
	s := cmd.SQL
	tables, written := []string{}, []string{}
	for i := range s.Tables {
		t := &s.Tables[i]
		for _, schema := range append([]string{t.Schema}, t.Candidates...) {
			if schema == "" {
				schema = policy.Unknown
			}
			tables = append(tables, schema+"."+t.Name)
			if t.Write {
				written = append(written, schema+"."+t.Name)
			}
		}
	}
	return map[string]any{
		"text": cmd.Text, "name": s.Command, "tables": tables, "written": written, "columns": s.Columns,
		"functions": s.Functions, "unfiltered": s.Unfiltered, "readOnly": s.ReadOnly, "opaque": s.Opaque,
		"via": s.Via, "fingerprint": s.Fingerprint,
	}
}
