package wire

import (
	"fmt"
	"testing"

	"github.com/jackc/pgproto3/v2"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// A request to cancel names no statement: once the one that it is for has ended, it would hit the next.
func TestOnlyAStatementThatStillRunsIsCancelled(t *testing.T) {
	for name, ended := range map[string]bool{"its end came with the row too many": true, "more of it is to come": false} {
		t.Run(name, func(t *testing.T) {
			c, _ := newCore(t, compiled(t, policy.Postgres{TLSMode: policy.TLSDisable, DefaultAction: policy.Allow, Limits: policy.Limits{Rows: 1}}))
			c.Agent(encode(&pgproto3.Query{String: "SELECT id FROM customers"}, &pgproto3.Query{String: "SELECT 7"}))
			c.ToServer(nil)
			answer := encode(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("id"), DataTypeOID: 23}}})
			for i := range 3 {
				answer = append(answer, encode(&pgproto3.DataRow{Values: [][]byte{[]byte(fmt.Sprint(i))}})...)
			}
			if ended {
				answer = append(answer, encode(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 3")}, &pgproto3.ReadyForQuery{TxStatus: 'I'})...)
			}
			if err := c.Server(answer); err != nil {
				t.Fatal(err)
			}
			if cancels := c.Cancelling(); cancels == ended {
				t.Errorf("cancels: %v", cancels)
			}
			if c.Cancelling() {
				t.Error("cancels twice")
			}
		})
	}
}
