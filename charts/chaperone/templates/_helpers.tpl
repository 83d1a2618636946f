{{- /* One installation a cluster: webhooks, the recordings API and admission policies are the cluster's. So names are fixed. */ -}}

{{- define "chaperone.labels" -}}
app.kubernetes.io/name: chaperone
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end }}

{{- define "chaperone.selector" -}}
app.kubernetes.io/name: chaperone
app.kubernetes.io/component: operator
{{- end }}

{{- /* An image's full name, from (list $ .Values.image.operator). A digest says exactly which, so it wins. */ -}}
{{- define "chaperone.image" -}}
{{- $root := index . 0 -}}{{- $image := index . 1 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default $root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "chaperone.onVolume" -}}
{{- if hasPrefix "file://" .Values.recordings.url }}true{{ end -}}
{{- end }}

{{- define "chaperone.claim" -}}
{{- .Values.recordings.volume.existingClaim | default "chaperone-recordings" -}}
{{- end }}

{{- /*
The namespaces that a webhook of the operator's covers, from (dict "kind" ... "webhook" ... "initial" JSON): what the
cluster has now, or on a first installation the initial scope. The operator keeps the scope; rendering the initial one
on an upgrade would let pods start unprotected until the operator has put it right.
*/ -}}
{{- define "chaperone.scope" -}}
{{- $scope := fromJson .initial -}}
{{- $live := lookup "admissionregistration.k8s.io/v1" .kind "" "chaperone" -}}
{{- $name := .webhook -}}
{{- range $live.webhooks -}}
{{- if and (eq .name $name) .namespaceSelector }}{{ $scope = .namespaceSelector }}{{ end -}}
{{- end -}}
{{- toYaml $scope -}}
{{- end }}
