package mask

import "bytes"

// credential is a family of keys that a service marks by a prefix.
type credential struct {
	prefix      string
	body        uint8 // class of what follows
	least, most int   // its length; most 0: as far as the class goes
}

// credentials are the documented forms of the services' secret scanning; ordered by first byte.
var credentials = [...]credential{
	{"ABIA", classUpper | classDigit, 16, 16},   // AWS STS bearer
	{"ACCA", classUpper | classDigit, 16, 16},   // AWS context-specific
	{"AIza", classToken, 35, 35},                // Google API key
	{"AKIA", classUpper | classDigit, 16, 16},   // AWS access key
	{"ASIA", classUpper | classDigit, 16, 16},   // AWS temporary access key
	{"GOCSPX-", classToken, 28, 28},             // Google OAuth client secret
	{"SG.", classToken, 66, 66},                 // SendGrid
	{"doo_v1_", classDigit | classWord, 64, 64}, // DigitalOcean
	{"dop_v1_", classDigit | classWord, 64, 64}, // DigitalOcean
	{"dor_v1_", classDigit | classWord, 64, 64}, // DigitalOcean
	{"ghp_", classWord, 36, 0},                  // GitHub, personal
	{"gho_", classWord, 36, 0},                  // GitHub, OAuth
	{"ghu_", classWord, 36, 0},                  // GitHub, user to server
	{"ghs_", classToken, 36, 0},                 // GitHub, server to server
	{"ghr_", classWord, 36, 0},                  // GitHub, refresh
	{"github_pat_", classWord, 82, 0},           // GitHub, fine-grained
	{"glpat-", classToken, 20, 0},               // GitLab
	{"hvb.", classToken, 24, 0},                 // Vault, batch
	{"hvs.", classToken, 24, 0},                 // Vault, service
	{"npm_", classWord, 36, 36},                 // npm
	{"pypi-", classToken, 85, 0},                // PyPI
	{"rk_live_", classWord, 16, 0},              // Stripe, restricted
	{"sk-ant-", classToken, 20, 0},              // Anthropic
	{"sk-proj-", classToken, 20, 0},             // OpenAI
	{"sk-svcacct-", classToken, 20, 0},          // OpenAI
	{"sk_live_", classWord, 16, 0},              // Stripe
	{"sk_test_", classWord, 16, 0},              // Stripe
	{"xapp-", classToken, 20, 0},                // Slack, app
	{"xoxa-", classToken, 20, 0},                // Slack
	{"xoxb-", classToken, 20, 0},                // Slack, bot
	{"xoxe.", classToken, 20, 0},                // Slack, configuration
	{"xoxp-", classToken, 20, 0},                // Slack, user
	{"xoxr-", classToken, 20, 0},                // Slack, refresh
	{"xoxs-", classToken, 20, 0},                // Slack, session
	{"ya29.", classToken, 20, 0},                // Google OAuth access
}

const (
	// shortestKey is prefix and body of the shortest, AWS.
	shortestKey = 20
	// longestPrefix is what may stand before a body.
	longestPrefix = len("github_pat_")
)

// credentialsFrom is where the credentials with a first byte begin in the table, and how many there are.
var credentialsFrom = func() (t [256]struct{ at, n uint8 }) {
	for i := len(credentials) - 1; i >= 0; i-- {
		e := &t[credentials[i].prefix[0]]
		e.at = uint8(i)
		e.n++
	}
	return t
}()

// firstCloudKey has no regard to what is around a key: that may be the framing of values.
func firstCloudKey(src []byte) int {
	for from := 0; ; {
		start, end := run(src, from, shortestKey, classToken)
		if start < 0 {
			return -1
		}
		for i := start; i+shortestKey <= end; i++ {
			if keyAt(src[:end], i, false) > 0 {
				return i
			}
		}
		from = end
	}
}

func scanCloudKeys(r *rewriter) {
	for from := 0; ; {
		start, end := run(r.src, from, shortestKey, classToken)
		if start < 0 {
			return
		}
		for i := start; i+shortestKey <= end; i++ {
			if wordBefore(r.src, i) {
				continue
			}
			if c := keyAt(r.src[:end], i, true); c > 0 {
				body := i + len(credentials[c-1].prefix)
				stop := body + bodyLength(&credentials[c-1], r.src[body:end])
				r.match(cloudKey, body, stop, &keepNothing)
				i = stop - 1
			}
		}
		from = end
	}
}

// keyAt returns the number, from 1, of the credential that stands at i, and if it must be alone does not go on.
func keyAt(src []byte, i int, alone bool) int {
	f := credentialsFrom[src[i]]
	for n := f.at; n < f.at+f.n; n++ {
		c := &credentials[n]
		if !bytes.HasPrefix(src[i:], []byte(c.prefix)) {
			continue
		}
		body := src[i+len(c.prefix):]
		if !alone {
			body = body[:min(c.least, len(body))]
		}
		if bodyLength(c, body) > 0 {
			return int(n) + 1
		}
	}
	return 0
}

// bodyLength returns how many bytes of src are the key's body, 0 if that is too few or the body goes on.
func bodyLength(c *credential, src []byte) int {
	n := 0
	for n < len(src) && (n < c.most || c.most == 0) && class[src[n]]&c.body != 0 {
		n++
	}
	if n < c.least || n < len(src) && class[src[n]]&(c.body|classWord) != 0 {
		return 0
	}
	return n
}
