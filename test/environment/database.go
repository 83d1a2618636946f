package environment

import (
	"context"
	"encoding/base64"
	"fmt"
	"time"
)

// Database is a PostgreSQL server as a pod, behind a Service, with a certificate of a CA of its own.
type Database struct {
	Namespace, Name string
	// SQL is run by the superuser when the server is made.
	SQL string
	// CA is the PEM of the root that its certificate verifies against; set by Deploy.
	CA []byte
}

// Host is the name by which agents know it.
func (d *Database) Host() string {
	return fmt.Sprintf("%s.%s.svc.cluster.local", d.Name, d.Namespace)
}

// Deploy starts the server and waits until it serves.
func (d *Database) Deploy(ctx context.Context, e *Environment) error {
	ca, certificate, key, err := ServerCertificate(d.Host(), fmt.Sprintf("%s.%s.svc", d.Name, d.Namespace), d.Name)
	if err != nil {
		return err
	}
	d.CA = ca
	encode := func(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
	if _, err := e.Apply(ctx, fmt.Sprintf(`apiVersion: v1
kind: Secret
metadata: {name: %[2]s-server, namespace: %[1]s}
data: {tls.crt: %[3]s, tls.key: %[4]s, init.sql: %[5]s}
---
apiVersion: v1
kind: Service
metadata: {name: %[2]s, namespace: %[1]s}
spec:
  selector: {app: %[2]s}
  ports: [{port: 5432}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[2]s, namespace: %[1]s}
spec:
  replicas: 1
  strategy: {type: Recreate}
  selector:
    matchLabels: {app: %[2]s}
  template:
    metadata:
      labels: {app: %[2]s}
    spec:
      terminationGracePeriodSeconds: 2
      automountServiceAccountToken: false
      containers:
      - name: postgres
        image: localhost/chaperone/postgres:dev
        imagePullPolicy: IfNotPresent
        readinessProbe:
          exec: {command: [pg_isready, -h, 127.0.0.1, -U, postgres]}
          periodSeconds: 1
        volumeMounts:
        - {name: data, mountPath: /var/lib/postgresql/data}
        - {name: server, mountPath: /tls, readOnly: true}
        - {name: server, mountPath: /docker-entrypoint-initdb.d/init.sql, subPath: init.sql, readOnly: true}
      volumes:
      - {name: data, emptyDir: {}}
      - {name: server, secret: {secretName: %[2]s-server, defaultMode: 292}}
`, d.Namespace, d.Name, encode(certificate), encode(key), encode([]byte(d.SQL)))); err != nil {
		return err
	}
	return e.RolledOut(ctx, d.Namespace, "deployment/"+d.Name, 2*time.Minute)
}

// RolledOut waits for a workload; the error says what its pods say.
func (e *Environment) RolledOut(ctx context.Context, namespace, workload string, limit time.Duration) error {
	if _, err := e.Kubectl(ctx, "rollout", "status", "-n", namespace, workload, "--timeout="+limit.String()); err != nil {
		pods, _ := e.Kubectl(ctx, "get", "pods,events", "-n", namespace)
		return fmt.Errorf("%w\n%s", err, pods.Output)
	}
	return nil
}

// Credentials stores a database password for a policy: a kubernetes.io/basic-auth Secret, and the server's root
// beside it.
func (e *Environment) Credentials(ctx context.Context, namespace, name, username, password string, ca []byte) error {
	encode := func(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
	_, err := e.Apply(ctx, fmt.Sprintf(`apiVersion: v1
kind: Secret
metadata: {name: %[2]s, namespace: %[1]s}
type: kubernetes.io/basic-auth
data: {username: %[3]s, password: %[4]s}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: %[2]s-ca, namespace: %[1]s}
binaryData: {ca.crt: %[5]s}
`, namespace, name, encode([]byte(username)), encode([]byte(password)), encode(ca)))
	return err
}
