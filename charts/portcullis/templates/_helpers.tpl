{{- define "portcullis.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "portcullis.operator" -}}
{{- include "portcullis.fullname" . }}-operator
{{- end -}}

{{- define "portcullis.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "portcullis.operator" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name: name the service account of the operator, or set serviceAccount.create" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* A Deployment's selector cannot be changed: neither may these. */}}
{{- define "portcullis.selector" -}}
app.kubernetes.io/name: portcullis-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "portcullis.labels" -}}
{{ include "portcullis.selector" . }}
app.kubernetes.io/part-of: portcullis
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* An image: the digest wins over the tag, the tag over the version of the chart. */}}
{{- define "portcullis.image" -}}
{{- $image := .image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default .version $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Name and key of the Secret with OTLP headers, as a secretKeyRef; empty without headers. */}}
{{- define "portcullis.otlpHeaders" -}}
{{- $existing := .Values.otlp.existingSecret -}}
{{- if and .Values.otlp.headers $existing.name -}}
{{- fail "otlp: give either headers or existingSecret.name, not both" -}}
{{- end -}}
{{- if and (or .Values.otlp.headers $existing.name) (not .Values.otlp.endpoint) -}}
{{- fail "otlp: headers without an endpoint; set otlp.endpoint as well" -}}
{{- end -}}
{{- if $existing.name -}}
{name: {{ $existing.name | quote }}, key: {{ $existing.key | quote }}}
{{- else if .Values.otlp.headers -}}
{name: {{ printf "%s-otlp" (include "portcullis.operator" .) | quote }}, key: headers}
{{- end -}}
{{- end -}}

{{/* What the operator does in the namespaces whose objects it reconciles. Secrets: the API
cannot grant what is watched, which is the metadata of all and the whole of the operator's own. The rights of gateways are
part of it, because nobody can grant what they do not have. */}}
{{- define "portcullis.watchedRules" -}}
- apiGroups: [portcullis.dev]
  resources: [resources]
  verbs: [get, list, watch, patch, update]
- apiGroups: [portcullis.dev]
  resources: [resources/status, policies/status, approvalrequests/status]
  verbs: [get, patch, update]
- apiGroups: [portcullis.dev]
  resources: [resources/finalizers]
  verbs: [update]
- apiGroups: [portcullis.dev]
  resources: [policies]
  verbs: [get, list, watch]
- apiGroups: [portcullis.dev] # create and patch: for dry runs that must be refused, and for what gateways are granted
  resources: [approvalrequests]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services, serviceaccounts, configmaps, secrets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""] # patch: an annotation makes the kubelet look at changed Secrets at once
  resources: [pods]
  verbs: [get, list, watch, patch]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch]
- apiGroups: ["", events.k8s.io]
  resources: [events]
  verbs: [create, patch, update]
- apiGroups: [cert-manager.io] # where Resources name an issuer of cert-manager
  resources: [certificates]
  verbs: [get, list, watch, create, patch, delete]
{{- end -}}
