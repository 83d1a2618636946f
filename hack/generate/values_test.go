package main

import (
	"strings"
	"testing"
)

// TestValues renders the chart with values that change what is installed.
func TestValues(t *testing.T) {
	tests := map[string]struct {
		args    []string
		want    []string
		wantNot []string
	}{
		"recordings on a volume have one writer at a time": {
			want:    []string{"strategy: {type: Recreate}", "claimName: chaperone-recordings", "kind: PersistentVolumeClaim"},
			wantNot: []string{"PodDisruptionBudget"},
		},
		"two replicas with a bucket roll, are kept from being drained together and have no volume": {
			args:    []string{"--set", "replicas=2,recordings.url=s3://bucket?region=eu-central-1"},
			want:    []string{"replicas: 2", "type: RollingUpdate", "kind: PodDisruptionBudget", "--recordings-url=s3://bucket?region=eu-central-1", "--replicas=2"},
			wantNot: []string{"PersistentVolumeClaim", "name: recordings, mountPath"},
		},
		"a trial keeps recordings in the pod": {
			args:    []string{"--set", "recordings.volume.type=EmptyDir,recordings.volume.size=1Gi"},
			want:    []string{"emptyDir: {sizeLimit: 1Gi}"},
			wantNot: []string{"PersistentVolumeClaim"},
		},
		"a claim made elsewhere is used and not made": {
			args:    []string{"--set", "recordings.volume.existingClaim=mine"},
			want:    []string{"claimName: mine"},
			wantNot: []string{"kind: PersistentVolumeClaim"},
		},
		"cert-manager's certificate is asked for and mounted": {
			args: []string{"--set", "certificates.mode=CertManager,certificates.certManager.issuerRef.name=ca"},
			want: []string{"kind: Certificate", "--certificate-dir=/var/run/chaperone/serving", "chaperone-broker.chaperone-system.svc"},
		},
		"a digest wins over a tag": {
			args: []string{"--set", "image.sidecar.repository=r.example/s,image.sidecar.tag=v1,image.sidecar.digest=sha256:" + strings.Repeat("a", 64)},
			want: []string{"--sidecar-image=r.example/s@sha256:" + strings.Repeat("a", 64)},
		},
		"sidecars are given what the values say": {
			args: []string{"--set", "sidecar.resources.cpu=1,sidecar.resources.memory=256Mi,sidecar.spool=1Gi"},
			want: []string{"--sidecar-cpu=1", "--sidecar-memory=256Mi", "--sidecar-spool=1Gi"},
		},
		"nobody is notified unless asked for": {
			wantNot: []string{"--notifications"},
		},
		"a sink is notified, signed by the keys of a Secret": {
			args: []string{"--set", "notifications.url=https://chat.example/in,notifications.secretName=keys,notifications.source=cluster-1"},
			want: []string{"--notifications-url=https://chat.example/in", "--notifications-secret=keys", "--notifications-source=cluster-1"},
		},
		"definitions installed by other means are left alone": {
			args:    []string{"--set", "crds.install=false"},
			wantNot: []string{"kind: CustomResourceDefinition"},
		},
		"a network policy lets in what the operator serves": {
			args: []string{"--set", "networkPolicy.install=true"},
			want: []string{"kind: NetworkPolicy", "port: broker", "port: webhook", "port: logs"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := string(helm(t, namespace, tt.args...))
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("lacks %q", want)
				}
			}
			for _, not := range tt.wantNot {
				if strings.Contains(got, not) {
					t.Errorf("holds %q", not)
				}
			}
		})
	}
}

func TestTheChartGoesWhereTheReleaseGoes(t *testing.T) {
	got := string(helm(t, "elsewhere"))
	if i := strings.Index(got, namespace); i >= 0 {
		t.Errorf("names %s in a release of another namespace:\n%s", namespace, got[max(0, i-200):i+50])
	}
}

func TestValuesThatCannotWorkAreRefused(t *testing.T) {
	tests := map[string]struct{ set, want string }{
		"two replicas with a volume":                {"replicas=2", "/recordings/url"},
		"a bucket that the operator does not speak": {"recordings.url=gs://bucket", "/recordings/url"},
		"a path relative to nowhere":                {"recordings.url=file://recordings", "/recordings/url"},
		"cert-manager without an issuer":            {"certificates.mode=CertManager", "/certificates/certManager/issuerRef/name"},
		"a host path for recordings":                {"recordings.volume.type=HostPath", "/recordings/volume/type"},
		"a value that does not exist":               {"replicaCount=2", "replicaCount"},
		"a duration without a unit":                 {"policyMaxAge=24", "/policyMaxAge"},
		"notifications that nothing signs":          {"notifications.url=https://chat.example/in", "/notifications/secretName"},
		"notifications with a password":             {"notifications.url=https://a:b@chat.example/in,notifications.secretName=keys", "/notifications/url"},
		"a spool of no unit":                        {"sidecar.spool=lots", "/sidecar/spool"},
		"no replica":                                {"replicas=0", "/replicas"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := runTool(t, "helm", "template", "chaperone", root(t)+"/charts/chaperone", "--set", tt.set)
			if err == nil {
				t.Fatal("was rendered")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error does not name %s: %v", tt.want, err)
			}
		})
	}
}
