{{- /* Names, labels and the image. Names leave room for the longest suffix, in 63 characters. */ -}}

{{- define "goodput-proxy.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "goodput-proxy.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "goodput-proxy.name" . -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- $full | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* Labels of an object: (list $ "component"), where the component may be empty. */ -}}
{{- define "goodput-proxy.labels" -}}
{{- $root := index . 0 -}}
{{- $own := dict "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- $_ := set $own "app.kubernetes.io/version" ($root.Chart.AppVersion | replace "+" "_") -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "goodput-proxy" -}}
{{- $selected := include "goodput-proxy.selectorLabels" . | fromYaml -}}
{{- toYaml (merge $selected $own $root.Values.commonLabels) -}}
{{- end -}}

{{- /* Labels of pods: (list $ "component" more). None of them changes with the chart's version. */ -}}
{{- define "goodput-proxy.podLabels" -}}
{{- $selected := include "goodput-proxy.selectorLabels" . | fromYaml -}}
{{- toYaml (merge $selected (index . 2) (index . 0).Values.commonLabels) -}}
{{- end -}}

{{- define "goodput-proxy.selectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "goodput-proxy.name" $root | quote }}
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
{{- with index . 1 }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{- define "goodput-proxy.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Where pods may run, given the values of a component. */ -}}
{{- define "goodput-proxy.place" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* A PodDisruptionBudget: (list $ component name values). */ -}}
{{- define "goodput-proxy.disruptionBudget" -}}
{{- $root := index . 0 -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ index . 2 | quote }}
  namespace: {{ $root.Release.Namespace | quote }}
  labels:
    {{- include "goodput-proxy.labels" (list $root (index . 1)) | nindent 4 }}
spec:
  maxUnavailable: {{ (index . 3).maxUnavailable }}
  selector:
    matchLabels:
      {{- include "goodput-proxy.selectorLabels" (list $root (index . 1)) | nindent 6 }}
{{- end -}}
