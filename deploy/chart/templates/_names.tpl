{{/* Names, labels and the image, used by all objects. */}}

{{- define "cfshare.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "cfshare.fullname" -}}
{{- $name := include "cfshare.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Of objects without a namespace: two releases of one name, in two namespaces, must not meet. */}}
{{- define "cfshare.clusterName" -}}
{{- printf "%s.%s" (include "cfshare.fullname" .) .Release.Namespace -}}
{{- end -}}

{{- define "cfshare.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "cfshare.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed where serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "cfshare.selector" -}}
app.kubernetes.io/name: {{ include "cfshare.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "cfshare.labels" -}}
{{ include "cfshare.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "cfshare.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Name of the ConfigMap with certificate authorities; empty if there is none. */}}
{{- define "cfshare.caConfigMap" -}}
{{- if .Values.caBundle.pem -}}
{{- printf "%s-ca" (include "cfshare.fullname" .) -}}
{{- else -}}
{{- .Values.caBundle.configMap -}}
{{- end -}}
{{- end -}}
