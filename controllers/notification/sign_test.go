package notification_test

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/chaperone-dev/chaperone/controllers/notification"
)

const first, second = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// TestASignatureIsWhatReceiversVerify takes the specification's own library for the receiver.
func TestASignatureIsWhatReceiversVerify(t *testing.T) {
	keys, err := notification.ParseKeys(map[string][]byte{"old": []byte(first + "\n"), "new": []byte(second)})
	if err != nil {
		t.Fatal(err)
	}
	now, body := time.Now(), []byte(`{"specversion":"1.0"}`)
	headers := http.Header{}
	headers.Set(notification.HeaderID, "a.pending")
	headers.Set(notification.HeaderTimestamp, strconv.FormatInt(now.Unix(), 10))
	headers.Set(notification.HeaderSignature, notification.Sign(keys, "a.pending", now, body))
	for _, key := range []string{first, second} {
		receiver, err := standardwebhooks.NewWebhook(key)
		if err != nil {
			t.Fatal(err)
		}
		if err := receiver.Verify(body, headers); err != nil {
			t.Errorf("a receiver with key %s: %v", key, err)
		}
		if receiver.Verify([]byte(`{"specversion":"1.1"}`), headers) == nil {
			t.Error("another body verifies")
		}
		replayed := headers.Clone()
		replayed.Set(notification.HeaderID, "a.approved")
		if receiver.Verify(body, replayed) == nil {
			t.Error("another id verifies")
		}
		late := headers.Clone()
		late.Set(notification.HeaderTimestamp, strconv.FormatInt(now.Add(-time.Minute).Unix(), 10))
		if receiver.Verify(body, late) == nil {
			t.Error("another time verifies")
		}
	}
	stranger, err := standardwebhooks.NewWebhook("whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 24)))
	if err != nil {
		t.Fatal(err)
	}
	if stranger.Verify(body, headers) == nil {
		t.Error("another key verifies")
	}
}

func TestKeysThatCannotSignAreNamedAndNotShown(t *testing.T) {
	encode := func(n int) string { return base64.StdEncoding.EncodeToString(make([]byte, n)) }
	for name, c := range map[string]struct {
		data map[string]string
		want string
	}{
		"none":                 {nil, "it holds no key"},
		"a password":           {map[string]string{"key": "hunter2"}, "key key does not begin with whsec_"},
		"no base64":            {map[string]string{"key": "whsec_hunter2!"}, "key key is not base64 behind whsec_"},
		"too short":            {map[string]string{"key": "whsec_" + encode(23)}, "key key has 23 bytes; 24 to 64 are wanted"},
		"too long":             {map[string]string{"key": "whsec_" + encode(65)}, "key key has 65 bytes; 24 to 64 are wanted"},
		"one of two is no key": {map[string]string{"a": first, "b": "x"}, "key b does not begin with whsec_"},
	} {
		t.Run(name, func(t *testing.T) {
			data := map[string][]byte{}
			for k, v := range c.data {
				data[k] = []byte(v)
			}
			_, err := notification.ParseKeys(data)
			if err == nil || err.Error() != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
			for _, v := range c.data {
				if err != nil && strings.Contains(err.Error(), v) {
					t.Errorf("shows the value: %v", err)
				}
			}
		})
	}
}
