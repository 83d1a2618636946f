package postgres

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// nothing stands for NULL, which no value's text is.
const nothing = "(null)"

// typedColumns are the columns of the table typed, in its order: what Redact and Partial leave of the value in its
// first row, as the server writes it.
var typedColumns = []struct{ name, declared, redact, partial string }{
	{"c_text", "text", "********", "**** **** **** 1111"},
	{"c_varchar", "varchar(3)", "***", "**c"},
	{"c_bpchar", "char(6)", "******", "**cd"},
	{"c_name", "name", "********", "***tom"},
	{"c_char", `"char"`, "*", "*"},
	{"c_domain", "letters", "********", "***def"},
	{"c_json", "json", `"********"`, `"********"`},
	{"c_jsonb", "jsonb", `"********"`, `"********"`},
	{"c_bytea", "bytea", `\x2a2a2a2a2a2a2a2a`, `\x05060708`},
	{"c_int2", "int2", "0", "45"},
	{"c_int4", "int4", "0", "6789"},
	{"c_int8", "int8", "0", "1111"},
	{"c_oid", "oid", "0", "456"},
	{"c_float4", "float4", "0", "0"},
	{"c_float8", "float8", "0", "0"},
	{"c_numeric", "numeric", "0", "0"},
	{"c_date", "date", "2000-01-01", "2000-01-01"},
	{"c_timestamp", "timestamp", "2000-01-01 00:00:00", "2000-01-01 00:00:00"},
	{"c_timestamptz", "timestamptz", "2000-01-01 00:00:00+00", "2000-01-01 00:00:00+00"},
	{"c_uuid", "uuid", "00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-00000000789a"},
	{"c_bool", "bool", "false", "false"},
	{"c_inet", "inet", "0.0.0.0/32", "0.0.0.0/32"},
	{"c_cidr", "cidr", "0.0.0.0/32", "0.0.0.0/32"},
	{"c_array", "text[]", nothing, nothing},
	{"c_interval", "interval", nothing, nothing},
	{"c_time", "time", nothing, nothing},
	{"c_bit", "bit(8)", nothing, nothing},
	{"c_enum", "mood", nothing, nothing},
	{"c_range", "int4range", nothing, nothing},
	{"c_point", "point", nothing, nothing},
	{"c_money", "money", nothing, nothing},
	{"c_xml", "xml", nothing, nothing},
	{"c_row", "pair", nothing, nothing},
	{"c_price", "numeric(5,2)", "0.00", "0.00"},
	{"c_share", "numeric(3,5)", "0.00000", "0.00000"},
	{"c_rounded", "numeric(4,-2)", "0", "0"},
	{"c_long", "numeric(30,25)", "0.0000000000000000000000000", "0.0000000000000000000000000"},
	{"c_amount", "numeric(20,4)", "0.0000", "0.0000"},
	{"c_prices", "price", "0.000", "0.000"},
	{"c_varbit", "varbit(5)", nothing, nothing},
	{"c_times", "time(3)", nothing, nothing},
	{"c_intervals", "interval(2)", nothing, nothing},
	{"c_stamp", "timestamp(0)", "2000-01-01 00:00:00", "2000-01-01 00:00:00"},
	{"c_letter", "varchar(1)", "*", "*"},
}

// few are the types with so few values that a hash, by a key made for the test, is another value's now and then, or its own.
var few = map[string]bool{
	"bool": true, `"char"`: true, "varchar(1)": true, "varchar(3)": true, "int2": true,
	"numeric(5,2)": true, "numeric(3,5)": true, "numeric(4,-2)": true,
}

