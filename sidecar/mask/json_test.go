package mask

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

func TestRewriteJSON(t *testing.T) {
	d := All()
	for name, c := range map[string][2]string{
		"an address in a string":             {`{"mail":"alice@example.com"}`, `{"mail":"*****@*******.***"}`},
		"a card in a string":                 {`["4111 1111 1111 1111"]`, `["**** **** **** ****"]`},
		"a card as a number":                 {`{"card":4111111111111111,"n":1}`, `{"card":"**************","n":1}`},
		"a negative number":                  {`[-4111111111111111]`, `["***************"]`},
		"a fraction":                         {`[4111111111111111.5]`, `[4111111111111111.5]`},
		"an escape in front of an address":   {`"\nalice@example.com"`, `"\n*****@*******.***"`},
		"a character code before an address": {`"\u00e9bob@example.com"`, `"\u00e9***@*******.***"`},
		"a card behind an escaped tab":       {`"card:\t4111111111111111\n"`, `"card:\t****************\n"`},
		"an escaped backslash":               {`"\\alice@example.com"`, `"\\*****@*******.***"`},
		"an escaped quote":                   {`"\"alice@example.com\""`, `"\"*****@*******.***\""`},
		"a private key with escaped lines": {
			`{"k":"-----BEGIN PRIVATE KEY-----\nMIIE\/\n-----END PRIVATE KEY-----\n"}`,
			`{"k":"-----BEGIN PRIVATE KEY-----\n****\/\n-----END PRIVATE KEY-----\n"}`,
		},
		"a private key over several strings": {
			`["-----BEGIN PRIVATE KEY-----","MIIE","x"]`, `["-----BEGIN PRIVATE KEY-----","****","*"]`,
		},
		"an address as a key":   {`{"alice@example.com":[{}]}`, `{"*****@*******.***":[{}]}`},
		"nothing":               {`{"a":[1,2.5e10,true,null,"x"]}`, `{"a":[1,2.5e10,true,null,"x"]}`},
		"a number in a string":  {`"4111111111111111"`, `"****************"`},
		"a string without end":  {`"alice@example.com`, `"*****@*******.***`},
		"an escape without end": {`"alice@example.com\`, `"*****@*******.***\`},
	} {
		out, _ := d.RewriteJSON(nil, []byte(c[0]))
		if string(out) != c[1] {
			t.Errorf("%s: %s became %s, want %s", name, c[0], out, c[1])
		}
		if json.Valid([]byte(c[0])) && !json.Valid(out) {
			t.Errorf("%s: %s is not JSON any more", name, out)
		}
	}
}

func FuzzJSONStaysJSON(f *testing.F) {
	for _, s := range [...]string{
		`{"a":"alice@example.com","b":[4111111111111111,-371449635398431]}`, `"-----BEGIN PRIVATE KEY-----\n\"\u0041"`,
		`[{"x":"DE89370400440532013000"},"123-45-6789",1e5]`,
	} {
		f.Add([]byte(s))
	}
	d := All()
	f.Fuzz(func(t *testing.T, src []byte) {
		before := bytes.Clone(src)
		out, hits := d.RewriteJSON(nil, src)
		if len(out) != len(src) || !bytes.Equal(src, before) {
			t.Fatalf("%q became %q (%d hits)", before, out, hits)
		}
		if json.Valid(src) && !json.Valid(out) {
			t.Fatalf("%s became %s", src, out)
		}
	})
}

func TestField(t *testing.T) {
	d := mustCompile(t, policy.MaskRedact, "CreditCard", "Email")
	card := binary.BigEndian.AppendUint64(nil, 4111111111111111)
	for name, c := range map[string]struct {
		typ    uint32
		format int16
		src    string
		want   string
	}{
		"a card in text":                  {oidText, formatText, "4111111111111111", stars16},
		"a card in varchar, binary":       {oidVarchar, formatBinary, "4111111111111111", stars16},
		"a card in an array of text":      {1009, formatText, "{4111111111111111}", "{" + stars16 + "}"},
		"a card in bigint":                {oidInt8, formatText, "4111111111111111", "0000000000000000"},
		"a card in bigint, binary":        {oidInt8, formatBinary, string(card), "\x00\x00\x00\x00\x00\x00\x00\x00"},
		"another number in bigint":        {oidInt8, formatText, "4111111111111112", "4111111111111112"},
		"an address in json":              {oidJSON, formatText, `"\na@b.cd"`, `"\n*@*.**"`},
		"an address in jsonb, binary":     {oidJSONB, formatBinary, "\x01" + `"a@b.cd"`, "\x01" + `"*@*.**"`},
		"digits in numeric":               {oidNumeric, formatText, "4111111111111111", "4111111111111111"},
		"digits in an array of numeric":   {1231, formatText, "{4111111111111111}", "{4111111111111111}"},
		"digits in float8":                {oidFloat8, formatText, "4111111111111111", "4111111111111111"},
		"digits in bit":                   {oidBit, formatText, "4111111111111111", "4111111111111111"},
		"the hex format of bytea":         {oidBytea, formatText, `\x4111111111111111`, `\x4111111111111111`},
		"an address in bytea, binary":     {oidBytea, formatBinary, "a@b.cd", "*@*.**"},
		"a type that only a database has": {16999, formatText, "a@b.cd", "*@*.**"},
	} {
		src := []byte(c.src)
		out, hits := d.Field(nil, c.typ, c.format, src)
		if string(out) != c.want || (hits > 0) != (c.src != c.want) || string(src) != c.src {
			t.Errorf("%s: %q became %q (%d hits), want %q", name, c.src, out, hits, c.want)
		}
	}
}
