package notification

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Headers of the Standard Webhooks specification 1.0.
const (
	HeaderID        = "webhook-id"
	HeaderTimestamp = "webhook-timestamp"
	HeaderSignature = "webhook-signature"

	// keyPrefix begins a symmetric key in its text form: whsec_ and base64.
	keyPrefix = "whsec_"
	// leastKey and mostKey are the lengths in bytes that the specification asks for.
	leastKey, mostKey = 24, 64
)

// ParseKeys reads the keys of a Secret. Each of its values is one key, whsec_ and base64; all of them sign, so that a
// receiver can go over from one to the next. An error names the entry, never its value.
func ParseKeys(data map[string][]byte) ([][]byte, error) {
	names := make([]string, 0, len(data))
	for name := range data {
		names = append(names, name)
	}
	sort.Strings(names)
	var keys [][]byte
	for _, name := range names {
		text, ok := strings.CutPrefix(strings.TrimSpace(string(data[name])), keyPrefix)
		if !ok {
			return nil, fmt.Errorf("key %s does not begin with %s", name, keyPrefix)
		}
		key, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("key %s is not base64 behind %s", name, keyPrefix)
		}
		if len(key) < leastKey || len(key) > mostKey {
			return nil, fmt.Errorf("key %s has %d bytes; %d to %d are wanted", name, len(key), leastKey, mostKey)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("it holds no key")
	}
	return keys, nil
}

// Sign returns the value of the signature header: one v1 signature a key, over id, seconds and body joined by dots.
func Sign(keys [][]byte, id string, at time.Time, body []byte) string {
	var out []string
	for _, key := range keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
		mac.Write(body)
		out = append(out, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(out, " ")
}
