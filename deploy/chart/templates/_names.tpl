{{/* Names, labels, annotations and the image, used by all objects. */}}

{{/* Groups of values that templates look into. `helm upgrade --reuse-values` leaves out those that the earlier chart did not have. */}}
{{- define "cfshare.checkValues" -}}
{{- $groups := list "global" "image" "organization" "deletionProtection" "selfRestriction" "crds" "cloudflare" "log" "tracing" "proxy" "caBundle" -}}
{{- $groups = concat $groups (list "serviceAccount" "podDisruptionBudget" "metrics" "service" "serviceMonitor" "podMonitor") -}}
{{- range concat $groups (list "prometheusRule" "dashboard" "networkPolicy" "test" "rbac") -}}
{{- if not (kindIs "map" (get $.Values .)) -}}
{{- fail (printf "the value %q is missing. It must not be null; in an upgrade, use --reset-then-reuse-values in place of --reuse-values, which ignores the defaults of the new chart" .) -}}
{{- end -}}
{{- end -}}
{{- if not (has .Values.rbac.scope (list "cluster" "namespaces")) -}}
{{- fail "rbac.scope must be cluster or namespaces" -}}
{{- end -}}
{{- end -}}

{{- define "cfshare.name" -}}
{{- /* With room for the suffix of the test pod in a label. */ -}}
{{- default .Chart.Name .Values.nameOverride | trunc 58 | trimSuffix "-" -}}
{{- end -}}

