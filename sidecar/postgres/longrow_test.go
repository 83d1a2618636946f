package postgres

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

func TestLongRows(t *testing.T) {
	s := newSidecar(t, masked(policy.MaskPartial))
	conn := s.connect(t, "")
	long := strings.Repeat("some words, 12 of them. ", 400_000) // 9.6 MB, which is not held whole
	sql := strings.ReplaceAll("repeat('some words, 12 of them. ', N)", "N", "400000")
	tests := map[string]struct {
		sql  string
		want []string
	}{
		"what a detector finds in a long value keeps its length": {
			"SELECT 1, " + sql + " || '4111111111111111 ' || " + sql + ", 'x'",
			[]string{"1", long + "**************** " + long, "x"},
		},
		"a match at the end of a long value": {
			"SELECT " + sql + " || 'a@mail.example'", []string{long + "*@****.*******"},
		},
		"a protected column before a long value is masked as ever": {
			"SELECT card_number, balance, " + sql + ", name, email, NULL FROM customers WHERE id = 1",
			[]string{"**** **** **** 1111", "0", long, "Ada", "***@*******.***", "NULL"},
		},
		"many values that are not long": {
			"SELECT card_number" + strings.Repeat(", repeat('some words, 12 of them. ', 10000)", 40) + " FROM customers WHERE id = 1",
			append([]string{"**** **** **** 1111"}, strings.Split(strings.Repeat(","+long[:240_000], 40)[1:], "; none")...),
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := rows(t, conn, test.sql)
			if len(got) != 1 || strings.Join(got[0], ",") != strings.Join(test.want, ",") {
				t.Fatalf("got %d rows that are not what was expected", len(got))
			}
		})
	}
	t.Run("a protected column behind a long value is refused, and the session goes on", func(t *testing.T) {
		_, err := query(conn, "SELECT "+sql+", card_number FROM customers")
		wantError(t, err, "54000", "column 2", "is protected", "before those with long values")
		rows(t, conn, "SELECT 1")
	})
	t.Run("what is not understood is not shown, however long", func(t *testing.T) {
		_, err := query(conn, "SELECT ("+sql+" || card_number) FROM customers WHERE id = 1")
		wantError(t, err, "54000", "column 1")
		rows(t, conn, "SELECT 1")
	})
}

func TestLongCopies(t *testing.T) {
	s := newSidecar(t, masked(policy.MaskPartial))
	conn := s.connect(t, "")
	sql := "repeat('some words, 12 of them. ', 400000)"
	long := strings.Repeat("some words, 12 of them. ", 400_000)
	copied := func(t *testing.T, statement string) (string, error) {
		t.Helper()
		var b bytes.Buffer
		_, err := conn.CopyTo(context.Background(), &b, statement)
		return b.String(), err
	}
	t.Run("a long line keeps all but what detectors find", func(t *testing.T) {
		got, err := copied(t, "COPY (SELECT "+sql+` || E'\t4111111111111111\t\\ \n', NULL, 'a@mail.example', 'N', '\') TO STDOUT`)
		if err != nil {
			t.Fatal(err)
		}
		if want := long + `\t****************\t\\ \n` + "\t\\N\t*@****.*******\tN\t\\\\\n"; got != want {
			t.Fatalf("ends in %q", got[max(0, len(got)-200):])
		}
	})
	t.Run("what stands behind an escape in a short line is found, too", func(t *testing.T) {
		got, err := copied(t, `COPY (SELECT E'x\t4111111111111111\\', 2) TO STDOUT`)
		if want := `x\t****************\\` + "\t2\n"; err != nil || got != want {
			t.Fatalf("got %q, %v", got, err)
		}
	})
	t.Run("a long line with a protected column is refused, and so is one in a format that is not read as it comes", func(t *testing.T) {
		for _, statement := range []string{
			"COPY (SELECT card_number, " + sql + " FROM customers) TO STDOUT",
			"COPY (SELECT " + sql + " || '4111111111111111') TO STDOUT (FORMAT csv)",
		} {
			_, err := copied(t, statement)
			wantError(t, err, "54000", "cannot be masked in this COPY")
			rows(t, conn, "SELECT 1")
		}
	})
}
