package notification

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"k8s.io/utils/clock"
)

const (
	// sendTimeout bounds one delivery; the specification recommends 15 to 30 s, and nothing waits for it.
	sendTimeout = 15 * time.Second
	// maxAnswer is read of an answer, so that its connection can be used again.
	maxAnswer = 64 << 10
)

// Sink is where events go.
type Sink struct {
	// URL is http or https.
	URL string
	// Keys returns those that sign. It is asked for every delivery, so that a rotated Secret takes effect at once.
	Keys   func(context.Context) ([][]byte, error)
	Client *http.Client
	Clock  clock.PassiveClock
}

// ErrRefused is a sink's answer that is no success.
var ErrRefused = errors.New("the sink refused the notification")

// CheckURL says what is wrong with a sink's URL.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return errors.New("not a URL")
	case u.Scheme != "https" && u.Scheme != "http":
		return errors.New("the scheme must be https or http")
	case u.Host == "":
		return errors.New("it names no host")
	case u.User != nil:
		return errors.New("it holds a password; what authenticates a notification is its signature")
	}
	return nil
}

// NewClient returns a client that follows no redirect: a signed event goes where the operator's configuration says and
// nowhere else.
func NewClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 4
	return &http.Client{
		Timeout:       sendTimeout,
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Send delivers one event. An error says why it has to be sent again.
func (s *Sink) Send(ctx context.Context, e Event) error {
	keys, err := s.Keys(ctx)
	if err != nil {
		return err
	}
	body, err := e.Body()
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("sending a notification: %w", err)
	}
	now := s.Clock.Now()
	request.Header.Set("Content-Type", ContentType)
	request.Header.Set("User-Agent", "chaperone")
	request.Header.Set(HeaderID, e.ID)
	request.Header.Set(HeaderTimestamp, strconv.FormatInt(now.Unix(), 10))
	request.Header.Set(HeaderSignature, Sign(keys, e.ID, now, body))
	answer, err := s.Client.Do(request)
	if err != nil {
		// Tenants read this in the request's status. A sink's URL may be a secret (those of chat services are), so it
		// names none.
		var located *url.Error
		if errors.As(err, &located) {
			err = located.Err
		}
		return fmt.Errorf("sending a notification: %w", err)
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, maxAnswer)) // what it says is of no use
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return fmt.Errorf("%w: %s", ErrRefused, answer.Status)
	}
	return nil
}
