package kube

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"time"
)

const (
	// maxPod bounds what is read of a pod; the API server keeps no object longer than this.
	maxPod = 2 << 20
	// lookupTimeout bounds asking for it.
	lookupTimeout = 10 * time.Second
)

// findContainer fills in the container of a session that names none, where rules ask for it: a pod has one that is meant
// only if it has no other. Where it cannot be told it stays empty, which no rule that permits by container covers.
func (x *exchange) findContainer() {
	e := x.request.Exec
	if e == nil || e.Container != "" || !x.rules.Kubernetes().Containers {
		return
	}
	name := x.onlyContainer()
	if name == "" {
		return
	}
	// It is named upstream too, so that no other is meant in the meantime.
	e.Container, x.request.Kubernetes.Container = name, name
	x.request.Query.Set("container", name)
	x.describe()
}

func (x *exchange) onlyContainer() string {
	ctx, cancel := context.WithTimeout(context.WithValue(x.r.Context(), dialKey{}, x.session.DialUpstream), lookupTimeout)
	defer cancel()
	u, err := x.upstream(ctx)
	if err != nil {
		return ""
	}
	request := x.outgoing(ctx, u)
	k := &x.request.Kubernetes
	request.Method, request.Body, request.ContentLength = http.MethodGet, nil, 0
	request.URL.Path = "/api/v1/namespaces/" + k.Namespace + "/pods/" + k.Name
	request.URL.RawPath, request.URL.RawQuery = "/api/v1/namespaces/"+url.PathEscape(k.Namespace)+"/pods/"+url.PathEscape(k.Name), ""
	request.Header.Set("Accept", "application/json")
	request.Header.Del("Accept-Encoding")
	response, err := u.pool.transport.RoundTrip(request)
	if err != nil {
		return ""
	}
	defer response.Body.Close()
	var pod struct {
		Spec struct {
			Containers []struct {
				Name string `json:"name"`
			} `json:"containers"`
		} `json:"spec"`
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxPod))
	if err != nil || response.StatusCode != http.StatusOK || json.Unmarshal(body, &pod) != nil || len(pod.Spec.Containers) != 1 {
		return ""
	}
	return pod.Spec.Containers[0].Name
}
