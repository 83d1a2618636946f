package decision

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
)

// label separates these MACs from anything else that is made with the same key.
const label = "chaperone.dev/v1alpha1 decision\x00"

// signed is what a MAC covers. The request's identity and its whole immutable part are in it, so that an entry
// cannot be carried to another request, nor the request be changed under it; the previous entry's MAC is in it,
// so that entries cannot be reordered or taken out of the middle.
type signed struct {
	Namespace string                       `json:"namespace"`
	Name      string                       `json:"name"`
	UID       string                       `json:"uid"`
	Spec      v1alpha1.ApprovalRequestSpec `json:"spec"`
	Previous  string                       `json:"previous"`
	Entry     v1alpha1.StampedDecision     `json:"entry"`
}

// Sign returns the MAC (hex) of an entry that is appended to the request's decisions as they stand. The entry's
// own MAC field is ignored. It returns "" where there is no key: such an entry never counts.
func Sign(key []byte, request *v1alpha1.ApprovalRequest, entry v1alpha1.StampedDecision) string {
	return sign(key, request, len(request.Spec.Decisions), entry)
}

// Verify reports whether the request's decision of that index carries a MAC made by Sign when it was appended.
func Verify(key []byte, request *v1alpha1.ApprovalRequest, index int) bool {
	if index < 0 || index >= len(request.Spec.Decisions) {
		return false
	}
	entry := request.Spec.Decisions[index]
	want := sign(key, request, index, entry)
	return want != "" && hmac.Equal([]byte(want), []byte(entry.MAC))
}

func sign(key []byte, request *v1alpha1.ApprovalRequest, index int, entry v1alpha1.StampedDecision) string {
	if len(key) == 0 {
		return ""
	}
	doc := signed{
		Namespace: request.Namespace,
		Name:      request.Name,
		UID:       string(request.UID),
		Spec:      *request.Spec.DeepCopy(),
		Entry:     entry,
	}
	doc.Spec.Decision, doc.Spec.Decisions = nil, nil
	doc.Entry.MAC = ""
	if index > 0 {
		doc.Previous = request.Spec.Decisions[index-1].MAC
	}
	// encoding/json writes struct fields in the order of their declaration and times in UTC with seconds, which
	// is also what the API server keeps of them: the same bytes come out on every replica and after any trip
	// through etcd.
	body, err := json.Marshal(doc)
	if err != nil {
		return ""
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(label))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}