{{/* A release may have dots in its name, a Service may not. */}}
{{- define "cfshare.fullname" -}}
{{- $name := include "cfshare.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | replace "." "-" | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | replace "." "-" | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "cfshare.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{/* Of objects without a namespace: two releases of one name, in two namespaces, must not meet. */}}
{{- define "cfshare.clusterName" -}}
{{- printf "%s.%s" (include "cfshare.fullname" .) (include "cfshare.namespace" .) -}}
{{- end -}}

{{- define "cfshare.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "cfshare.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed where serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "cfshare.selector" -}}
app.kubernetes.io/name: {{ include "cfshare.name" . | toYaml }}
app.kubernetes.io/instance: {{ toYaml .Release.Name }}
{{- end -}}

{{/* Each label once: what an object says itself counts more than commonLabels, and the selector counts most. */}}
{{- define "cfshare.mergedLabels" -}}
{{- $own := dict "app.kubernetes.io/version" .root.Chart.AppVersion "app.kubernetes.io/part-of" "cfshare" -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- $selector := include "cfshare.selector" .root | fromYaml -}}
{{- mergeOverwrite $own (deepCopy (default dict .root.Values.commonLabels)) (deepCopy (default dict .labels)) $selector | toYaml -}}
{{- end -}}

{{- define "cfshare.labels" -}}
{{- include "cfshare.mergedLabels" (dict "root" .) -}}
{{- end -}}

{{/* The lines `annotations: …` of an object, or nothing: commonAnnotations and its own, which count more. */}}
{{- define "cfshare.annotations" -}}
{{- with mergeOverwrite (deepCopy (default dict .root.Values.commonAnnotations)) (deepCopy (default dict .annotations)) -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{/* name, namespace, labels and annotations of an object of the release's namespace, or of another that it names: there, two
releases of one name, in two namespaces, must not meet. */}}
{{- define "cfshare.metadata" -}}
{{- $own := include "cfshare.namespace" .root -}}
{{- $namespace := .namespace | default $own -}}
name: {{ printf "%s%s" (include (eq $namespace $own | ternary "cfshare.fullname" "cfshare.clusterName") .root) (default "" .suffix) | toYaml }}
namespace: {{ toYaml $namespace }}
labels:
  {{- include "cfshare.mergedLabels" . | nindent 2 }}
{{- with include "cfshare.annotations" . }}
{{ . }}
{{- end }}
{{- end -}}

{{/* The same of an object without a namespace, with what stands before and after its name. */}}
{{- define "cfshare.clusterMetadata" -}}
name: {{ .prefix }}{{ include "cfshare.clusterName" .root }}{{ .suffix }}
labels:
  {{- include "cfshare.mergedLabels" . | nindent 2 }}
{{- with include "cfshare.annotations" . }}
{{ . }}
{{- end }}
{{- end -}}

{{- define "cfshare.image" -}}
{{- $repository := .Values.image.repository -}}
{{- with .Values.image.registry | default .Values.global.imageRegistry -}}
{{- $parts := splitList "/" $repository -}}
{{- if and (gt (len $parts) 1) (regexMatch "[.:]|^localhost$" (first $parts)) -}}
{{- $repository = rest $parts | join "/" -}}
{{- end -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) $repository -}}
{{- end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* A list of {name: …}, each once, of names or of such entries. */}}
{{- define "cfshare.imagePullSecrets" -}}
{{- $found := list -}}
{{- range concat (default list .Values.global.imagePullSecrets) (default list .Values.imagePullSecrets) -}}
{{- $found = append $found (dict "name" (kindIs "string" . | ternary . (get (kindIs "map" . | ternary . dict) "name"))) -}}
{{- end -}}
{{- with $found | uniq -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{- define "cfshare.nodeSelector" -}}
{{- with mergeOverwrite (deepCopy (default dict .Values.global.nodeSelector)) (deepCopy (default dict .Values.nodeSelector)) -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/* Whether the cluster chooses user and group ids, as OpenShift does. */}}
{{- define "cfshare.openshift" -}}
{{- $openshift := toString .Values.openshift -}}
{{- if eq $openshift "auto" -}}
{{- $compatibility := default dict .Values.global.compatibility -}}
{{- $adapt := get (default dict (get $compatibility "openshift")) "adaptSecurityContext" | default "auto" -}}
{{- if or (eq $adapt "force") (and (eq $adapt "auto") (.Capabilities.APIVersions.Has "security.openshift.io/v1")) -}}true{{- end -}}
{{- else if eq $openshift "true" -}}true{{- end -}}
{{- end -}}

{{/* A security context without what is null, and on OpenShift without ids. */}}
{{- define "cfshare.securityContext" -}}
{{- $kept := dict -}}
{{- $ids := list "runAsUser" "runAsGroup" "fsGroup" -}}
{{- $openshift := include "cfshare.openshift" .root -}}
{{- range $key, $value := .context -}}
{{- if and (not (kindIs "invalid" $value)) (not (and $openshift (has $key $ids))) -}}
{{- $_ := set $kept $key $value -}}
{{- end -}}
{{- end -}}
{{- toYaml $kept -}}
{{- end -}}

{{- define "cfshare.containerSecurityContext" -}}
{{- $context := deepCopy (default dict .Values.securityContext) -}}
{{- with .Values.user -}}
{{- $_ := set $context "runAsUser" (int64 .) -}}
{{- $_ := set $context "runAsGroup" (int64 .) -}}
{{- end -}}
{{- include "cfshare.securityContext" (dict "root" . "context" $context) -}}
{{- end -}}

{{/* A projected volume like the one that Kubernetes mounts by itself, with a token that expires. */}}
{{- define "cfshare.token" -}}
sources:
- serviceAccountToken: {path: token, expirationSeconds: 3600}
- configMap:
    name: kube-root-ca.crt
    items:
    - {key: ca.crt, path: ca.crt}
- downwardAPI:
    items:
    - path: namespace
      fieldRef: {fieldPath: metadata.namespace}
{{- end -}}

{{/* Name of the ConfigMap with certificate authorities; empty if there is none. */}}
{{- define "cfshare.caConfigMap" -}}
{{- if .Values.caBundle.pem -}}
{{- printf "%s-ca" (include "cfshare.fullname" .) -}}
{{- else -}}
{{- .Values.caBundle.configMap -}}
{{- end -}}
{{- end -}}

{{/* Who the operator is to the API server, as a subject of a binding. */}}
{{- define "cfshare.subject" -}}
{kind: ServiceAccount, name: {{ include "cfshare.serviceAccount" . | toYaml }}, namespace: {{ include "cfshare.namespace" . | toYaml }}}
{{- end -}}
