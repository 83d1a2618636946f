package main

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestFlagsAreCheckedBeforeAnythingStarts(t *testing.T) {
	t.Setenv("POD_NAMESPACE", "chaperone-system")
	t.Setenv("POD_NAME", "chaperone-0")
	t.Setenv("CHAPERONE_SIDECAR_IMAGE", "localhost/chaperone/sidecar:dev")
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"the defaults":                         {nil, ""},
		"two replicas with a bucket":           {[]string{"--replicas=2", "--recordings-url=s3://recordings?region=eu-west-1"}, ""},
		"two replicas with a volume":           {[]string{"--replicas=2"}, "only an s3:// bucket is there for all of them"},
		"no replica":                           {[]string{"--replicas=0"}, "--replicas: at least one"},
		"no image":                             {[]string{"--sidecar-image="}, "--sidecar-image is required"},
		"no namespace":                         {[]string{"--namespace="}, "--namespace is required"},
		"a pull policy that is none":           {[]string{"--sidecar-image-pull-policy=Sometimes"}, "Always, IfNotPresent or Never"},
		"a sidecar of another size":            {[]string{"--sidecar-cpu=1", "--sidecar-memory=256Mi", "--sidecar-spool=1Gi"}, ""},
		"a sidecar without room to start":      {[]string{"--sidecar-memory=8Mi"}, "--sidecar-memory=8Mi: at least 32Mi"},
		"a sidecar without a processor":        {[]string{"--sidecar-cpu=0"}, "--sidecar-cpu=0: at least 50m"},
		"a spool that is no size":              {[]string{"--sidecar-spool=lots"}, "--sidecar-spool=lots: a Kubernetes quantity"},
		"leases that end before they begin":    {[]string{"--lease-duration=0s"}, "--lease-duration=0s: must be positive"},
		"policies that are never old":          {[]string{"--policy-max-age=-1h"}, "--policy-max-age=-1h0m0s: must be positive"},
		"a floor below the ground":             {[]string{"--retention-floor=-1h"}, "must not be negative"},
		"notifications, signed":                {[]string{"--notifications-url=https://chat.example/in", "--notifications-secret=chaperone-notifications"}, ""},
		"notifications that nothing signs":     {[]string{"--notifications-url=https://chat.example/in"}, "--notifications-secret is required"},
		"notifications by mail":                {[]string{"--notifications-url=mailto:dba@example.com"}, "--notifications-url: the scheme must be https or http"},
		"notifications to nowhere":             {[]string{"--notifications-url=https:///in"}, "--notifications-url: it names no host"},
		"notifications with a password":        {[]string{"--notifications-url=https://a:b@chat.example/in"}, "--notifications-url: it holds a password"},
		"keys that rotate all the time":        {[]string{"--signing-key-max-age=5m"}, "at least 1h0m0s, or 0"},
		"keys that never rotate by age":        {[]string{"--signing-key-max-age=0"}, ""},
		"recordings deleted as soon as closed": {[]string{"--retention-floor=0"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := &flags{}
			set := pflag.NewFlagSet("operator", pflag.ContinueOnError)
			f.bind(set)
			if err := set.Parse(c.args); err != nil {
				t.Fatal(err)
			}
			set.VisitAll(func(flag *pflag.Flag) {
				if flag.Usage == "" {
					t.Errorf("--%s has no help", flag.Name)
				}
			})
			err := f.check()
			switch {
			case c.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q", err, c.want)
			}
			if c.want == "" && f.brokerAddress != "chaperone-broker.chaperone-system.svc:443" {
				t.Errorf("broker address %s", f.brokerAddress)
			}
		})
	}
}
