package logs

import (
	"net/http"

	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/webhook/access"
)

// KeysResource is the set of the operator's public keys. RBAC speaks of list on signingkeys.
const KeysResource = "signingkeys"

// keys answers with the set of now: a reader who has a log with a signature by a key that is a second old finds it.
func (s *Server) keys(w http.ResponseWriter, r *http.Request) {
	if s.allowed(w, r, access.Attributes{Verb: "list", Group: GroupVersion.Group, Resource: KeysResource}) {
		writeJSON(w, http.StatusOK, record.NewKeyList(GroupVersion.String(), s.options.Archive.Trusted(r.Context(), nil)))
	}
}
