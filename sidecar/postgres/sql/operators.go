package sql

import "strings"

// builtinOperators are the names of the operators in pg_catalog, of every supported server: they compute from their
// operands alone. BETWEEN is what the grammar calls its own comparisons. An operator by any other name runs a function of the database, which may read whatever it likes.
var builtinOperators = words(`
!! !~ !~* !~~ !~~* # ## #- #> #>> % & && &< &<| &> * *< *<= *<> *= *> *>= + - -> ->> -|- / < <-> << <<= <<| <=
<> <@ <^ = > >= >> >>= >^ ? ?# ?& ?- ?-| ?| ?|| @ @-@ @> @? @@ @@@ ^ ^@ | |&> |/ |>> || ||/ ~ ~* ~<=~ ~<~ ~=
~>=~ ~>~ ~~ ~~*
`)

// knownOperator tells whether an operator by this name, as it is written, computes from its operands alone.
func knownOperator(schema, name string) bool {
	return (schema == "" || schema == schemaCatalog) && (builtinOperators[name] || strings.HasSuffix(name, "BETWEEN") || strings.HasSuffix(name, "BETWEEN SYMMETRIC"))
}
