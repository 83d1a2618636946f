package mask

import (
	"encoding/hex"
	"errors"
	"regexp"
	"strconv"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

var testKey = []byte("a key of the test")

func TestValue(t *testing.T) {
	for name, c := range map[string]struct {
		method policy.Method
		typ    uint32
		src    string // text format, or hex: for the binary one
		want   string // "NULL", or as src
	}{
		"redacted text is eight stars":            {policy.MaskRedact, oidText, "4111111111111111", "********"},
		"a short text does not show its length":   {policy.MaskRedact, oidVarchar, "äb", "********"},
		"nor does an empty one":                   {policy.MaskRedact, oidText, "", "********"},
		"the default is to redact":                {"", oidText, "secret", "********"},
		"partial text keeps the last four":        {policy.MaskPartial, oidText, "4111 1111 1111 1234", "**** **** **** 1234"},
		"partial text never shows more than half": {policy.MaskPartial, oidText, "12345", "***45"},
		"one character is not shown":              {policy.MaskPartial, oidText, "x", "*"},
		"partial text counts characters":          {policy.MaskPartial, oidText, "äöüßÄÖÜé", "****ÄÖÜé"},
		"NULL is NULL":                            {policy.MaskNull, oidText, "x", "NULL"},
		"redacted json is a string":               {policy.MaskRedact, oidJSON, `{"a":1}`, `"********"`},
		"partial json shows nothing":              {policy.MaskPartial, oidJSONB, `"abcdefgh"`, `"********"`},
		"binary jsonb keeps its version":          {policy.MaskRedact, oidJSONB, "hex:017b7d", "hex:01222a2a2a2a2a2a2a2a22"},
		"redacted bytea":                          {policy.MaskRedact, oidBytea, `\xdeadbeef`, `\x2a2a2a2a2a2a2a2a`},
		"partial bytea":                           {policy.MaskPartial, oidBytea, "hex:0102030405060708", "hex:05060708"},
		"broken bytea":                            {policy.MaskRedact, oidBytea, `\xzz`, "NULL"},
		"a redacted integer is zero":              {policy.MaskRedact, oidInt4, "4711", "0"},
		"a redacted int2, binary":                 {policy.MaskRedact, oidInt2, "hex:1234", "hex:0000"},
		"a partial integer keeps four digits":     {policy.MaskPartial, oidInt8, "4111111111111234", "1234"},
		"a partial integer never more than half":  {policy.MaskPartial, oidInt4, "-4711", "11"},
		"the least integer":                       {policy.MaskPartial, oidInt8, "hex:8000000000000000", "hex:00000000000016b0"},
		"an integer of a wrong size":              {policy.MaskRedact, oidInt4, "hex:0001", "NULL"},
		"no integer":                              {policy.MaskRedact, oidInt4, "x", "NULL"},
		"a redacted float":                        {policy.MaskRedact, oidFloat8, "3.14", "0"},
		"a redacted float4, binary":               {policy.MaskPartial, oidFloat4, "hex:40490fdb", "hex:00000000"},
		"a redacted numeric":                      {policy.MaskRedact, oidNumeric, "12.50", "0"},
		"a redacted numeric, binary":              {policy.MaskRedact, oidNumeric, "hex:0001000000000000000c", "hex:0000000000000000"},
		"a redacted date":                         {policy.MaskRedact, oidDate, "1984-05-06", "2000-01-01"},
		"a redacted date, binary":                 {policy.MaskRedact, oidDate, "hex:00001234", "hex:00000000"},
		"a redacted timestamp":                    {policy.MaskPartial, oidTimestamp, "1984-05-06 07:08:09.5", "2000-01-01 00:00:00"},
		"a redacted timestamptz":                  {policy.MaskRedact, oidTimestampTZ, "1984-05-06 07:08:09+02", "2000-01-01 00:00:00+00"},
		"a redacted timestamptz, binary":          {policy.MaskRedact, oidTimestampTZ, "hex:0001020304050607", "hex:0000000000000000"},
		"a redacted uuid":                         {policy.MaskRedact, oidUUID, "a1b2c3d4-e5f6-4711-8222-676770001234", "00000000-0000-0000-0000-000000000000"},
		"a partial uuid keeps four digits":        {policy.MaskPartial, oidUUID, "a1b2c3d4-e5f6-4711-8222-676770001234", "00000000-0000-0000-0000-000000001234"},
		"a partial uuid, binary":                  {policy.MaskPartial, oidUUID, "hex:a1b2c3d4e5f647118222676770001234", "hex:00000000000000000000000000001234"},
		"no uuid":                                 {policy.MaskRedact, oidUUID, "a1b2", "NULL"},
		"a redacted truth":                        {policy.MaskRedact, oidBool, "t", "f"},
		"a hashed truth shows nothing":            {policy.MaskHash, oidBool, "hex:01", "hex:00"},
		"a redacted address":                      {policy.MaskRedact, oidInet, "10.1.2.3", "0.0.0.0"},
		"a redacted network":                      {policy.MaskRedact, oidCIDR, "10.0.0.0/8", "0.0.0.0/32"},
		"a redacted address, binary":              {policy.MaskRedact, oidInet, "hex:022000040a010203", "hex:0220000400000000"},
		"an array":                                {policy.MaskRedact, 1009, "{a,b}", "NULL"},
		"an interval":                             {policy.MaskRedact, oidInterval, "1 day", "NULL"},
		"a type that only a database has":         {policy.MaskHash, 16999, "x", "NULL"},
	} {
		format, src := parseSample(t, c.src)
		out, null, err := Value(c.method, c.typ, format, testKey, src)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got := string(out)
		if format == formatBinary {
			got = "hex:" + hex.EncodeToString(out)
		}
		if null {
			got = "NULL"
		}
		if got != c.want {
			t.Errorf("%s: %q became %q, want %q", name, c.src, got, c.want)
		}
	}
}

// Where the type is shorter than what would replace its value, that is cut to fit: eight stars are no varchar(3).
func TestValueFitsItsType(t *testing.T) {
	for name, c := range map[string]struct {
		method policy.Method
		typ    uint32
		typmod int32
		want   int
	}{
		"varchar(3)":               {policy.MaskRedact, oidVarchar, 7, 3},
		"char(2), hashed":          {policy.MaskHash, oidBpchar, 6, 2},
		"varchar(200)":             {policy.MaskRedact, oidVarchar, 204, 8},
		"varchar(200), hashed":     {policy.MaskHash, oidVarchar, 204, 16},
		"varchar without a length": {policy.MaskRedact, oidVarchar, -1, 8},
		"numbers have others":      {policy.MaskRedact, oidText, 7, 8},
	} {
		out, null, err := NewMasker(testKey).Append([]byte("before"), c.method, c.typ, c.typmod, formatText, []byte("a long value"))
		if err != nil || null || len(out) != len("before")+c.want {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
}

// The hash of a numeric fits its precision and scale, and both formats of it are the same number.
func TestNumericFitsItsType(t *testing.T) {
	for name, c := range map[string]struct {
		precision, scale int
		pattern          string
	}{
		"numeric(5,2)":                                {5, 2, `^\d{1,3}\.\d\d$`},
		"numeric(1,0)":                                {1, 0, `^\d$`},
		"numeric(2,2), less than one":                 {2, 2, `^0\.\d\d$`},
		"numeric(3,5), with zeros behind the point":   {3, 5, `^0\.00\d{3}$`},
		"numeric(4,-2), with zeros before it":         {4, -2, `^(0|\d{1,4}00)$`},
		"numeric(13,0), which takes the whole hash":   {13, 0, `^\d{1,12}$`},
		"numeric(20,8), which takes it too":           {20, 8, `^\d{1,12}$`},
		"numeric(19,8), which has room for 11 digits": {19, 8, `^\d{1,11}\.\d$`},
		"numeric(30,25)":                              {30, 25, `^\d{1,5}\.\d{7}$`},
		"numeric(1000,1000)":                          {1000, 1000, `^0\.\d{12}$`},
		"numeric(1,-1000)":                            {1, -1000, `^(0|\d0{1000})$`},
		"a modifier that no server sends":             {0, 1023, `^0\.0+$`},
	} {
		t.Run(name, func(t *testing.T) {
			typmod := int32(c.precision<<16|c.scale&0x7FF) + modifierHeader
			for i := range 200 {
				src := strconv.Itoa(i)
				var out [2]string
				for format, src := range [2][]byte{[]byte(src), appendNumeric(nil, uint64(i), 0)} {
					got, null, err := NewMasker(testKey).Append(nil, policy.MaskHash, oidNumeric, typmod, int16(format), src)
					if err != nil || null {
						t.Fatalf("%s: null %v, %v", src, null, err)
					}
					if out[format] = string(got); format == formatBinary {
						text, ok := numericText(got)
						if !ok {
							t.Fatalf("%x is no number", got)
						}
						out[format] = string(trimNumeric(text))
					}
				}
				if !regexp.MustCompile(c.pattern).MatchString(out[0]) {
					t.Fatalf("got %s", out[0])
				}
				if trimmed := string(trimNumeric([]byte(out[0]))); trimmed != out[1] {
					t.Fatalf("%s in text, %s in binary", trimmed, out[1])
				}
			}
		})
	}
}

func parseSample(t *testing.T, s string) (format int16, src []byte) {
	t.Helper()
	if len(s) < 4 || s[:4] != "hex:" {
		return formatText, []byte(s)
	}
	src, err := hex.DecodeString(s[4:])
	if err != nil {
		t.Fatal(err)
	}
	return formatBinary, src
}

// The samples of a row are one value: all hash to the same, in both formats; the rows differ.
func TestHashJoins(t *testing.T) {
	rows := []struct {
		typ     uint32
		samples []string
	}{
		{oidText, []string{"alice", "hex:616c696365"}},
		{oidBpchar, []string{"alice", "alice   ", "hex:616c6963652020"}},
		{oidInt2, []string{"-5", "hex:fffb"}},
		{oidInt4, []string{"4711", "hex:00001267"}},
		{oidInt8, []string{"4711", "hex:0000000000001267"}},
		{oidOID, []string{"4294967295", "hex:ffffffff"}},
		{oidFloat8, []string{"1.5", "1.50", "hex:3ff8000000000000"}},
		{oidFloat8, []string{"0", "-0", "hex:8000000000000000"}},
		{oidFloat4, []string{"1.5", "hex:3fc00000"}},
		{oidNumeric, []string{"12.5", "12.50", "012.500", "hex:0002000000000002000c1388"}},
		{oidNumeric, []string{"-100000", "hex:0001000140000000000a"}},
		{oidNumeric, []string{"0", "0.00", "-0", "hex:0000000000000000"}},
		{oidNumeric, []string{"0.0001", "hex:0001ffff000000040001"}},
		{oidNumeric, []string{"NaN", "hex:00000000c0000000"}},
		{oidNumeric, []string{"-Infinity", "hex:00000000f0000000"}},
		{oidDate, []string{"2000-01-02", "hex:00000001"}},
		{oidTimestamp, []string{"2000-01-01 00:00:01.5", "hex:000000000016e360"}},
		{oidTimestampTZ, []string{"2000-01-01 02:00:01.5+02", "2000-01-01 00:00:01.5+00", "2000-01-01 05:30:01.5+05:30", "hex:000000000016e360"}},
		{oidUUID, []string{"a1b2c3d4-e5f6-4711-8222-676770001234", "A1B2C3D4E5F647118222676770001234", "hex:a1b2c3d4e5f647118222676770001234"}},
		{oidInet, []string{"10.1.2.3", "10.1.2.3/32", "hex:022000040a010203"}},
		{oidInet, []string{"::1", "hex:0380001000000000000000000000000000000001"}},
		{oidBytea, []string{`\x0102`, "hex:0102"}},
	}
	type result struct {
		typ  uint32
		text string
	}
	seen := map[result]int{}
	for i, row := range rows {
		for _, sample := range row.samples {
			format, src := parseSample(t, sample)
			out, null, err := Value(policy.MaskHash, row.typ, format, testKey, src)
			if err != nil || null {
				t.Errorf("type %d, %q: null %v, %v", row.typ, sample, null, err)
				continue
			}
			if format == formatText && row.typ == oidText && len(out) != 16 {
				t.Errorf("a hash has %d characters", len(out))
			}
			key := result{row.typ, meaning(t, row.typ, format, out)}
			if other, ok := seen[key]; ok && other != i {
				t.Errorf("type %d: row %d hashes like row %d", row.typ, i, other)
			}
			seen[key] = i
		}
		distinct := 0
		for _, n := range seen {
			if n == i {
				distinct++
			}
		}
		if distinct != 1 {
			t.Errorf("type %d: %q hash to %d values", row.typ, row.samples, distinct)
		}
	}
}

// meaning is equal for a value's two formats: the hash of what both are read as.
func meaning(t *testing.T, typ uint32, format int16, value []byte) string {
	t.Helper()
	m := NewMasker([]byte("compare"))
	if _, null, err := m.Append(nil, policy.MaskHash, typ, -1, format, value); err != nil || null {
		t.Fatalf("%q is no value of type %d: %v", value, typ, err)
	}
	return hex.EncodeToString(m.sum[:])
}

func TestHashWithoutKeyIsRefused(t *testing.T) {
	if _, null, err := Value(policy.MaskHash, oidText, formatText, nil, []byte("x")); !errors.Is(err, ErrNoKey) || !null {
		t.Errorf("got %v, null %v", err, null)
	}
}

func TestHashDependsOnTheKey(t *testing.T) {
	a, _, _ := Value(policy.MaskHash, oidText, formatText, []byte("a"), []byte("x"))
	b, _, _ := Value(policy.MaskHash, oidText, formatText, []byte("b"), []byte("x"))
	if string(a) == string(b) {
		t.Errorf("both are %s", a)
	}
}

func TestUnknownMethodIsRefused(t *testing.T) {
	if _, null, err := Value("Scramble", oidText, formatText, testKey, []byte("x")); err == nil || !null {
		t.Errorf("got %v, null %v", err, null)
	}
}

func TestText(t *testing.T) {
	for name, c := range map[string]struct {
		src   string
		limit int
		want  string
	}{
		"a match is replaced":                  {"mail alice@example.com", 0, "mail *****@*******.***"},
		"what is longer is cut":                {"SELECT 1", 6, "SELECT"},
		"no character is cut in two":           {"aé", 2, "a"},
		"a match is found before it is cut":    {"4111111111111111", 4, "****"},
		"a match far behind the limit is gone": {"ab alice@example.com", 2, "ab"},
	} {
		text, length := All().Text(c.src, c.limit)
		if text != c.want || length != len(c.src) {
			t.Errorf("%s: got %q of %d", name, text, length)
		}
	}
	var none *Detectors
	if text, length := none.Text("alice@example.com", 5); text != "alice" || length != 17 {
		t.Errorf("without detectors: %q of %d", text, length)
	}
}
