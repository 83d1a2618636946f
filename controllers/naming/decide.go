package naming

import "fmt"

// Decide is the command by which an approver decides a request. verdict is Approve or Deny; names of objects and
// namespaces need no quoting (RFC 1123).
func Decide(namespace, request, verdict string) string {
	return fmt.Sprintf(`kubectl patch apr %s -n %s --type=merge -p '{"spec":{"decision":{"verdict":"%s","reason":"..."}}}'`, request, namespace, verdict)
}
