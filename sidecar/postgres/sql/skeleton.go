package sql

import "unicode/utf8"

// Skeleton appends to dst the query with the values of its plain constants taken out: queries of one skeleton
// have the same tokens but for those. It reports false for a query whose lexical form is not plain (comments,
// escape strings, dollar quotes and whatever else needs the grammar's own lexer), or that Parse would not read for
// its length or encoding: such a query has no skeleton.
//
// What Parse and Lineage say of a query holds for all of its skeleton only where Parsed.LiteralBlind is set.
func Skeleton(dst []byte, query string) ([]byte, bool) {
	if len(query) > MaxStatementBytes || !utf8.ValidString(query) {
		return dst, false
	}
	for i := 0; i < len(query); {
		c := query[i]
		next := byte(0)
		if i+1 < len(query) {
			next = query[i+1]
		}
		switch {
		case identStart(c):
			end := i + 1
			for end < len(query) && identPart(query[end]) {
				end++
			}
			// E'', B'', X'', N'' and U&'': what stands in them is read otherwise.
			if end < len(query) && (query[end] == '\'' || query[end] == '"' || query[end] == '&' && end-i == 1 && c|0x20 == 'u') {
				return dst, false
			}
			dst = append(dst, query[i:end]...)
			i = end
		case digit(c):
			end, ok := number(query, i)
			if !ok {
				return dst, false
			}
			dst = append(dst, '0')
			if hasDot(query[i:end]) {
				dst = append(dst, '.', '0')
			}
			i = end
		case c == '\'':
			end, ok := quoted(query, i, '\'')
			if !ok {
				return dst, false
			}
			dst = append(dst, '\'', '\'')
			i = end
		case c == '"':
			end, ok := quoted(query, i, '"')
			if !ok {
				return dst, false
			}
			dst = append(dst, query[i:end]...)
			i = end
		case c == '$':
			end := i + 1
			for end < len(query) && digit(query[end]) {
				end++
			}
			if end == i+1 || end < len(query) && identPart(query[end]) {
				return dst, false
			}
			dst = append(dst, query[i:end]...)
			i = end
		case c == '-' && next == '-', c == '/' && next == '*', c < ' ' && !isSpace(c), c == 0x7f:
			return dst, false
		default:
			dst = append(dst, c)
			i++
		}
	}
	return dst, true
}

// number finds the end of a plain integer or decimal. A number of more than nine digits may be of another kind,
// one that runs into letters is read differently by different servers.
func number(query string, start int) (end int, ok bool) {
	for end = start; end < len(query) && digit(query[end]); end++ {
	}
	if end < len(query) && query[end] == '.' && end+1 < len(query) && digit(query[end+1]) {
		for end++; end < len(query) && digit(query[end]); end++ {
		}
	}
	return end, end-start <= 9 && (end == len(query) || query[end] != '.' && !identPart(query[end]))
}

// quoted finds the end of a string or identifier in which a doubled quote stands for one.
func quoted(query string, start int, quote byte) (end int, ok bool) {
	for i := start + 1; i < len(query); i++ {
		switch {
		case query[i] == 0:
			return 0, false
		case query[i] != quote:
		case i+1 < len(query) && query[i+1] == quote:
			i++
		default:
			return i + 1, true
		}
	}
	return 0, false
}

func hasDot(s string) bool {
	for i := range len(s) {
		if s[i] == '.' {
			return true
		}
	}
	return false
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// identStart and identPart are scan.l's ident_start and ident_cont.
func identStart(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80
}

func identPart(c byte) bool { return identStart(c) || digit(c) || c == '$' }
