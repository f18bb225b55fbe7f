{{- /* Labels of a monitor or a rule: (list $ additionalLabels), which are the stronger. */ -}}
{{- define "goodput-proxy.monitorLabels" -}}
{{- toYaml (merge dict (index . 1) (include "goodput-proxy.labels" (list (index . 0) "") | fromYaml)) -}}
{{- end -}}

{{- /* How a target is scraped, given the values of a monitor. */ -}}
{{- define "goodput-proxy.scraping" -}}
{{- with .interval }}
interval: {{ . }}
{{- end }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with .relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
