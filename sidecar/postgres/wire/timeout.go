package wire

import (
	"fmt"
	"strings"

	"github.com/chaperone-dev/chaperone/sidecar/postgres/sql"
)

// hold keeps the policy's limit on a statement's time: the server enforces it by statement_timeout, which an agent
// may lower and not raise. The session began with it, so a RESET brings it back.
func (j *judged) hold(s *sql.Statement) {
	limit := j.rules.settings.Limits.StatementTimeoutMS
	if limit <= 0 {
		return
	}
	reason := ""
	if set := s.Setting; set != nil && set.Name == "statement_timeout" && !set.Reset {
		own, ok := int64(0), false
		if len(set.Values) == 1 {
			own, ok = Milliseconds(set.Values[0])
		}
		if !ok || own == 0 || own > limit {
			reason = fmt.Sprintf("statement_timeout may not be over the policy's limits.statementTimeout of %d ms", limit)
		}
	}
	for i := range s.Commands {
		c := s.Commands[i].SQL
		if c == nil {
			continue
		}
		if s.Setting == nil {
			for _, f := range c.Functions {
				if f == "set_config" || strings.HasSuffix(f, ".set_config") {
					reason = "set_config is refused where the policy has limits.statementTimeout: use SET"
				}
			}
		}
		if reason != "" && c.Refused == "" {
			refused := *c
			refused.Refused = reason
			s.Commands[i].SQL = &refused
		}
	}
	if s.Inner != nil {
		j.hold(s.Inner)
	}
}
