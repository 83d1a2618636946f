package mask

import (
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

func mustCompile(t testing.TB, method policy.Method, names ...string) *Detectors {
	t.Helper()
	d, err := Compile([]policy.Masking{{Detectors: names, Method: method}})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// checkRewrites checks sources and what becomes of them, alone and amid other text.
func checkRewrites(t *testing.T, names []string, cases map[string][2]string) {
	t.Helper()
	d := mustCompile(t, policy.MaskRedact, names...)
	for name, c := range cases {
		for _, around := range [...][2]string{{"", ""}, {"name: ", ", next"}, {"\n(", ")\n"}} {
			src, want := around[0]+c[0]+around[1], around[0]+c[1]+around[1]
			out, hits := d.Rewrite(nil, []byte(src))
			if string(out) != want {
				t.Errorf("%s: %q became %q, want %q", name, src, out, want)
			}
			if (hits > 0) != (src != want) {
				t.Errorf("%s: %q has %d hits", name, src, hits)
			}
			if hits > 0 && !d.May([]byte(src)) {
				t.Errorf("%s: %q may hold no match, but does", name, src)
			}
		}
	}
}

func TestEmail(t *testing.T) {
	checkRewrites(t, []string{"Email"}, map[string][2]string{
		"finds an address":                           {"alice@example.com", "*****@*******.***"},
		"finds dots, plus and underscore":            {"a.b_c+tag@mail.example.co.uk", "*.*******@****.*******.**.**"},
		"finds an address in brackets":               {"<alice@example.com>", "<*****@*******.***>"},
		"finds an address in an array":               {"{alice@example.com,b@c.de}", "{*****@*******.***,*@*.**}"},
		"finds letters outside of ASCII":             {"josé@exámple.com", "*****@********.***"},
		"finds a punycode domain":                    {"a@b.xn--p1ai", "*@*.********"},
		"leaves the dot that ends a sentence":        {"to alice@example.com.", "to *****@*******.***."},
		"leaves a name without a dot":                {"root@localhost", "root@localhost"},
		"leaves an address of the network":           {"root@10.0.0.1", "root@10.0.0.1"},
		"leaves a lone sign":                         {"@ home", "@ home"},
		"leaves a mention":                           {" @alice.example", " @alice.example"},
		"leaves a domain that begins with a dash":    {"a@-example.com", "a@-example.com"},
		"finds the host of a connection string":      {"postgres://u:secret@db.example.com/x", "postgres://u:******@**.*******.***/x"},
		"finds up to the last label that can end it": {"a@b.com.5", "*@*.***.5"},
	})
}

func TestIBAN(t *testing.T) {
	checkRewrites(t, []string{"IBAN"}, map[string][2]string{
		"finds a German account":                {"DE89370400440532013000", "**********************"},
		"finds a British account in fours":      {"GB82 WEST 1234 5698 7654 32", "**** **** **** **** **** **"},
		"finds the shortest, Norway's":          {"NO9386011117947", "***************"},
		"finds a long one, Malta's":             {"MT84MALT011000012345MTLCAST001S", "*******************************"},
		"leaves a wrong check":                  {"DE89370400440532013001", "DE89370400440532013001"},
		"leaves a wrong length for the country": {"DE8937040044053201300", "DE8937040044053201300"},
		"leaves an unknown country":             {"ZZ89370400440532013000", "ZZ89370400440532013000"},
		"leaves part of a word":                 {"xDE89370400440532013000", "xDE89370400440532013000"},
		"leaves a word that goes on":            {"DE89370400440532013000A", "DE89370400440532013000A"},
		"leaves capital words":                  {"THE QUICK BROWN FOX JUMPS OVER", "THE QUICK BROWN FOX JUMPS OVER"},
	})
}

func TestSSN(t *testing.T) {
	checkRewrites(t, []string{"USSSN"}, map[string][2]string{
		"finds dashes":                   {"123-45-6789", "***-**-****"},
		"finds spaces":                   {"123 45 6789", "*** ** ****"},
		"leaves nine digits":             {"123456789", "123456789"},
		"leaves an area never issued":    {"666-45-6789", "666-45-6789"},
		"leaves an area from 900":        {"912-45-6789", "912-45-6789"},
		"leaves group zero":              {"123-00-6789", "123-00-6789"},
		"leaves serial zero":             {"123-45-0000", "123-45-0000"},
		"leaves separators that differ":  {"123-45 6789", "123-45 6789"},
		"leaves part of a longer number": {"1123-45-6789", "1123-45-6789"},
		"leaves part of a dashed token":  {"1-123-45-6789", "1-123-45-6789"},
		"leaves a token that goes on":    {"123-45-6789-1", "123-45-6789-1"},
		"leaves part of a word":          {"a123-45-6789", "a123-45-6789"},
		"finds two":                      {"123-45-6789,223-45-6789", "***-**-****,***-**-****"},
		"leaves a day":                   {"2024-01-01", "2024-01-01"},
		"leaves a telephone number":      {"555-123-4567", "555-123-4567"},
	})
}

func TestCloudKey(t *testing.T) {
	// Put together here, so that no scanner of sources takes them for real.
	alnum := strings.Repeat("a1B2", 20)
	checkRewrites(t, []string{"CloudKey"}, map[string][2]string{
		"finds an AWS access key":           {"AKIA" + "IOSFODNN7EXAMPLE", "AKIA" + stars16},
		"finds a temporary AWS key":         {"ASIA" + "IOSFODNN7EXAMPLE", "ASIA" + stars16},
		"leaves a longer word":              {"AKIA" + "IOSFODNN7EXAMPLEX", "AKIA" + "IOSFODNN7EXAMPLEX"},
		"leaves a shorter word":             {"AKIA" + "IOSFODNN7EXAMPL", "AKIA" + "IOSFODNN7EXAMPL"},
		"leaves part of a word":             {"xAKIA" + "IOSFODNN7EXAMPLE", "xAKIA" + "IOSFODNN7EXAMPLE"},
		"finds a Google API key":            {"AIza" + alnum[:35], "AIza" + strings.Repeat("*", 35)},
		"finds a GitHub token":              {"ghp_" + alnum[:36], "ghp_" + strings.Repeat("*", 36)},
		"finds a fine-grained GitHub token": {"github_pat_" + alnum + "_x", "github_pat_" + strings.Repeat("*", 82)},
		"finds a Slack bot's token":         {"xoxb-123456789012-123456789012-abcdef", "xoxb-" + strings.Repeat("*", 32)},
		"finds a Stripe key":                {"sk_live_" + alnum[:24], "sk_live_" + strings.Repeat("*", 24)},
		"finds a key behind an equals sign": {"key=npm_" + alnum[:36], "key=npm_" + strings.Repeat("*", 36)},
		"leaves a uuid":                     {"a1b2c3d4-e5f6-4711-8222-676170000001", "a1b2c3d4-e5f6-4711-8222-676170000001"},
		"leaves a long word":                {alnum, alnum},
	})
}

const stars16 = "****************"

func TestPrivateKey(t *testing.T) {
	checkRewrites(t, []string{"PrivateKey"}, map[string][2]string{
		"finds a key and keeps its lines": {
			"-----BEGIN PRIVATE KEY-----\nMIIEvQ/+\nabc=\n-----END PRIVATE KEY-----",
			"-----BEGIN PRIVATE KEY-----\n********\n****\n-----END PRIVATE KEY-----",
		},
		"finds an encrypted key with headers": {
			"-----BEGIN RSA PRIVATE KEY-----\r\nProc-Type: 4,ENCRYPTED\r\n\r\nabcd\r\n-----END RSA PRIVATE KEY-----",
			"-----BEGIN RSA PRIVATE KEY-----\r\n**********************\r\n\r\n****\r\n-----END RSA PRIVATE KEY-----",
		},
		"finds a PGP key": {
			"-----BEGIN PGP PRIVATE KEY BLOCK-----\nlQOY\n-----END PGP PRIVATE KEY BLOCK-----",
			"-----BEGIN PGP PRIVATE KEY BLOCK-----\n****\n-----END PGP PRIVATE KEY BLOCK-----",
		},
		"leaves a certificate": {
			"-----BEGIN CERTIFICATE-----\nMIID\n-----END CERTIFICATE-----",
			"-----BEGIN CERTIFICATE-----\nMIID\n-----END CERTIFICATE-----",
		},
		"leaves dashes": {"----------------------", "----------------------"},
	})
	d := mustCompile(t, policy.MaskRedact, "PrivateKey")
	out, hits := d.Rewrite(nil, []byte("-----BEGIN PRIVATE KEY-----\nabc\n-----BEGIN CERTIFICATE-----\nabc"))
	if want := "-----BEGIN PRIVATE KEY-----\n***\n-----BEGIN CERTIFICATE-----\nabc"; string(out) != want || hits != 1 {
		t.Errorf("a key without its end: %q (%d)", out, hits)
	}
}

func TestRewriteReturnsTheSourceItselfWhenNothingMatches(t *testing.T) {
	src := []byte("nothing here")
	dst := make([]byte, 64)
	out, hits := All().Rewrite(dst, src)
	if hits != 0 || &out[0] != &src[0] {
		t.Errorf("got a copy, %d hits", hits)
	}
	var none *Detectors
	if out, hits := none.Rewrite(nil, src); hits != 0 || &out[0] != &src[0] {
		t.Errorf("no detectors found something")
	}
}

func TestRewriteUsesTheGivenMemory(t *testing.T) {
	dst := make([]byte, 64)
	out, hits := All().Rewrite(dst, []byte("alice@example.com"))
	if hits != 1 || &out[0] != &dst[0] {
		t.Errorf("%q is not in dst (%d hits)", out, hits)
	}
}

func TestUnknownDetectorIsRefusedByName(t *testing.T) {
	_, err := NewDetectors([]string{"Email", "Phone"})
	if err == nil || !strings.Contains(err.Error(), `"Phone"`) || !strings.Contains(err.Error(), "CreditCard") {
		t.Errorf("got %v", err)
	}
}

func TestDifferentMethodsForOneDetectorRedact(t *testing.T) {
	d, err := Compile([]policy.Masking{
		{Detectors: []string{"CreditCard"}, Method: policy.MaskPartial},
		{Detectors: []string{"CreditCard"}, Method: policy.MaskHash},
	})
	if err != nil {
		t.Fatal(err)
	}
	if out, _ := d.Rewrite(nil, []byte("4111111111111111")); string(out) != stars16 {
		t.Errorf("got %q", out)
	}
}

// May is asked about whole reads of the wire: around a value stand lengths and message types, any of which may look
// like a digit, a letter or a separator.
func TestMayIsTrueForEveryMatchWhateverIsAroundIt(t *testing.T) {
	for name, text := range map[string]string{
		"CreditCard": "4111111111111111", "Email": "a@b.cd", "IBAN": "DE89370400440532013000", "USSSN": "123-45-6789",
		"CloudKey": "AKIA" + "IOSFODNN7EXAMPLE", "PrivateKey": "-----BEGIN PRIVATE KEY-----abc",
	} {
		d := mustCompile(t, policy.MaskRedact, name)
		for before := range 256 {
			for after := range 256 {
				if digitAt([]byte{byte(after)}, 0) {
					continue // the high byte of a length: values have less than 768 MiB
				}
				frame := append(append([]byte{0, byte(before)}, text...), byte(after))
				if !d.May(frame) {
					t.Fatalf("%s: %q may not match", name, frame)
				}
			}
		}
	}
}
