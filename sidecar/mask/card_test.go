package mask

import "testing"

// The numbers are the networks' and processors' published test numbers.
func TestCreditCard(t *testing.T) {
	run := func(t *testing.T, cases map[string][2]string) {
		t.Helper()
		checkRewrites(t, []string{"CreditCard"}, cases)
	}
	t.Run("finds", func(t *testing.T) {
		run(t, map[string][2]string{
			"a Visa number without separators":             {"4111111111111111", "****************"},
			"a Visa number in fours":                       {"4111 1111 1111 1111", "**** **** **** ****"},
			"a Visa number with dashes":                    {"4012-8888-8888-1881", "****-****-****-****"},
			"an old Visa number of thirteen digits":        {"4222222222222", "*************"},
			"a Mastercard number":                          {"pays with 5555555555554444 today", "pays with **************** today"},
			"a Mastercard number of series 2":              {"2223003122003222", "****************"},
			"an American Express number as it is printed":  {"3782 822463 10005", "**** ****** *****"},
			"an American Express number in one":            {"371449635398431", "***************"},
			"a Diners Club number as it is printed":        {"3056 930902 5904", "**** ****** ****"},
			"a Discover number":                            {"6011000990139424", "****************"},
			"a JCB number":                                 {"3530 1113 3330 0000", "**** **** **** ****"},
			"a UnionPay number":                            {"6200000000000005", "****************"},
			"a Maestro number of twelve digits":            {"676170000001", "************"},
			"a Maestro number in fours":                    {"6304 9001 7740 2924 41", "**** **** **** **** **"},
			"a number in quotes":                           {`'4111111111111111'`, `'****************'`},
			"a number in an array":                         {"{4111111111111111,5555555555554444}", "{****************,****************}"},
			"a number that ends a sentence":                {"card 4111111111111111.", "card ****************."},
			"two numbers side by side":                     {"4111111111111111 5555555555554444", "**************** ****************"},
			"two numbers in fours side by side":            {"4111 1111 1111 1111 5555 5555 5555 4444", "**** **** **** **** **** **** **** ****"},
			"a number behind a short column":               {"17 4111 1111 1111 1111", "17 **** **** **** ****"},
			"a number in front of its code":                {"4111 1111 1111 1111 123", "**** **** **** **** 123"},
			"a number in front of its expiry":              {"4111111111111111 2027", "**************** 2027"},
			"a number behind a colon and a wide character": {"卡号：4111111111111111", "卡号：****************"},
		})
	})
	t.Run("leaves", func(t *testing.T) {
		run(t, map[string][2]string{
			"a wrong check digit":                   {"4111111111111112", "4111111111111112"},
			"a prefix that nobody issues":           {"9111111111111111", "9111111111111111"},
			"a length that the issuer does not use": {"411111111111116", "411111111111116"},
			"part of a longer run of digits":        {"14111111111111111", "14111111111111111"},
			"twenty digits in fours":                {"1234 4111 1111 1111 1111", "1234 4111 1111 1111 1111"},
			"part of a word":                        {"order4111111111111111", "order4111111111111111"},
			"part of a word with an underscore":     {"txn_4111111111111111", "txn_4111111111111111"},
			"a word that begins with it":            {"4111111111111111x", "4111111111111111x"},
			"separators that differ":                {"4111 1111-1111 1111", "4111 1111-1111 1111"},
			"groups that no card has":               {"41111 111 1111 1111", "41111 111 1111 1111"},
			"two separators in a row":               {"4111  1111  1111  1111", "4111  1111  1111  1111"},
			"a fraction":                            {"0.4111111111111111", "0.4111111111111111"},
			"an amount":                             {"4111111111111111.50", "4111111111111111.50"},
			"part of a dashed token":                {"2024-4111111111111111", "2024-4111111111111111"},
			"a token that goes on behind a dash":    {"4111111111111111-1", "4111111111111111-1"},
			"the last group of a uuid":              {"a1b2c3d4-e5f6-4711-8222-676170000001", "a1b2c3d4-e5f6-4711-8222-676170000001"},
			"a timestamp in microseconds":           {"1727712000000000", "1727712000000000"},
			"a snowflake id":                        {"1420070400000000000", "1420070400000000000"},
			"points in time":                        {"2024-01-01 12:00:00 2024-01-01 12:00:00", "2024-01-01 12:00:00 2024-01-01 12:00:00"},
			"thirty digits":                         {"411111111111111141111111111111", "411111111111111141111111111111"},
			"a single digit":                        {"4", "4"},
			"nothing":                               {"", ""},
		})
	})
}

func TestPartialKeepsTheLastFourOfNumbers(t *testing.T) {
	d := mustCompile(t, "Partial", "CreditCard", "IBAN", "USSSN", "Email")
	for src, want := range map[string]string{
		"4111 1111 1111 1111":    "**** **** **** 1111",
		"378282246310005":        "***********0005",
		"DE89370400440532013000": "******************3000",
		"123-45-6789":            "***-**-6789",
		"a@example.com":          "*@*******.***",
	} {
		if out, hits := d.Rewrite(nil, []byte(src)); string(out) != want || hits != 1 {
			t.Errorf("%q: got %q (%d), want %q", src, out, hits, want)
		}
	}
}
