package postgres

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/test/postgresserver"
)

// TestServersOfEveryMajor runs a session on the oldest server that can be had and on the newest that is taken.
func TestServersOfEveryMajor(t *testing.T) {
	postgresserver.Each(t, func(t *testing.T, own *postgresserver.Server) {
		if own.Major > newestServer {
			t.Fatalf("PostgreSQL %d can be had, %d is the newest that is taken", own.Major, newestServer)
		}
		holding(t, own, "postgres", "card_number")
		pg := masked(policy.MaskRedact)
		pg.CAPEM = own.Authority.PEM
		pg.Rules = []policy.Rule{{Name: "no-drop", Match: policy.Match{Commands: []string{"DROP"}}, Action: policy.Deny}}
		s := newSidecar(t, pg)
		s.dial(own.Address())
		s.lease.Store(&session.Lease{Username: postgresserver.Superuser, Password: own.Password})
		conn := s.connect(t, "dbname=postgres")
		if got := rows(t, conn, "SHOW server_version_num"); !strings.HasPrefix(got[0][0], strconv.Itoa(own.Major)) {
			t.Fatalf("it is %v", got)
		}
		if got := rows(t, conn, "SELECT c, id FROM cards, customers"); got[0][0] != "********" || got[0][1] != "1" {
			t.Fatalf("got %v", got)
		}
		_, err := query(conn, "DROP TABLE customers")
		wantError(t, err, "42501", "no-drop")
		_, err = query(conn, "SELECT upper(card_number)::int FROM customers")
		hides(t, err)
	})
}

// holding fills a database of a server's: the view cards shows the column.
func holding(t *testing.T, own *postgresserver.Server, database, column string) {
	t.Helper()
	past, err := pgconn.Connect(t.Context(), own.DSN(postgresserver.Superuser, own.Password, database))
	if err != nil {
		t.Fatal(err)
	}
	defer past.Close(t.Context())
	rows(t, past, "CREATE TABLE customers (id int, name text, card_number text, balance int, born date); INSERT INTO customers VALUES (1, 'Ada', '4111 1111 1111 1111', 7, '1815-12-10')")
	rows(t, past, "CREATE VIEW cards AS SELECT "+column+" AS c FROM customers")
}

// TestNewerServersAreRefused has a real server say that it is of another version.
func TestNewerServersAreRefused(t *testing.T) {
	for version, taken := range map[string]bool{
		"18.1 (Debian 18.1-1.pgdg120+2)": true,
		"19.0":                           false,
		"19beta1":                        false,
		"20devel":                        false,
		"118.3":                          false,
		"unknown":                        false,
		"":                               false,
	} {
		t.Run("a server that calls itself "+strconv.Quote(version), func(t *testing.T) {
			pg := allowAll()
			pg.TLSMode = policy.TLSDisable
			s := newSidecar(t, pg)
			s.dial(relayed(t, server.Address(), func(kind byte, body []byte) []byte {
				if kind == 'S' && bytes.HasPrefix(body, []byte("server_version\x00")) {
					return []byte("server_version\x00" + version + "\x00")
				}
				return body
			}))
			conn, err := s.tryConnect("", nil)
			if taken {
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close(t.Context())
				rows(t, conn, "SELECT 1")
				return
			}
			wantError(t, err, "0A000", "target billing", "18 is the newest")
			if ends := s.log.Find(record.KindDisconnect, nil); len(ends) != 1 || !strings.Contains(ends[0].Error, "18 is the newest") {
				t.Fatalf("recorded %+v", ends)
			}
		})
	}
	t.Run("a server that does not say what it is", func(t *testing.T) {
		pg := allowAll()
		pg.TLSMode = policy.TLSDisable
		s := newSidecar(t, pg)
		s.dial(relayed(t, server.Address(), func(kind byte, body []byte) []byte {
			if kind == 'S' && bytes.HasPrefix(body, []byte("server_version\x00")) {
				return nil
			}
			return body
		}))
		_, err := s.tryConnect("", nil)
		wantError(t, err, "0A000", "target billing")
	})
}