// TestMaskedTypes masks columns of every kind of type by every method in both formats. The judge is the server: what it
// is given back has to be a value of the declared type.
func TestMaskedTypes(t *testing.T) {
	var names, columns []string
	for _, c := range typedColumns {
		names, columns = append(names, c.name), append(columns, "public.typed."+c.name)
	}
	sql := "SELECT " + strings.Join(names, ", ") + " FROM typed WHERE id = $1"
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	past, err := pgconn.Connect(ctx, server.DSN("agent", agentPassword, "app"))
	if err != nil {
		t.Fatal(err)
	}
	defer past.Close(ctx)
	rows(t, past, "SET TimeZone = 'UTC'")
	for _, method := range []policy.Method{policy.MaskRedact, policy.MaskPartial, policy.MaskHash, policy.MaskNull} {
		pg := allowAll()
		pg.Masking = []policy.Masking{{Columns: columns, Method: method}}
		through := newSidecar(t, pg).connect(t, "")
		// understood is a row's values as the server understands them.
		understood := func(t *testing.T, id string, format int16) []string {
			t.Helper()
			result := read(t, through, sql, id, format)
			if len(result.Rows) != 1 {
				t.Fatalf("%d rows", len(result.Rows))
			}
			plain := read(t, past, sql, id, format).Rows[0]
			out := make([]string, len(typedColumns))
			for i, c := range typedColumns {
				value := result.Rows[0][i]
				if out[i] = nothing; value == nil {
					continue
				}
				if bytes.Equal(value, plain[i]) && (method != policy.MaskHash || !few[c.declared]) {
					t.Errorf("%s was shown as it is: %q", c.declared, value)
				}
				back := past.ExecParams(ctx, "SELECT $1::"+c.declared+"::text", [][]byte{value},
					[]uint32{result.FieldDescriptions[i].DataTypeOID}, []int16{format}, nil).Read()
				if back.Err != nil {
					t.Errorf("the server does not take %q for a %s: %v", value, c.declared, back.Err)
					continue
				}
				out[i] = string(back.Rows[0][0])
				if !strings.HasPrefix(c.declared, "numeric") {
					continue
				}
				exact := past.ExecParams(ctx, "SELECT $1::numeric = $2::numeric", [][]byte{value, back.Rows[0][0]}, nil, []int16{format, 0}, nil).Read()
				if exact.Err != nil || string(exact.Rows[0][0]) != "t" {
					t.Errorf("the server rounds %q for a %s to %s: %v", value, c.declared, out[i], exact.Err)
				}
			}
			return out
		}
		for format, kind := range []string{"text", "binary"} {
			t.Run(string(method)+" in "+kind, func(t *testing.T) {
				got := understood(t, "1", int16(format))
				for i, c := range typedColumns {
					want := map[policy.Method]string{policy.MaskRedact: c.redact, policy.MaskPartial: c.partial, policy.MaskNull: nothing}[method]
					if method != policy.MaskHash && got[i] != want {
						t.Errorf("%s: got %q, want %q", c.declared, got[i], want)
					}
					if method == policy.MaskHash && (got[i] == nothing) != (c.redact == nothing) {
						t.Errorf("%s: got %q", c.declared, got[i])
					}
				}
			})
		}
		if method != policy.MaskHash {
			continue
		}
		t.Run("Hash: equal values are equal in both formats, others differ", func(t *testing.T) {
			first, same, other := understood(t, "1", 0), understood(t, "2", 1), understood(t, "3", 1)
			for i, c := range typedColumns {
				if first[i] != same[i] {
					t.Errorf("%s: got %q and %q", c.declared, first[i], same[i])
				}
				if c.redact != nothing && !few[c.declared] && first[i] == other[i] {
					t.Errorf("%s: another value is %q too", c.declared, other[i])
				}
			}
		})
	}
	t.Run("what is NULL stays NULL", func(t *testing.T) {
		pg := allowAll()
		pg.Masking = []policy.Masking{{Columns: columns, Method: policy.MaskHash}}
		for format := range int16(2) {
			for i, v := range read(t, newSidecar(t, pg).connect(t, ""), sql, "4", format).Rows[0] {
				if v != nil {
					t.Errorf("%s: got %q", typedColumns[i].declared, v)
				}
			}
		}
	})
}

func read(t *testing.T, conn *pgconn.PgConn, sql, id string, format int16) *pgconn.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	result := conn.ExecParams(ctx, sql, [][]byte{[]byte(id)}, nil, nil, []int16{format}).Read()
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	return result
}
